// Moves as conversations. The numbers I1 .. are those of docs/migration.md.
#include "migration/next_step.h"

#include <gtest/gtest.h>

#include "conversation.h"

namespace terrane::migration {
namespace {

TEST(NextStepTest, AQuietMove) {
  Conversation move;
  EXPECT_EQ(move.Proposes(), "preparing");
  EXPECT_EQ(move.InFlight(), "");
  move.Accept();

  EXPECT_EQ(move.InFlight(), "pin@s1");
  EXPECT_EQ(move.Asked<v1::PinStep>(StepKind::kPin).entry().copy_id(), 11u);
  move.Answer(StepKind::kPin, 100);
  EXPECT_EQ(move.InFlight(), "prepare@s2");
  const auto prepare = move.Asked<v1::PrepareStep>(StepKind::kPrepare).entry();
  EXPECT_EQ(prepare.pin(), 100u);
  EXPECT_EQ(prepare.copy_id(), 12u);
  EXPECT_EQ(prepare.source_copy(), 11u);
  EXPECT_EQ(prepare.token(), 5u);
  move.Answer(StepKind::kPrepare);
  EXPECT_EQ(move.Proposes(), "copying");
  EXPECT_EQ(move.command().advance_migration().update().pin(), 100u);
  move.Accept();

  EXPECT_EQ(move.InFlight(), "import@s2");
  move.AnswerImport(false);
  EXPECT_EQ(move.Proposes(), "");
  EXPECT_EQ(move.InFlight(), "");
  move.Pass(300);
  EXPECT_EQ(move.InFlight(), "import@s2");
  move.AnswerImport(true);
  EXPECT_EQ(move.Proposes(), "catching_up");
  EXPECT_EQ(move.command().advance_migration().update().figures().documents(), 40);
  move.Accept();

  EXPECT_EQ(move.InFlight(), "import@s2");
  move.AnswerImport(true, 3);
  EXPECT_EQ(move.Proposes(), "verifying");
  move.Accept();

  EXPECT_EQ(move.InFlight(), "import@s2 verify@s2");
  move.AnswerImport(true, 3);
  move.AnswerVerify(true, true);
  EXPECT_EQ(move.Proposes(), "fencing");
  EXPECT_GT(move.command().advance_migration().update().fence_deadline_ms(), 0);
  EXPECT_GT(move.command().advance_migration().update().figures().predicted_pause_ms(), 0);
  move.Accept();

  EXPECT_EQ(move.InFlight(), "fence@s1");
  EXPECT_EQ(move.Asked<v1::FenceStep>(StepKind::kFence).entry().token(), 5u);  // T68
  move.Answer(StepKind::kFence, 200);
  EXPECT_EQ(move.InFlight(), "fence reads@s1 complete@s2");
  EXPECT_EQ(move.Asked<v1::CompleteStep>(StepKind::kComplete).fence(), 200u);
  EXPECT_EQ(move.Asked<v1::CompleteStep>(StepKind::kComplete).digest().documents().low(), 99u);
  EXPECT_EQ(move.Asked<v1::FenceReadsStep>(StepKind::kFenceReads).entry().fence(), 200u);
  move.Answer(StepKind::kFenceReads, 201);
  EXPECT_EQ(move.Proposes(), "");
  move.Answer(StepKind::kComplete, 300);
  EXPECT_EQ(move.Proposes(), "commit");
  const auto commit = move.command().commit_migration();
  EXPECT_EQ(commit.fence(), 200u);
  EXPECT_EQ(commit.read_fence(), 201u);
  EXPECT_EQ(commit.complete(), 300u);
  EXPECT_EQ(commit.attempt(), 1u);
  move.Pass(4);
  move.Accept();

  EXPECT_EQ(move.InFlight(), "own@s2 release@s1");
  EXPECT_EQ(move.Asked<v1::OwnStep>(StepKind::kOwn).entry().token(), 6u);
  const auto release = move.Asked<v1::ReleaseStep>(StepKind::kRelease).entry();
  EXPECT_EQ(release.to().shard(), "s2");
  EXPECT_EQ(release.to().token(), 6u);
  EXPECT_EQ(release.to().copy_id(), 12u);
  EXPECT_EQ(release.complete(), 300u);
  move.Answer(StepKind::kOwn);
  EXPECT_EQ(move.Proposes(), "");
  move.Answer(StepKind::kRelease);
  EXPECT_EQ(move.Proposes(), "reversible");
  EXPECT_EQ(move.command().advance_migration().update().figures().write_pause_ms(), 4);
  EXPECT_EQ(move.command().advance_migration().update().figures().read_pause_ms(), 4);
  EXPECT_FALSE(move.command().advance_migration().update().figures().pauses_are_bounds());
  move.Accept();
  EXPECT_EQ(move.Proposes(), "cleaning");
  move.Accept();
  EXPECT_EQ(move.InFlight(), "drop copy (source)@s1");
  EXPECT_EQ(move.Asked<v1::DropCopyStep>(StepKind::kDropSource).entry().copy_id(), 11u);
  move.Answer(StepKind::kDropSource);
  EXPECT_EQ(move.Proposes(), "done");
  move.Accept();
  EXPECT_EQ(move.InFlight(), "");
  EXPECT_EQ(move.Proposes(), "");
}

TEST(NextStepTest, WaitsForItsTurn) {
  Conversation move;
  move.EndCommand(absl::OkStatus());
  move.seen().admitted = false;
  move.seen().admission = "waits for its turn";
  move.seen().proposing = false;
  Plan plan = NextStep(move.record(), move.seen());
  EXPECT_FALSE(plan.command);
  EXPECT_EQ(plan.waiting, "waits for its turn");
}

// A step that was timed in the middle of an election does not hold the move up for ever: it is timed again.
TEST(NextStepTest, ASlowStepOfThePastIsMeasuredAgain) {
  Conversation move;
  move.record().set_max_pause_ms(300);
  move.Accept();
  move.Answer(StepKind::kPin, 100);
  move.Answer(StepKind::kPrepare);
  move.Accept();
  move.AnswerImport(true);
  move.Accept();
  move.AnswerImport(true);
  move.Accept();
  move.seen().source_step = Milliseconds(800);
  move.AnswerImport(true);
  move.AnswerVerify(true, true);
  EXPECT_EQ(move.Proposes(), "");
  EXPECT_NE(move.waiting().find("above the allowed one"), std::string::npos) << move.waiting();
  EXPECT_EQ(move.InFlight(), "pin@s1 prepare@s2");
  EXPECT_EQ(move.Asked<v1::PrepareStep>(StepKind::kPrepare).entry().pin(), 100u);
  move.Answer(StepKind::kPin, 100);
  EXPECT_EQ(move.seen().source_step.count(), 0);
  EXPECT_EQ(move.Proposes(), "fencing");
}

TEST(NextStepTest, I5_NothingIsSentToTheTargetBeforeTheSourceSaysF) {
  Conversation move;
  move.ReachFencing();
  move.Pass(100);
  EXPECT_EQ(move.InFlight(), "fence@s1");
  move.Fail(StepKind::kFence, absl::UnavailableError("no leader"));
  EXPECT_EQ(move.InFlight(), "");
  move.Pass(5);
  EXPECT_EQ(move.InFlight(), "fence@s1");
}

TEST(NextStepTest, T10_ReadsAreFencedOnlyWhenTheTargetIsNear) {
  Conversation move;
  move.ReachFencing();
  move.seen().import->set_lag_entries(5000);  // half a second
  move.Answer(StepKind::kFence, 200);
  EXPECT_EQ(move.InFlight(), "import@s2 complete@s2");
  move.AnswerImport(true, 4000);
  move.Pass(2);
  move.AnswerImport(true, 10);
  EXPECT_EQ(move.InFlight(), "fence reads@s1 complete@s2");
}

TEST(NextStepTest, AMissedDeadlineEndsTheAttemptAndGoesOnWithTheSameCopy) {
  Conversation move;
  move.ReachFencing();
  move.Answer(StepKind::kFence, 200);
  move.Answer(StepKind::kFenceReads, 201);
  move.Pass(1999);
  EXPECT_EQ(move.Proposes(), "");
  move.Pass(1);
  ASSERT_EQ(move.Proposes(), "end attempt");
  EXPECT_NE(move.command().end_attempt().why().find("complete"), std::string::npos);
  // Nothing opens the fence before that is committed (T08).
  EXPECT_EQ(move.InFlight(), "complete@s2");
  move.Accept();
  EXPECT_EQ(move.record().attempt(), 2u);
  EXPECT_EQ(move.record().token(), 6u);  // T06
  move.AnswerImport(true);
  EXPECT_EQ(move.Asked<v1::EndAttemptStep>(StepKind::kEndAttemptSource).entry().move().attempt(), 1u);
  EXPECT_EQ(move.Asked<v1::EndAttemptStep>(StepKind::kEndAttemptSource).entry().token(), 6u);
  EXPECT_FALSE(move.Asked<v1::EndAttemptStep>(StepKind::kEndAttemptSource).entry().abort());
  EXPECT_FALSE(move.Asked<v1::EndAttemptStep>(StepKind::kEndAttemptTarget).entry().abort());  // the copy is kept
  move.Pass(1000);
  EXPECT_EQ(move.Proposes(), "");  // not before both shards have it in their logs
  move.AnswerImport(true);
  move.Answer(StepKind::kEndAttemptSource);
  move.Answer(StepKind::kEndAttemptTarget);
  EXPECT_EQ(move.Proposes(), "verifying");
  move.Accept();
  move.AnswerImport(true);
  EXPECT_EQ(move.Asked<v1::VerifyStep>(StepKind::kVerify).move().attempt(), 2u);
  move.AnswerVerify(true, true);
  move.Accept();
  EXPECT_EQ(move.Asked<v1::FenceStep>(StepKind::kFence).entry().move().attempt(), 2u);
  EXPECT_EQ(move.Asked<v1::FenceStep>(StepKind::kFence).entry().token(), 6u);  // T68
}

TEST(NextStepTest, PausesGrowBetweenAttempts) {
  Conversation move;
  for (uint32_t attempt = 2; attempt <= 3; ++attempt) {
    move.record().set_attempt(attempt);
    move.Enter(Stage::kCatchingUp);
    move.AnswerImport(true);
    move.Answer(StepKind::kEndAttemptSource);
    move.Answer(StepKind::kEndAttemptTarget);
    move.Pass(attempt == 2 ? 240 : 490);
    EXPECT_EQ(move.Proposes(), "") << attempt;
    move.Pass(10);
    EXPECT_EQ(move.Proposes(), "verifying") << attempt;
    move.EndCommand(absl::OkStatus());
    if (move.InFlight().find("import") != std::string::npos) move.AnswerImport(true);
    move.seen().proposing = false;
  }
}

TEST(NextStepTest, TheLastAttemptAborts) {
  Conversation move;
  move.ReachFencing();
  move.record().set_attempt(kMaxAttempts);
  move.Commit();
  move.Pass(2000);
  EXPECT_EQ(move.Proposes(), "abort");
}

TEST(NextStepTest, T07_AnUnknownOutcomeOfTheCommitKeepsTheFence) {
  Conversation move;
  move.ReachFencing();
  move.Answer(StepKind::kFence, 200);
  move.Answer(StepKind::kComplete, 300);
  move.Answer(StepKind::kFenceReads, 201);
  ASSERT_EQ(move.Proposes(), "commit");
  // Nobody can tell. The record still says fencing: the commit is asked for again, nothing is undone.
  move.EndCommand(absl::AbortedError("nobody can tell"));
  EXPECT_EQ(move.InFlight(), "");
  EXPECT_EQ(move.Proposes(), "");
  move.Pass(50);
  EXPECT_EQ(move.Proposes(), "commit");
  EXPECT_EQ(move.InFlight(), "");
  // It had been applied after all.
  move.Enter(Stage::kCommitted);
  EXPECT_EQ(move.InFlight(), "own@s2 release@s1");
}

TEST(NextStepTest, T07_TheDeadlineAsksTheRecordAndNotTheShards) {
  Conversation move;
  move.ReachFencing();
  move.Answer(StepKind::kFence, 200);
  move.Answer(StepKind::kComplete, 300);
  move.Answer(StepKind::kFenceReads, 201);
  move.Pass(5000);  // the commit is still on its way; one of the two wins in the log
  EXPECT_EQ(move.Proposes(), "commit");
  EXPECT_EQ(move.InFlight(), "");
  move.EndCommand(absl::AbortedError("nobody can tell"));
  move.Pass(50);
  EXPECT_EQ(move.Proposes(), "end attempt");
  EXPECT_EQ(move.InFlight(), "");
}

TEST(NextStepTest, T44_AWallClockThatJumpsBackDoesNotHoldWritersUp) {
  Conversation move;
  move.ReachFencing();
  move.JumpWall(-3600'000);
  move.Pass(1999);
  EXPECT_EQ(move.Proposes(), "");
  move.Pass(1);
  EXPECT_EQ(move.Proposes(), "end attempt");
}

TEST(NextStepTest, T29_DifferentDigestsAbortAndTheSourceServesOn) {
  Conversation move;
  move.ReachFencing();
  move.Answer(StepKind::kFence, 200);
  move.Fail(StepKind::kComplete, absl::DataLossError("41 documents here, 40 there"));
  EXPECT_EQ(move.Proposes(), "abort");
  EXPECT_NE(move.command().end_attempt().why().find("41 documents"), std::string::npos);
}

TEST(NextStepTest, T66_ARefusedCommitAborts) {
  Conversation move;
  move.ReachFencing();
  move.Answer(StepKind::kFence, 200);
  move.Answer(StepKind::kComplete, 300);
  move.Answer(StepKind::kFenceReads, 201);
  move.EndCommand(absl::FailedPreconditionError("the collection's indexes changed"));
  move.Pass(50);
  EXPECT_EQ(move.Proposes(), "abort");
}

TEST(NextStepTest, AnAbortIsHeardInEveryStageBeforeTheCommit) {
  for (Stage stage : kAllStages) {
    Conversation move;
    if (!move.Proposes().empty()) move.EndCommand(absl::OkStatus());
    move.seen().proposing = false;
    move.record().set_stage(ToProto(stage));
    move.record().set_abort_requested(true);
    move.record().set_fence_deadline_ms(1'800'000'000'000);
    Observations fresh;
    fresh.now = move.now();
    fresh.stage_seen = move.now();
    Plan plan = NextStep(move.record(), fresh);
    const bool aborts = plan.command && plan.command->has_end_attempt() && plan.command->end_attempt().abort();
    EXPECT_EQ(aborts, BeforeCommit(stage)) << NameOf(stage);
  }
}

TEST(NextStepTest, T11_AbortingTellsBothShardsUntilTheyConfirm) {
  Conversation move;
  move.ReachFencing();
  move.Answer(StepKind::kFence, 200);
  move.record().set_abort_requested(true);
  move.Commit();
  EXPECT_EQ(move.Proposes(), "abort");
  move.Accept();
  const auto source = move.Asked<v1::EndAttemptStep>(StepKind::kEndAttemptSource).entry();
  EXPECT_TRUE(source.abort());
  EXPECT_EQ(source.token(), 6u);
  EXPECT_EQ(source.copy_id(), 11u);
  EXPECT_EQ(move.Asked<v1::EndAttemptStep>(StepKind::kEndAttemptTarget).entry().copy_id(), 12u);
  // However long it takes, whatever the shards say.
  for (int i = 0; i < 20; ++i) {
    move.Fail(StepKind::kEndAttemptSource, absl::InternalError("busy"));
    move.Pass(2000);
    ASSERT_NE(move.InFlight().find("end attempt (source)"), std::string::npos);
  }
  move.Answer(StepKind::kEndAttemptSource);
  move.Answer(StepKind::kEndAttemptTarget);
  EXPECT_EQ(move.InFlight(), "drop copy (target)@s2");
  move.Answer(StepKind::kDropTarget);
  EXPECT_EQ(move.Proposes(), "aborted");
  move.Accept();
  EXPECT_EQ(move.InFlight(), "");
}

TEST(NextStepTest, I7_AfterTheCommitNothingIsGivenUp) {
  Conversation move;
  move.Enter(Stage::kCommitted);
  for (int i = 0; i < 50; ++i) {
    move.Fail(StepKind::kOwn, absl::FailedPreconditionError("no"));
    EXPECT_EQ(move.Proposes(), "");
    move.Pass(2000);
  }
  move.Answer(StepKind::kRelease);
  move.Answer(StepKind::kOwn);
  EXPECT_EQ(move.Proposes(), "reversible");
}

TEST(NextStepTest, ARefusalBeforeTheCommitAbortsAnAbsenceDoesNot) {
  Conversation move;
  move.Accept();
  for (int i = 0; i < 30; ++i) {
    move.Fail(StepKind::kPin, absl::UnavailableError("nobody leads"));
    EXPECT_EQ(move.Proposes(), "") << i;
    move.Pass(1000);
  }
  move.Answer(StepKind::kPin, 100);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(move.Proposes(), "") << i;
    move.Fail(StepKind::kPrepare, absl::ResourceExhaustedError("disk of s2 is full"));
    if (i < 4) move.Pass(1000);
  }
  EXPECT_EQ(move.Proposes(), "abort");
  EXPECT_NE(move.command().end_attempt().why().find("disk of s2 is full"), std::string::npos);
}

// Nobody waits for it, but its pin holds the source's oplog, and its files the target's disk.
TEST(NextStepTest, AnImportThatIsRefusedForAMinuteAborts) {
  using absl::StatusCode;
  for (const StatusCode code : {StatusCode::kDataLoss, StatusCode::kResourceExhausted, StatusCode::kUnavailable}) {
    Conversation move;
    move.Accept();  // preparing
    move.Answer(StepKind::kPin, 100);
    move.Answer(StepKind::kPrepare);
    move.Accept();  // copying
    const auto answer_for = [&](int seconds, auto answer) {
      for (int i = 0; i < seconds; ++i) {
        answer();
        if (!move.Proposes().empty()) return;
        move.Pass(1000);
      }
    };
    const auto refused = [&] { move.AnswerImportFailed(code, "block 7 cannot be read"); };
    const auto goes_on = [&] { move.AnswerImport(false); };
    answer_for(59, refused);
    EXPECT_EQ(move.Proposes(), "");
    // It went on for a moment: it may go on again.
    answer_for(1, goes_on);
    answer_for(59, refused);
    EXPECT_EQ(move.Proposes(), "");
    // The target does not answer: nobody knows whether it is refused still.
    for (int i = 0; i < 120; ++i) {
      move.Fail(StepKind::kImport, absl::UnavailableError("nobody there"));
      move.Pass(1000);
    }
    EXPECT_EQ(move.Proposes(), "");
    answer_for(3, refused);
    if (code == StatusCode::kUnavailable) {
      answer_for(300, refused);
      EXPECT_EQ(move.Proposes(), "") << "it comes back";
      continue;
    }
    ASSERT_EQ(move.Proposes(), "abort");
    EXPECT_EQ(move.command().end_attempt().why(), "the import was refused for 60 s: block 7 cannot be read");
  }
}

TEST(NextStepTest, T28_FencingIsNotEnteredWhenThePauseDoesNotFit) {
  Conversation move;
  move.Enter(Stage::kVerifying);
  move.AnswerVerify(true, true);
  move.seen().metadata_commit_at = move.now();
  move.AnswerImport(true, 50'000);  // five seconds
  EXPECT_EQ(move.Proposes(), "");
  EXPECT_NE(move.waiting().find("above the allowed one"), std::string::npos) << move.waiting();
  move.Pass(600);
  move.AnswerImport(true, 50'000);
  // Why it waits is published, once.
  EXPECT_EQ(move.Proposes(), "verifying");
  EXPECT_NE(move.command().advance_migration().update().reason().find("above the allowed one"), std::string::npos);
  move.record().set_reason(move.command().advance_migration().update().reason());
  move.EndCommand(absl::OkStatus());
  move.Commit();
  move.Pass(600);
  move.AnswerImport(true, 100);
  EXPECT_EQ(move.Proposes(), "fencing");
}

// A new leader of the target says 0 before it has read anything, one that has lost its source what it said last.
TEST(NextStepTest, T28_ALagThatNobodyHasMeasuredDoesNotCount) {
  Conversation move;
  move.Enter(Stage::kCatchingUp);
  move.AnswerImportUnheard();
  EXPECT_EQ(move.Proposes(), "");
  EXPECT_NE(move.waiting().find("has not heard from the source"), std::string::npos) << move.waiting();
  move.Pass(100);
  move.AnswerImportBroken("s1 is cut off");
  EXPECT_EQ(move.Proposes(), "");
  EXPECT_NE(move.waiting().find("s1 is cut off"), std::string::npos) << move.waiting();
  move.Pass(100);
  move.AnswerImport(true);
  move.Pass(1);
  move.Accept();

  move.AnswerVerify(true, true);
  move.seen().metadata_commit_at = move.now();
  move.AnswerImportUnheard();
  EXPECT_EQ(move.Proposes(), "");
  EXPECT_NE(move.waiting().find("has not heard from the source"), std::string::npos) << move.waiting();
  move.Pass(100);
  move.AnswerImportBroken("s1 is cut off");
  EXPECT_EQ(move.Proposes(), "");
  EXPECT_NE(move.waiting().find("s1 is cut off"), std::string::npos) << move.waiting();
  move.Pass(100);
  move.AnswerImport(true);
  move.Accept();

  ASSERT_EQ(StageOf(move.record()), Stage::kFencing);
  move.seen().import.reset();
  move.Answer(StepKind::kFence, 200);
  EXPECT_EQ(move.InFlight(), "import@s2 complete@s2");
  move.AnswerImportUnheard();
  move.Pass(2);
  EXPECT_EQ(move.InFlight(), "import@s2 complete@s2");  // reads are not fenced beside it (T10)
  move.AnswerImport(true, 10);
  EXPECT_EQ(move.InFlight(), "fence reads@s1 complete@s2");
}

TEST(NextStepTest, FencingIsNotEnteredWhileTheMetadataServiceIsSlow) {
  Conversation move;
  move.Enter(Stage::kVerifying);
  move.AnswerVerify(true, true);
  move.seen().metadata_commit = Milliseconds(200);  // a tenth of 2 s
  move.seen().metadata_commit_at = move.now();
  move.AnswerImport(true);
  EXPECT_EQ(move.Proposes(), "");
  move.Pass(500);
  move.AnswerImport(true);
  EXPECT_EQ(move.Proposes(), "verifying");  // measures again
  move.seen().metadata_commit = Milliseconds(199);
  move.EndCommand(absl::OkStatus());
  if (move.InFlight().empty()) move.Pass(100);
  if (move.Proposes().empty()) move.AnswerImport(true);
  EXPECT_EQ(move.Proposes(), "fencing");
}

TEST(NextStepTest, ANewCoordinatorMeasuresACommitBeforeItFences) {
  Conversation move;
  move.record().set_stage(v1::Migration::VERIFYING);
  move.NewCoordinator();
  move.seen().metadata_commit.reset();
  move.AnswerVerify(true, true);
  move.AnswerImport(true);
  EXPECT_EQ(move.Proposes(), "verifying");
}

TEST(NextStepTest, RangesThatDifferAreVerifiedAgainThenTheMoveIsAborted) {
  Conversation move;
  move.Enter(Stage::kVerifying);
  move.AnswerImport(true);
  EXPECT_FALSE(move.Asked<v1::VerifyStep>(StepKind::kVerify).restart());
  for (int i = 0; i < 2; ++i) {
    move.AnswerVerify(true, false);
    EXPECT_EQ(move.Proposes(), "");
    move.Pass(200);
    EXPECT_TRUE(move.Asked<v1::VerifyStep>(StepKind::kVerify).restart());
  }
  move.AnswerVerify(true, false);
  EXPECT_EQ(move.Proposes(), "abort");
}

TEST(NextStepTest, T43_ANewCoordinatorGoesOnFromTheRecordInEveryStage) {
  for (Stage stage : kAllStages) {
    Conversation move;
    move.record().set_stage(ToProto(stage));
    move.record().set_fence_deadline_ms(1'700'000'001'000);
    move.NewCoordinator();
    const bool busy = !move.InFlight().empty() || !move.Proposes().empty();
    EXPECT_EQ(busy, !IsEnded(stage) && stage != Stage::kRollingBack) << NameOf(stage);
  }
}

// It was not there when the fence was sent, or when the move was committed: what it says holds, and is no measurement.
TEST(NextStepTest, PausesOfASwitchOfTwoCoordinatorsAreBounds) {
  const auto finish = [](Conversation& move) {
    move.Pass(70);  // behind the commit: no part of the pause
    move.Answer(StepKind::kOwn);
    move.Answer(StepKind::kRelease);
    EXPECT_EQ(move.Proposes(), "reversible");
    return move.command().advance_migration().update().figures();
  };
  Conversation committed;
  committed.ReachFencing();
  committed.Pass(5);
  committed.Answer(StepKind::kFence, 200);
  committed.Answer(StepKind::kComplete, 300);
  committed.Answer(StepKind::kFenceReads, 201);
  committed.record().set_stage(v1::Migration::COMMITTED);
  committed.Pass(900);
  committed.NewCoordinator();
  v1::MigrationFigures figures = finish(committed);
  EXPECT_TRUE(figures.pauses_are_bounds());
  EXPECT_EQ(figures.write_pause_ms(), 905 + 1);  // clocks are read in whole milliseconds
  EXPECT_EQ(figures.read_pause_ms(), 905 + 1);

  // The new one fences again, which the shards answer as before.
  Conversation fencing;
  fencing.ReachFencing();
  fencing.Answer(StepKind::kFence, 200);
  fencing.Pass(800);
  fencing.NewCoordinator();
  fencing.Answer(StepKind::kFence, 200);
  fencing.AnswerImport(true);
  fencing.Answer(StepKind::kComplete, 300);
  fencing.Answer(StepKind::kFenceReads, 201);
  EXPECT_EQ(fencing.Proposes(), "commit");
  fencing.Pass(4);
  fencing.Accept();
  figures = finish(fencing);
  EXPECT_TRUE(figures.pauses_are_bounds());
  EXPECT_EQ(figures.write_pause_ms(), 804 + 1);
  EXPECT_EQ(figures.read_pause_ms(), 804 + 1);

  // Nobody knows: the clocks of the two do not agree.
  Conversation skewed;
  skewed.ReachFencing();
  skewed.record().set_stage(v1::Migration::COMMITTED);
  skewed.JumpWall(-60'000);
  skewed.NewCoordinator();
  figures = finish(skewed);
  EXPECT_TRUE(figures.pauses_are_bounds());
  EXPECT_EQ(figures.write_pause_ms(), 0);

  // The one that has lost an attempt to a predecessor begins the next one itself.
  Conversation again;
  again.ReachFencing();
  again.NewCoordinator();
  again.Pass(2000);
  EXPECT_EQ(again.Proposes(), "end attempt");
  again.Accept();
  again.record().set_fence_deadline_ms(1'700'000'004'000);
  again.Enter(Stage::kFencing);
  again.Answer(StepKind::kFence, 200);
  again.AnswerImport(true);
  again.Answer(StepKind::kComplete, 300);
  again.Answer(StepKind::kFenceReads, 201);
  again.Pass(6);
  again.Accept();
  figures = finish(again);
  EXPECT_FALSE(figures.pauses_are_bounds());
  EXPECT_EQ(figures.write_pause_ms(), 6);
}

TEST(NextStepTest, T43_ANewCoordinatorEndsAnAttemptWhoseDeadlineHasPassed) {
  Conversation move;
  move.record().set_stage(v1::Migration::FENCING);
  move.record().set_fence_deadline_ms(1'699'999'999'999);
  move.NewCoordinator();
  EXPECT_EQ(move.Proposes(), "end attempt");
  EXPECT_EQ(move.InFlight(), "");
}

TEST(NextStepTest, AnOldAnswerOfAnotherAttemptCountsForNothing) {
  Conversation move;
  move.ReachFencing();
  move.Answer(StepKind::kFence, 200);
  move.Pass(2000);
  move.Accept();  // the attempt is over
  EXPECT_FALSE(move.seen().step(StepKind::kFence).answer);
  EXPECT_FALSE(move.seen().fence_sent);
}

TEST(NextStepTest, TestPausesHoldAStageButNotItsDeadlineNorAnAbort) {
  Conversation move;
  move.Accept();
  move.Answer(StepKind::kPin);
  move.seen().pause_at = "fencing";
  move.record().set_fence_deadline_ms(1'700'000'000'000 + 2000);
  move.Enter(Stage::kFencing);
  EXPECT_EQ(move.InFlight(), "");
  EXPECT_NE(move.waiting().find("test.pause_at"), std::string::npos);
  move.Pass(2000);
  EXPECT_EQ(move.Proposes(), "end attempt");

  Conversation held;
  held.seen().pause_at = "fencing.commit";
  held.ReachFencing();
  held.Answer(StepKind::kFence, 200);
  held.Answer(StepKind::kComplete, 300);
  held.Answer(StepKind::kFenceReads, 201);
  EXPECT_EQ(held.Proposes(), "");
  EXPECT_EQ(held.InFlight(), "");
}

TEST(PauseTest, LagByRatePlusThreeSyncs) {
  SwitchCosts costs;
  costs.lag_entries = 100;
  costs.apply_entries_per_s = 10'000;
  costs.source_step = Milliseconds(3);
  costs.target_step = Milliseconds(4);
  costs.metadata_commit = Milliseconds(5);
  EXPECT_DOUBLE_EQ(PredictPause(costs).count(), 10 + 3 + 4 + 5);
  costs.apply_entries_per_s = 0;  // not known: taken to be slow
  EXPECT_GT(PredictPause(costs).count(), 22);
  EXPECT_DOUBLE_EQ(PredictDrain(-5, 100).count(), 0);
}

}  // namespace
}  // namespace terrane::migration
