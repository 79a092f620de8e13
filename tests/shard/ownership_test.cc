// The gate and the switch, rule by rule. Names of traps are those of docs/migration.md.
#include "shard/ownership.h"

#include "gtest/gtest.h"
#include "ownership_support.h"

namespace terrane::shard {
namespace {

Ownership OwnedSource() {
  Ownership source;
  EXPECT_TRUE(source.ApplyCreateChunk(Create(), Position(1)).ok());
  return source;
}
Ownership FencedSource() {
  Ownership source = OwnedSource();
  EXPECT_TRUE(source.ApplyPin(PinStep(), Position(2)).ok());
  EXPECT_TRUE(source.ApplyFence(Fence(), Position(3)).ok());
  return source;
}
Verdict Admit(Ownership& ownership, const RequestRoute& route, std::string_view key = "c") {
  return ownership.AdmitWrite(route, {&key, 1});
}

TEST(Ownership, T01_WriteBehindTheFenceIsRefusedWhenItIsApplied) {
  Ownership source = OwnedSource();
  ASSERT_TRUE(source.CheckKey(To(kSourceCopy, kToken), "c", true).serves());  // the gate lets it through
  source.ApplyFence(Fence(), Position(3));                                    // the fence is first in the log
  EXPECT_EQ(Admit(source, To(kSourceCopy, kToken)).kind, Verdict::Kind::kFenced);
}

TEST(Ownership, T04_TokenBehindIsRefusedWithTheRouteAndAheadIsAsked) {
  Ownership source = OwnedSource();
  const Verdict behind = source.CheckKey(To(kSourceCopy, Token(4)), "c", true);
  ASSERT_EQ(behind.kind, Verdict::Kind::kStaleRoute);
  ASSERT_TRUE(behind.owner);
  EXPECT_EQ(behind.owner->token(), kToken.value());
  EXPECT_EQ(source.CheckKey(To(CopyId(99), Token(9)), "c", true).kind, Verdict::Kind::kAhead);
}

TEST(Ownership, T05_TargetServesNothingBeforeTheCommit) {
  Ownership target = CaughtUpTarget();
  target.ApplyComplete(Complete(Position(120)), Position(3));
  for (bool write : {false, true}) {
    const Verdict verdict = target.CheckKey(To(kTargetCopy, kToken), "c", write);
    EXPECT_EQ(verdict.kind, Verdict::Kind::kStaleRoute);
    EXPECT_FALSE(verdict.owner);
  }
}

TEST(Ownership, T06_TokensNeverGoBack) {
  Ownership source = FencedSource();
  source.ApplyEndAttempt(End(kMove, Token(6)), Position(4));
  EXPECT_EQ(source.OfCopy(kSourceCopy)[0]->token, Token(6));
  source.ApplyEndAttempt(End(kMove, Token(2)), Position(5));
  EXPECT_EQ(source.OfCopy(kSourceCopy)[0]->token, Token(6));
}

TEST(Ownership, T10_ReadsRunDuringTheDrain) {
  Ownership source = FencedSource();
  EXPECT_TRUE(source.CheckKey(To(kSourceCopy, kToken), "c", false).serves());
  source.ApplyFenceReads(FenceReads(Position(3)), Position(4));
  EXPECT_EQ(source.CheckKey(To(kSourceCopy, kToken), "c", false).kind, Verdict::Kind::kFenced);
}

TEST(Ownership, T13_LateDropOfADeadAttemptDoesNotTouchAnOwner) {
  Ownership target = CaughtUpTarget();
  target.ApplyComplete(Complete(Position(120)), Position(3));
  target.ApplyOwn(Own(), Position(4));
  EXPECT_EQ(target.ApplyDropCopy(Drop(kTargetCopy), Position(5)).outcome, Outcome::kWrongState);
  target.ApplyEndAttempt(End(kMove, Token(6), true, kTargetCopy), Position(6));
  EXPECT_EQ(StateOf(target, kTargetCopy), ChunkState::kOwned);
}

// The creator of a collection asks until it is told that the chunk is there; one of its questions comes when the chunk
// has left.
TEST(Ownership, T13_LateCreateDoesNotBringAChunkBackThatHasMoved) {
  Ownership source = FencedSource();
  ASSERT_TRUE(source.ApplyRelease(Release(), Position(4)).ok());
  EXPECT_EQ(source.ApplyCreateChunk(Create(), Position(5)).outcome, Outcome::kAlready);
  ASSERT_TRUE(source.ApplyDropCopy(Drop(kSourceCopy), Position(6)).ok());
  Ownership restarted = *Ownership::Load(source.Save());
  EXPECT_EQ(restarted.ApplyCreateChunk(Create(), Position(7)).outcome, Outcome::kAlready);
  EXPECT_TRUE(restarted.All().empty());
}

TEST(Ownership, T13_LateCreateDoesNotBringADroppedCollectionBack) {
  Ownership shard;
  ASSERT_TRUE(shard.ApplyDropCopy(Drop(kSourceCopy, MoveRef()), Position(1)).ok());
  EXPECT_EQ(shard.ApplyCreateChunk(Create(), Position(2)).outcome, Outcome::kAlready);
  EXPECT_TRUE(shard.All().empty());
}

TEST(Ownership, T19_EdgesOfARange) {
  Ownership source;
  source.ApplyCreateChunk(Create({"", "b"}, CopyId(1)), Position(1));
  source.ApplyCreateChunk(Create({"m", std::nullopt}, CopyId(2)), Position(2));
  EXPECT_TRUE(source.CheckKey(To(CopyId(1), kToken), "", true).serves());
  EXPECT_FALSE(source.CheckKey(To(CopyId(1), kToken), "b", true).serves());
  EXPECT_TRUE(source.CheckKey(To(CopyId(2), kToken), "\xff\xff\xff\xff", true).serves());
  EXPECT_TRUE(source.Check(To(CopyId(2), kToken), {"m", std::nullopt}, false).serves());
  EXPECT_FALSE(source.Check(To(CopyId(1), kToken), {"", std::nullopt}, false).serves());
  EXPECT_EQ(source.ApplyCreateChunk(Create({"c", "c"}, CopyId(3)), Position(3)).outcome, Outcome::kWrongState);
}

TEST(Ownership, T22_ReturningChunkDoesNotMeetItsRemains) {
  Ownership shard = FencedSource();
  shard.ApplyRelease(Release(), Position(4));
  const MoveRef back{MigrationId(8), Attempt(1)};
  ASSERT_TRUE(shard.ApplyPrepare(Prepare(back, CopyId(30)), Position(5)).ok());
  EXPECT_EQ(StateOf(shard, kSourceCopy), ChunkState::kReleased);
  EXPECT_EQ(StateOf(shard, CopyId(30)), ChunkState::kImporting);
  ASSERT_TRUE(shard.ApplyDropCopy(Drop(kSourceCopy), Position(6)).ok());
  EXPECT_EQ(StateOf(shard, CopyId(30)), ChunkState::kImporting);
  ASSERT_EQ(shard.dropping().size(), 1u);
  EXPECT_EQ(shard.dropping()[0].copy_id(), kSourceCopy.value());
}

TEST(Ownership, T27_HoleInTheStreamIsRefused) {
  Ownership target = CaughtUpTarget();
  EXPECT_EQ(target.CheckImportBatch(Batch(Position(121), Position(130))).outcome, Outcome::kHole);
  EXPECT_EQ(target.CheckImportBatch(Batch(Position(110), Position(130))).outcome, Outcome::kHole);
  EXPECT_EQ(target.CheckImportBatch(Batch(Position(110), Position(120))).outcome, Outcome::kAlready);
  EXPECT_EQ(target.CheckImportBatch(Batch(Position(120), Position(130))).outcome, Outcome::kApplied);
}

TEST(Ownership, T42_ChunkInAMoveIsNotSplit) {
  Ownership source = OwnedSource();
  terrane::v1::SplitBegin begin;
  begin.set_collection_id(kCollection.value());
  *begin.mutable_range() = ToProto(Range());
  begin.set_at("f");
  ASSERT_TRUE(source.ApplySplitBegin(begin, Position(2)).ok());
  source.ApplyPin(PinStep(), Position(3));  // the move wins
  terrane::v1::SplitChunkEntry split;
  split.set_collection_id(kCollection.value());
  *split.mutable_range() = ToProto(Range());
  split.set_at("f");
  split.set_begin(2);
  EXPECT_EQ(source.ApplySplit(split, Position(4)).outcome, Outcome::kConflict);
  EXPECT_EQ(source.ApplySplitBegin(begin, Position(5)).outcome, Outcome::kConflict);
}

TEST(Ownership, T54_TokenAloneProvesNothing) {
  Ownership target = CaughtUpTarget();
  target.ApplyComplete(Complete(Position(120)), Position(3));
  // After the end of the attempt the source's route bears token 6; it names the source's copy.
  EXPECT_FALSE(target.CheckKey(To(kSourceCopy, Token(6)), "c", true).serves());
  EXPECT_EQ(target.CheckKey(To(kTargetCopy, Token(6)), "c", true).kind, Verdict::Kind::kServeByProof);
}

TEST(Ownership, ProofIsRecordedWithTheFirstWrite) {
  Ownership target = CaughtUpTarget();
  target.ApplyComplete(Complete(Position(120)), Position(3));
  target.TakeChanges();
  EXPECT_EQ(Admit(target, To(kTargetCopy, Token(6))).kind, Verdict::Kind::kServeByProof);
  EXPECT_TRUE(target.TakeChanges().structure);
  EXPECT_EQ(StateOf(target, kTargetCopy), ChunkState::kOwned);
  EXPECT_EQ(Admit(target, To(kTargetCopy, Token(6))).kind, Verdict::Kind::kServe);
}

TEST(Ownership, ProofOfOneKeyIsNotTakenWhenAnotherIsRefused) {
  Ownership target = CaughtUpTarget();
  target.ApplyComplete(Complete(Position(120)), Position(3));
  const std::string_view keys[] = {"c", "x"};  // "x" is not in the copy
  EXPECT_FALSE(target.AdmitWrite(To(kTargetCopy, Token(6)), keys).serves());
  EXPECT_EQ(StateOf(target, kTargetCopy), ChunkState::kComplete);
}

TEST(Ownership, T57_SegmentOlderThanTheTailIsRefused) {
  Ownership target;
  target.ApplyPrepare(Prepare(), Position(1));
  ASSERT_TRUE(target.ApplyIngest(Segment(Position(110), {"b", "f"}), Position(2)).ok());
  // The tail does not begin before the last segment is in: it could not know what to leave out.
  EXPECT_EQ(target.CheckImportBatch(Batch(Position(100), Position(120))).outcome, Outcome::kIncomplete);
  ASSERT_TRUE(target.ApplyIngest(Segment(Position(112), {"f", "m"}), Position(3)).ok());
  ASSERT_TRUE(target.CheckImportBatch(Batch(Position(100), Position(120))).ok());
  target.FinishImportBatch(Batch(Position(100), Position(120)));
  EXPECT_FALSE(target.CheckIngest(Segment(Position(119), {"c", "d"})).ok());
}

TEST(Ownership, T58_SegmentFromBeforeThePinIsRefused) {
  Ownership target;
  target.ApplyPrepare(Prepare(), Position(1));
  EXPECT_EQ(target.CheckIngest(Segment(Position(99))).outcome, Outcome::kTooOld);
}

TEST(Ownership, T59_BusyRangeGetsInBecauseTheTailWaitsForIt) {
  // However fast the source writes: the tail does not begin before the last segment is in, whatever its position ...
  Ownership target;
  target.ApplyPrepare(Prepare(), Position(1));
  ASSERT_TRUE(target.ApplyIngest(Segment(Position(110), {"b", "f"}), Position(2)).ok());
  EXPECT_EQ(target.CheckImportBatch(Batch(Position(100), Position(5000))).outcome, Outcome::kIncomplete);
  ASSERT_TRUE(target.ApplyIngest(Segment(Position(4000), {"f", "m"}), Position(3)).ok());
  ASSERT_TRUE(target.CheckImportBatch(Batch(Position(100), Position(5000))).ok());
  target.FinishImportBatch(Batch(Position(100), Position(5000)));
  // ... and waits at the position of a range that is copied again.
  ASSERT_TRUE(target.ApplyBeginRepair(Repair({"c", "d"}, Position(6000)), Position(4)).ok());
  EXPECT_EQ(target.CheckImportBatch(Batch(Position(5000), Position(6001))).outcome, Outcome::kIncomplete);
}

TEST(Ownership, T63_LateStepsOfADeadAttempt) {
  Ownership source = OwnedSource();
  source.ApplyEndAttempt(End(), Position(2));  // nothing to undo yet
  EXPECT_EQ(source.ApplyFence(Fence(), Position(3)).outcome, Outcome::kStaleAttempt);
  EXPECT_EQ(source.ApplyPin(PinStep(), Position(4)).outcome, Outcome::kStaleAttempt);
  EXPECT_EQ(StateOf(source, kSourceCopy), ChunkState::kOwned);

  // A late end of the first attempt does not open the fence of the second.
  ASSERT_TRUE(source.ApplyFence(Fence(kSecondAttempt, Token(6)), Position(5)).ok());
  source.ApplyEndAttempt(End(kMove, Token(6)), Position(6));
  EXPECT_EQ(StateOf(source, kSourceCopy), ChunkState::kWriteFenced);

  Ownership target;
  target.ApplyEndAttempt(End(kMove, Token(6), true, kTargetCopy), Position(2));
  EXPECT_EQ(target.ApplyPrepare(Prepare(), Position(3)).outcome, Outcome::kStaleAttempt);
}

TEST(Ownership, T63_DeadAttemptsSurviveARestart) {
  Ownership source = OwnedSource();
  source.ApplyEndAttempt(End(), Position(2));
  Ownership restarted = *Ownership::Load(source.Save());
  EXPECT_EQ(restarted.ApplyFence(Fence(), Position(3)).outcome, Outcome::kStaleAttempt);
}

// Of what both shards have confirmed, a number is enough.
TEST(Ownership, T63_ForgottenMovesStayDead) {
  Ownership source = OwnedSource();
  const MigrationId below(kMove.id.value() + 1);
  const auto forget = [](MigrationId id) {
    terrane::v1::ForgetMoves entry;
    entry.set_below(id.value());
    return entry;
  };
  EXPECT_FALSE(source.MayForgetMoves(below)) << "there is nothing to forget";
  ASSERT_TRUE(source.ApplyFence(Fence(), Position(2)).ok());
  EXPECT_EQ(source.ApplyForgetMoves(forget(below), Position(3)).outcome, Outcome::kConflict) << "it is at work here";
  source.ApplyEndAttempt(End(kSecondAttempt, Token(6), true), Position(4));
  ASSERT_EQ(StateOf(source, kSourceCopy), ChunkState::kOwned);
  ASSERT_EQ(source.Save().dead_size(), 1);

  EXPECT_FALSE(source.MayForgetMoves(kMove.id));
  EXPECT_TRUE(source.MayForgetMoves(below));
  EXPECT_EQ(source.ApplyForgetMoves(forget(below), Position(5)).outcome, Outcome::kApplied);
  EXPECT_FALSE(source.MayForgetMoves(below));
  EXPECT_EQ(source.ApplyForgetMoves(forget(kMove.id), Position(6)).outcome, Outcome::kAlready);
  Ownership restarted = *Ownership::Load(source.Save());
  EXPECT_EQ(restarted.Save().dead_size(), 0);
  for (const MoveRef& late : {kMove, kSecondAttempt, MoveRef{kMove.id, Attempt(77)}}) {
    EXPECT_EQ(restarted.ApplyFence(Fence(late, Token(9)), Position(7)).outcome, Outcome::kStaleAttempt);
    EXPECT_EQ(restarted.ApplyPin(PinStep(late), Position(8)).outcome, Outcome::kStaleAttempt);
  }
  // A late end of it is no news, and does not come back into the list.
  restarted.ApplyEndAttempt(End(), Position(9));
  EXPECT_EQ(restarted.Save().dead_size(), 0);
  EXPECT_FALSE(restarted.IsDead(MoveRef{below, Attempt(1)}));
  EXPECT_FALSE(restarted.IsDead(MoveRef{})) << "of no move at all";

  Ownership target;
  ASSERT_TRUE(target.ApplyPrepare(Prepare(), Position(1)).ok());
  EXPECT_EQ(target.ApplyForgetMoves(forget(below), Position(2)).outcome, Outcome::kConflict) << "an import is open";
}

TEST(Ownership, T68_FenceRecordsTheTokenAndASmallerOneIsRefused) {
  Ownership source = OwnedSource();
  // Attempt 1 fenced and ended: the metadata service has published token 6. Its end has not come here, but the next
  // fence has, which bears 6.
  source.ApplyFence(Fence(), Position(2));
  ASSERT_TRUE(source.ApplyFence(Fence(kSecondAttempt, Token(6)), Position(3)).ok());
  // A proxy that knows 6 proves nothing against this fence.
  EXPECT_EQ(source.CheckKey(To(kSourceCopy, Token(6)), "c", true).kind, Verdict::Kind::kFenced);
  // And a fence that bears less than what is recorded is refused.
  Ownership other = OwnedSource();
  Admit(other, To(kSourceCopy, Token(6)));
  EXPECT_EQ(other.ApplyFence(Fence(), Position(4)).outcome, Outcome::kStaleToken);
}

TEST(Ownership, ReadFenceNeedsThatVeryFence) {
  Ownership source = FencedSource();
  EXPECT_EQ(source.ApplyFenceReads(FenceReads(Position(2)), Position(4)).outcome, Outcome::kNoFence);
  EXPECT_EQ(source.ApplyFenceReads(FenceReads(Position(3), kSecondAttempt), Position(5)).outcome, Outcome::kNoFence);
  // A proof has opened it.
  Admit(source, To(kSourceCopy, Token(6)));
  EXPECT_EQ(source.ApplyFenceReads(FenceReads(Position(3)), Position(6)).outcome, Outcome::kNoFence);
}

TEST(Ownership, FenceAnswersWithTheDigestOfItsPosition) {
  Ownership source = OwnedSource();
  OwnedChunk* chunk = source.At(kSourceCopy, "c");
  source.Replace(chunk, "c", {}, DigestOf("c", "one"));
  const EntryResult first = source.ApplyFence(Fence(), Position(3));
  EXPECT_EQ(first.digest, DigestOf("c", "one"));
  const EntryResult again = source.ApplyFence(Fence(), Position(9));
  EXPECT_EQ(again.outcome, Outcome::kAlready);
  EXPECT_EQ(again.position, Position(3));
  EXPECT_EQ(again.digest, first.digest);
}

TEST(Ownership, CompleteNeedsCursorDigestAndNoOpenRange) {
  Ownership target = CaughtUpTarget();
  EXPECT_EQ(target.ApplyComplete(Complete(Position(121)), Position(3)).outcome, Outcome::kHole);
  const EntryResult differs =
      target.ApplyComplete(Complete(Position(120), kMove, kToken, DigestOf("c", "one")), Position(3));
  EXPECT_EQ(differs.outcome, Outcome::kDigestMismatch);
  EXPECT_EQ(differs.digest, ChunkDigest{});
  Ownership open = target;
  ASSERT_TRUE(open.ApplyBeginRepair(Repair({"c", "d"}, Position(120)), Position(3)).ok());
  EXPECT_EQ(open.ApplyComplete(Complete(Position(120)), Position(4)).outcome, Outcome::kIncomplete);
  ASSERT_TRUE(target.ApplyComplete(Complete(Position(120)), Position(3)).ok());
  EXPECT_EQ(target.LeastPin(), Position(3));  // its own oplog, from K on
}

TEST(Ownership, T73_OpenRangeStopsTheTailAndIsOnlyBegunAgain) {
  Ownership target = CaughtUpTarget();
  ASSERT_TRUE(target.ApplyBeginRepair(Repair({"c", "d"}, Position(130)), Position(3)).ok());
  EXPECT_EQ(target.CheckImportBatch(Batch(Position(120), Position(131))).outcome, Outcome::kIncomplete);
  ASSERT_TRUE(target.CheckImportBatch(Batch(Position(120), Position(130))).ok());
  target.FinishImportBatch(Batch(Position(120), Position(130)));
  EXPECT_EQ(target.ApplyBeginRepair(Repair({"e", "f"}, Position(140)), Position(4)).outcome, Outcome::kConflict);
  EXPECT_EQ(target.ApplyBeginRepair(Repair({"c", "d"}, Position(125)), Position(4)).outcome, Outcome::kTooOld);
  ASSERT_TRUE(target.ApplyBeginRepair(Repair({"c", "d"}, Position(140)), Position(4)).ok());
  auto last = Batch({}, {});
  *last.mutable_repair_range() = ToProto(KeyRange{"c", "d"});
  last.set_repair_position(130);
  last.set_repair_last(true);
  EXPECT_EQ(target.CheckImportBatch(last).outcome, Outcome::kConflict);  // of the run that was given up
  last.set_repair_position(140);
  ASSERT_TRUE(target.CheckImportBatch(last).ok());
  target.FinishImportBatch(last);
  const Import& import = *target.OfCopy(kTargetCopy)[0]->import;
  ASSERT_EQ(import.segments.size(), 3u);
  EXPECT_EQ(import.segments[1].range, (KeyRange{"c", "d"}));
  EXPECT_EQ(import.segments[1].position, Position(140));
  EXPECT_TRUE(import.Covers(Range()));
}

TEST(Ownership, SecondAttemptGoesOnWithTheSameCopy) {
  Ownership target = CaughtUpTarget();
  target.ApplyComplete(Complete(Position(120)), Position(3));
  target.ApplyEndAttempt(End(kMove, Token(6), false, kTargetCopy), Position(4));
  EXPECT_EQ(StateOf(target, kTargetCopy), ChunkState::kImporting);
  EXPECT_FALSE(target.LeastPin());
  EXPECT_EQ(target.CheckImportBatch(Batch(Position(120), Position(150))).outcome, Outcome::kStaleAttempt);
  ASSERT_TRUE(target.CheckImportBatch(Batch(Position(120), Position(150), kSecondAttempt)).ok());
  target.FinishImportBatch(Batch(Position(120), Position(150), kSecondAttempt));
  EXPECT_EQ(target.ApplyComplete(Complete(Position(150), kSecondAttempt, kToken), Position(5)).outcome,
            Outcome::kStaleToken);
  ASSERT_TRUE(target.ApplyComplete(Complete(Position(150), kSecondAttempt, Token(6)), Position(5)).ok());
  // A request with the token that the end of the first attempt published proves nothing.
  EXPECT_FALSE(target.CheckKey(To(kTargetCopy, Token(6)), "c", true).serves());
  EXPECT_TRUE(target.CheckKey(To(kTargetCopy, Token(7)), "c", true).serves());
}

TEST(Ownership, ReleasedSourceNamesTheNewOwner) {
  Ownership source = FencedSource();
  source.ApplyRelease(Release(), Position(4));
  const Verdict verdict = source.CheckKey(To(kSourceCopy, kToken), "c", false);
  ASSERT_EQ(verdict.kind, Verdict::Kind::kStaleRoute);
  ASSERT_TRUE(verdict.owner);
  EXPECT_EQ(verdict.owner->shard(), "other");
  EXPECT_FALSE(source.LeastPin());
}

TEST(Ownership, SplitSumsAreExactWhileWritesGoOn) {
  Ownership source = OwnedSource();
  const auto write = [&](std::string_view key, const ChunkDigest& before, const ChunkDigest& after) {
    source.Replace(source.At(kSourceCopy, key), key, before, after);
  };
  write("c", {}, DigestOf("c", "one"));
  write("g", {}, DigestOf("g", "one"));
  terrane::v1::SplitBegin begin;
  begin.set_collection_id(kCollection.value());
  *begin.mutable_range() = ToProto(Range());
  begin.set_at("f");
  ASSERT_TRUE(source.ApplySplitBegin(begin, Position(2)).ok());
  write("d", {}, DigestOf("d", "one"));
  // The snapshot S: the left part holds c and d; side(S) holds d.
  const ChunkDigest base = DigestOf("c", "one") + DigestOf("d", "one") - source.At(kSourceCopy, "c")->side->sum;
  write("c", DigestOf("c", "one"), DigestOf("c", "two"));
  write("h", {}, DigestOf("h", "one"));
  terrane::v1::SplitChunkEntry split;
  split.set_collection_id(kCollection.value());
  *split.mutable_range() = ToProto(Range());
  split.set_at("f");
  split.set_begin(2);
  *split.mutable_base() = storage::ToProto(base);
  ASSERT_TRUE(source.ApplySplit(split, Position(3)).ok());
  EXPECT_EQ(source.At(kSourceCopy, "c")->digest, DigestOf("c", "two") + DigestOf("d", "one"));
  EXPECT_EQ(source.At(kSourceCopy, "g")->digest, DigestOf("g", "one") + DigestOf("h", "one"));
  EXPECT_EQ(source.At(kSourceCopy, "g")->token, kToken);
  EXPECT_EQ(source.ApplySplit(split, Position(4)).outcome, Outcome::kAlready);
  // A request for the whole is still served, by both; also one that only knows the old range.
  EXPECT_TRUE(source.Check(To(kSourceCopy, kToken), Range(), true).serves());

  // The metadata service never heard of the split and moves the whole chunk: its records become one again.
  ASSERT_TRUE(source.ApplyPin(PinStep(), Position(5)).ok());
  ASSERT_NE(source.Find(kSourceCopy, Range()), nullptr);
  EXPECT_EQ(source.Find(kSourceCopy, Range())->digest,
            DigestOf("c", "two") + DigestOf("d", "one") + DigestOf("g", "one") + DigestOf("h", "one"));
}

TEST(Ownership, ProgressRecordsReplaceTheFieldsOfTheState) {
  Ownership source = OwnedSource();
  const terrane::v1::OwnershipState saved = source.Save();
  source.TakeChanges();
  source.Replace(source.At(kSourceCopy, "c"), "c", {}, DigestOf("c", "one"));
  const auto changed = source.TakeChanges();
  EXPECT_FALSE(changed.structure);
  ASSERT_EQ(changed.progress.size(), 1u);
  Ownership loaded = *Ownership::Load(saved);
  loaded.SetProgress(kSourceCopy, "b", *source.Progress(kSourceCopy, "b"));
  EXPECT_EQ(loaded.Save().SerializeAsString(), source.Save().SerializeAsString());
}

}  // namespace
}  // namespace terrane::shard
