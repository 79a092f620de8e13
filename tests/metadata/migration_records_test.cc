// The commands of a move: which are taken, which are refused, and what stays behind.
#include <gtest/gtest.h>

#include "metadata/state.h"
#include "state_fixture.h"

namespace terrane::metadata {
namespace {

using absl::StatusCode;

class MigrationRecordsTest : public StateFixture {
 protected:
  MigrationRecordsTest() {
    AddShard("s1");
    AddShard("s2");
  }
};

TEST_F(MigrationRecordsTest, AMoveFromEndToEnd) {
  const uint32_t id = CreateReady("db.c");
  const v1::Chunk before = ChunkAt(id, "a");
  const uint64_t move = StartMove(id, "a", "s2");
  EXPECT_EQ(Record(move).token(), before.token());
  EXPECT_EQ(Record(move).source(), "s1");
  EXPECT_EQ(Record(move).source_copy(), before.copy_id());
  EXPECT_EQ(Record(move).max_pause_ms(), kDefaultMaxPauseMs);
  BringTo(move, Stage::kFencing);
  auto commit = Do(CommitCommand(move, 1));
  ASSERT_EQ(commit.delta.chunks_size(), 1);
  EXPECT_EQ(commit.delta.chunks(0).shard(), "s2");
  EXPECT_EQ(commit.delta.chunks(0).token(), before.token() + 1);
  EXPECT_EQ(commit.delta.chunks(0).copy_id(), Record(move).target_copy());
  EXPECT_NE(ChunkAt(id, "a").migration_id(), 0u);  // not free before both shards know
  BringTo(move, Stage::kDone);
  EXPECT_EQ(ChunkAt(id, "a").migration_id(), 0u);
  EXPECT_GT(Record(move).finished_ms(), 0);
  // T22: and back.
  const uint64_t back = StartMove(id, "a", "s1");
  BringTo(back, Stage::kDone);
  EXPECT_EQ(ChunkAt(id, "a").token(), before.token() + 2);
  EXPECT_NE(ChunkAt(id, "a").copy_id(), before.copy_id());
}

TEST_F(MigrationRecordsTest, T42_AChunkInAMoveIsNeitherMovedNorSplit) {
  const uint32_t id = CreateReady("db.c");
  AddShard("s3");
  const uint64_t move = StartMove(id, "a", "s2");
  for (Stage stage : {Stage::kPlanned, Stage::kCopying, Stage::kFencing, Stage::kCommitted, Stage::kReversible}) {
    BringTo(move, stage);
    auto second = Do(StartCommand(id, "a", "s3"));
    EXPECT_EQ(second.result.code(), static_cast<int>(StatusCode::kFailedPrecondition));
    EXPECT_EQ(second.result.detail().reason(), v1::ErrorDetail::MIGRATION_CONFLICT);
    EXPECT_EQ(second.result.detail().migration_id(), move);
    EXPECT_EQ(Do(SplitCommand(id, "c")).result.detail().reason(), v1::ErrorDetail::MIGRATION_CONFLICT);
  }
  BringTo(move, Stage::kCleaning);
  EXPECT_EQ(Code(SplitCommand(id, "c")), StatusCode::kOk);
}

TEST_F(MigrationRecordsTest, T41_TheSameRequestIsTheSameMigration) {
  const uint32_t id = CreateReady("db.c");
  v1::MetadataCommand start = StartCommand(id, "a", "s2");
  start.set_request_id("once");
  auto first = Do(start);
  BringTo(first.result.migration().id(), Stage::kDone);
  // Also when the id is remembered by the record only.
  v1::MetadataState proto = state_.ToProto();
  proto.clear_recent_order();
  proto.clear_recent_requests();
  state_ = *State::FromProto(proto);
  auto again = Do(start);
  EXPECT_EQ(again.result.code(), 0);
  EXPECT_EQ(again.result.migration().id(), first.result.migration().id());
  EXPECT_EQ(state_.migrations().size(), 1u);
}

TEST_F(MigrationRecordsTest, AMoveThatMakesNoSenseIsRefused) {
  const uint32_t id = CreateReady("db.c");
  EXPECT_EQ(Code(StartCommand(id, "a", "s9")), StatusCode::kNotFound);
  EXPECT_EQ(Code(StartCommand(id, "a", "s1")), StatusCode::kFailedPrecondition);
  v1::MetadataCommand command = StartCommand(id, "a", "s2");
  command.mutable_start_migration()->set_expected_token(7);
  EXPECT_EQ(Code(command), StatusCode::kAborted);
  command = StartCommand(id, "a", "s2");
  command.mutable_start_migration()->mutable_range()->set_max("f");
  EXPECT_EQ(Code(command), StatusCode::kAborted);
  command = StartCommand(id, "a", "s2");
  command.mutable_start_migration()->set_max_pause_ms(-1);
  EXPECT_EQ(Code(command), StatusCode::kInvalidArgument);
}

TEST_F(MigrationRecordsTest, T06_AnEndedFenceRaisesTheTokenOfTheSource) {
  const uint32_t id = CreateReady("db.c");
  const uint64_t move = StartMove(id, "a", "s2");
  BringTo(move, Stage::kFencing);
  const v1::Chunk before = ChunkAt(id, "a");
  auto ended = Do(EndCommand(move, 1, false));
  ASSERT_EQ(ended.delta.chunks_size(), 1);  // ends the proxies' holds
  EXPECT_EQ(ended.delta.chunks(0).token(), before.token() + 1);
  EXPECT_EQ(ended.delta.chunks(0).shard(), before.shard());
  EXPECT_EQ(ended.delta.chunks(0).copy_id(), before.copy_id());
  EXPECT_EQ(Record(move).attempt(), 2u);
  EXPECT_EQ(StageOf(move), Stage::kCatchingUp);
  EXPECT_EQ(Record(move).attempts_size(), 1);
  EXPECT_EQ(Record(move).attempts(0).why(), "because");
  // Only a fence that is given up raises it.
  auto aborted = Do(EndCommand(move, 2, true));
  EXPECT_EQ(aborted.delta.chunks_size(), 0);
  EXPECT_EQ(ChunkAt(id, "a").token(), before.token() + 1);
  Advance(move, Stage::kAborted);
  EXPECT_EQ(ChunkAt(id, "a").migration_id(), 0u);
  EXPECT_EQ(Record(move).reason(), "because");
}

TEST_F(MigrationRecordsTest, T09_OneCommitDecides) {
  const uint32_t id = CreateReady("db.c");
  // Either the end of the attempt...
  uint64_t move = StartMove(id, "a", "s2");
  BringTo(move, Stage::kFencing);
  EXPECT_EQ(Code(EndCommand(move, 1, false)), StatusCode::kOk);
  EXPECT_EQ(Code(CommitCommand(move, 1)), StatusCode::kAborted);
  EXPECT_EQ(ChunkAt(id, "a").shard(), "s1");
  // ... also when the next attempt is fencing already (stage alone would do)...
  for (Stage next : {Stage::kVerifying, Stage::kFencing}) Advance(move, next);
  EXPECT_EQ(Code(CommitCommand(move, 1)), StatusCode::kAborted);
  // ... or the commit.
  EXPECT_EQ(Code(CommitCommand(move, 2)), StatusCode::kOk);
  EXPECT_EQ(Code(EndCommand(move, 2, false)), StatusCode::kAborted);
  EXPECT_EQ(Code(EndCommand(move, 2, true)), StatusCode::kAborted);
  EXPECT_EQ(Code(CommitCommand(move, 2)), StatusCode::kAborted);  // twice
  EXPECT_EQ(ChunkAt(id, "a").shard(), "s2");
}

TEST_F(MigrationRecordsTest, EveryAdvanceThatIsNoEdgeIsRefused) {
  const uint32_t id = CreateReady("db.c");
  for (Stage from : migration::kAllStages) {
    if (from == Stage::kRollingBack || from == Stage::kRolledBack) continue;  // no command leads there
    for (Stage to : migration::kAllStages) {
      State kept = *State::FromProto(state_.ToProto());
      const uint64_t move = StartMove(id, "a", "s2");
      if (from == Stage::kAborting || from == Stage::kAborted) {
        Do(EndCommand(move, 1, true));
        if (from == Stage::kAborted) Advance(move, Stage::kAborted);
      } else {
        BringTo(move, from);
      }
      if (!(from == Stage::kReversible && to == Stage::kRollingBack)) {
        const bool note = from == to && !migration::IsEnded(from);
        const bool edge = migration::EdgeBetween(from, to) == migration::Edge::kAdvance;
        EXPECT_EQ(Do(AdvanceCommand(move, to)).result.code() == 0, note || edge)
            << migration::NameOf(from) << " -> " << migration::NameOf(to);
      }
      state_ = std::move(kept);
    }
  }
}

TEST_F(MigrationRecordsTest, ACommandOfAnotherStageOrAttemptIsRefused) {
  const uint32_t id = CreateReady("db.c");
  const uint64_t move = StartMove(id, "a", "s2");
  v1::MetadataCommand late = AdvanceCommand(move, Stage::kPreparing);
  Advance(move, Stage::kPreparing);
  EXPECT_EQ(Code(late), StatusCode::kAborted);
  v1::MetadataCommand other = AdvanceCommand(move, Stage::kCopying);
  other.mutable_advance_migration()->set_attempt(2);
  EXPECT_EQ(Code(other), StatusCode::kAborted);
  other.mutable_advance_migration()->set_id(99);
  EXPECT_EQ(Code(other), StatusCode::kNotFound);
  EXPECT_EQ(Code(EndCommand(move, 1, false)), StatusCode::kAborted);  // no fence to give up
  v1::MetadataCommand unknown = AdvanceCommand(move, Stage::kCopying);
  unknown.mutable_advance_migration()->set_to(static_cast<v1::Migration::Stage>(77));
  EXPECT_EQ(Code(unknown), StatusCode::kFailedPrecondition);
}

TEST_F(MigrationRecordsTest, AnAdvanceTakesOverWhatItBrings) {
  const uint32_t id = CreateReady("db.c");
  const uint64_t move = StartMove(id, "a", "s2");
  v1::MetadataCommand note = AdvanceCommand(move, Stage::kPlanned);
  note.mutable_advance_migration()->mutable_update()->set_reason("waits");
  note.mutable_advance_migration()->mutable_update()->set_pin(100);
  note.mutable_advance_migration()->mutable_update()->set_fence_deadline_ms(5);
  note.mutable_advance_migration()->mutable_update()->mutable_figures()->set_bytes(17);
  Do(note);
  EXPECT_EQ(Record(move).reason(), "waits");
  EXPECT_EQ(Record(move).pin(), 100u);
  EXPECT_EQ(Record(move).fence_deadline_ms(), 5);
  EXPECT_EQ(Record(move).figures().bytes(), 17);
  Advance(move, Stage::kPreparing);
  EXPECT_EQ(Record(move).reason(), "");
  EXPECT_EQ(Record(move).pin(), 100u);
}

TEST_F(MigrationRecordsTest, ACommitNeedsItsProofs) {
  const uint32_t id = CreateReady("db.c");
  const uint64_t move = StartMove(id, "a", "s2");
  BringTo(move, Stage::kVerifying);
  EXPECT_EQ(Code(CommitCommand(move, 1)), StatusCode::kAborted);
  BringTo(move, Stage::kFencing);
  for (int missing = 0; missing < 3; ++missing) {
    v1::MetadataCommand commit = CommitCommand(move, 1);
    if (missing == 0) commit.mutable_commit_migration()->set_fence(0);
    if (missing == 1) commit.mutable_commit_migration()->set_read_fence(0);
    if (missing == 2) commit.mutable_commit_migration()->set_complete(0);
    EXPECT_EQ(Code(commit), StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(ChunkAt(id, "a").shard(), "s1");
}

TEST_F(MigrationRecordsTest, T66_AChangedSchemaOrADroppedCollectionRefusesTheCommit) {
  const uint32_t id = CreateReady("db.c");
  const uint64_t move = StartMove(id, "a", "s2");
  BringTo(move, Stage::kFencing);
  v1::MetadataCommand commit = CommitCommand(move, 1);
  commit.mutable_commit_migration()->set_schema_revision(99);
  EXPECT_EQ(Code(commit), StatusCode::kFailedPrecondition);
  v1::MetadataState changed = state_.ToProto();
  changed.mutable_collections(0)->set_schema_revision(99);
  state_ = *State::FromProto(changed);
  EXPECT_EQ(Code(CommitCommand(move, 1)), StatusCode::kFailedPrecondition);
  commit = CommitCommand(move, 1);
  Do(DropCommand("db.c"));
  EXPECT_EQ(Code(commit), StatusCode::kAborted);
  EXPECT_EQ(StageOf(move), Stage::kAborting);
}

TEST_F(MigrationRecordsTest, DroppingACollectionEndsItsMovesInTheSameCommand) {
  for (Stage stage : {Stage::kPlanned, Stage::kPreparing, Stage::kCopying, Stage::kCatchingUp, Stage::kVerifying,
                      Stage::kFencing, Stage::kCommitted, Stage::kReversible, Stage::kCleaning, Stage::kDone}) {
    const uint32_t id = CreateReady("db.c");
    const uint64_t move = StartMove(id, "a", "s2");
    BringTo(move, stage);
    const uint64_t token = ChunkAt(id, "a").token();
    auto dropped = Do(DropCommand("db.c"));
    EXPECT_EQ(dropped.delta.chunks_size(), 0);
    if (migration::BeforeCommit(stage)) {
      EXPECT_EQ(StageOf(move), Stage::kAborting);
      EXPECT_EQ(ChunkAt(id, "a").token(), token + (stage == Stage::kFencing ? 1 : 0));
      EXPECT_EQ(Code(GoneCommand(id)), StatusCode::kFailedPrecondition);
      Advance(move, Stage::kAborted);
    } else if (stage == Stage::kReversible) {
      EXPECT_EQ(StageOf(move), Stage::kCleaning);
      Advance(move, Stage::kDone);
    } else if (stage != Stage::kDone) {
      EXPECT_EQ(StageOf(move), stage);
      EXPECT_EQ(Code(GoneCommand(id)), StatusCode::kFailedPrecondition);
      BringTo(move, Stage::kDone);
    }
    EXPECT_EQ(Code(GoneCommand(id)), StatusCode::kOk) << migration::NameOf(stage);
  }
}

TEST_F(MigrationRecordsTest, T11_AnAbortCanBeAskedForUntilTheCommit) {
  const uint32_t id = CreateReady("db.c");
  auto abort = [](uint64_t move) {
    v1::MetadataCommand command;
    command.mutable_request_abort()->set_id(move);
    return command;
  };
  EXPECT_EQ(Code(abort(99)), StatusCode::kNotFound);
  for (Stage stage : {Stage::kPlanned, Stage::kFencing}) {
    const uint64_t move = StartMove(id, "a", "s2");
    BringTo(move, stage);
    EXPECT_EQ(Code(abort(move)), StatusCode::kOk);
    EXPECT_EQ(Code(abort(move)), StatusCode::kOk);
    EXPECT_TRUE(Record(move).abort_requested());
    // Neither goes the move on nor is it committed.
    if (stage == Stage::kPlanned) {
      EXPECT_EQ(Code(AdvanceCommand(move, Stage::kPreparing)), StatusCode::kAborted);
    }
    EXPECT_EQ(Code(CommitCommand(move, 1)), StatusCode::kAborted);
    EXPECT_EQ(Code(EndCommand(move, 1, true)), StatusCode::kOk);
    EXPECT_EQ(Code(abort(move)), StatusCode::kOk);
    Advance(move, Stage::kAborted);
    EXPECT_EQ(Code(abort(move)), StatusCode::kOk);
  }
  const uint64_t move = StartMove(id, "a", "s2");
  BringTo(move, Stage::kCommitted);
  auto late = Do(abort(move));
  EXPECT_EQ(late.result.code(), static_cast<int>(StatusCode::kFailedPrecondition));
  EXPECT_NE(late.result.message().find("s2 owns the chunk"), std::string::npos) << late.result.message();
}

TEST_F(MigrationRecordsTest, T64_RecordsGoOnlyAfterTheirEnd) {
  const uint32_t id = CreateReady("db.c");
  const uint64_t first = StartMove(id, "a", "s2");
  BringTo(first, Stage::kDone);
  const uint64_t second = StartMove(id, "a", "s1");
  auto forget = [](uint64_t below) {
    v1::MetadataCommand command;
    command.mutable_forget_migrations()->set_below(below);
    return command;
  };
  EXPECT_EQ(Code(forget(second + 1)), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Code(forget(second + 9)), StatusCode::kInvalidArgument);
  EXPECT_EQ(Code(forget(second)), StatusCode::kOk);
  EXPECT_EQ(Code(forget(second)), StatusCode::kOk);
  EXPECT_EQ(state_.dead_below(), second);
  EXPECT_EQ(state_.FindMigration(first), nullptr);
  EXPECT_NE(state_.FindMigration(second), nullptr);
}

}  // namespace
}  // namespace terrane::metadata
