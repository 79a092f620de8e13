// What a target applies while it imports: segments and batches, once, in order, with the digest of what is there.
#include "switch_fixture.h"

namespace terrane::shard {
namespace {

namespace v1 = terrane::v1;
using ImportApplyTest = SwitchFixture;

TEST_F(ImportApplyTest, T13_BatchesForAnOwnerHaveNoEffect) {
  Do(Prepare());
  Do(SegmentOfOne(1, Position(110)));
  Do(Batch(Position(100), Position(120)));
  ASSERT_TRUE(Do(Complete(Position(120), kMove, kToken, RunningDigest(kTargetCopy))).ok());
  auto late = Batch(Position(120), Position(130));
  *late.add_changes() = Upsert(R"({"_id":1,"k":"a","n":9})");
  EXPECT_EQ(Do(late).outcome, Outcome::kWrongState);
  Do(Own());
  EXPECT_EQ(Do(late).outcome, Outcome::kStaleAttempt);
  EXPECT_EQ(Get("a", 1, RouteTo(kTargetCopy, Token(6))), R"({"_id":1,"k":"a","n":1})");
}

TEST_F(ImportApplyTest, T14_TailDoesNotTouchAnOpenRange) {
  Do(Prepare());
  Do(SegmentOfOne(1, Position(110)));
  v1::ShardEntry begin;
  *begin.mutable_begin_range_repair() = Repair({"", std::nullopt}, Position(130));
  ASSERT_EQ(Propose(begin).outcome, Outcome::kApplied);
  auto repaired = Batch({}, {});
  *repaired.mutable_repair_range() = ToProto(KeyRange{"", std::nullopt});
  repaired.set_repair_position(130);
  *repaired.add_changes() = Upsert(R"({"_id":1,"k":"a","n":30})");
  ASSERT_EQ(Do(repaired).outcome, Outcome::kApplied);
  auto older = Batch(Position(100), Position(120));
  *older.add_changes() = Upsert(R"({"_id":1,"k":"a","n":20})");
  ASSERT_EQ(Do(older).outcome, Outcome::kApplied);
  repaired.clear_changes();
  repaired.set_repair_last(true);
  ASSERT_EQ(Do(repaired).outcome, Outcome::kApplied);
  Do(Batch(Position(120), Position(130)));
  ASSERT_TRUE(Do(Complete(Position(130), kMove, kToken, RunningDigest(kTargetCopy))).ok());
  EXPECT_EQ(Get("a", 1, RouteTo(kTargetCopy, Token(6))), R"({"_id":1,"k":"a","n":30})");
  ExpectSoundCopy(kTargetCopy);
}

TEST_F(ImportApplyTest, T20_RetryRecordsComeWithTheTail) {
  Do(Prepare());
  Do(SegmentOfOne(1, Position(110)));
  v1::RetryRecord record;
  record.mutable_id()->set_session("0123456789abcdef");
  record.mutable_id()->set_statement(4);
  record.set_expires_ms((Clock::System()->Wall() + std::chrono::minutes(5)).count());
  record.set_matched(1);
  record.set_modified(1);
  auto batch = Batch(Position(100), Position(120));
  *batch.add_changes() = Upsert(R"({"_id":1,"k":"a","n":2})");
  batch.mutable_changes(0)->set_retry(record.SerializeAsString());
  ASSERT_TRUE(Do(batch).ok());
  ExpectSoundCopy(kTargetCopy);
  ASSERT_TRUE(Do(Complete(Position(120), kMove, kToken, RunningDigest(kTargetCopy))).ok());
  auto retried = ModifyOf("a", 1, R"({"$inc": {"n": 1}})", RouteTo(kTargetCopy, Token(6)));
  *retried.mutable_retry() = record.id();
  auto answer = Modify(retried);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_TRUE(answer->repeated());
  EXPECT_EQ(Get("a", 1, RouteTo(kTargetCopy, Token(6))), R"({"_id":1,"k":"a","n":2})");
}

TEST_F(ImportApplyTest, T61_ReplayEndsWithTheSameDigest) {
  faults_ = storage::FaultInjection::Create();
  Restart();
  Do(Prepare());
  ASSERT_TRUE(Insert(R"({"_id": 5, "k": "a"})").ok());
  ASSERT_TRUE(Do(SegmentOfOne(1, Position(110))).ok());
  auto batch = Batch(Position(100), Position(120));
  *batch.add_changes() = Upsert(R"({"_id":1,"k":"a","n":2})");
  ASSERT_TRUE(Do(batch).ok());
  const ChunkDigest target = RunningDigest(kTargetCopy);
  // The store forgets all that was not synced; the log does not.
  faults_->PowerCut();
  host_.reset();
  ASSERT_TRUE(faults_->Restore().ok());
  faults_.reset();
  Open();
  EXPECT_EQ(RunningDigest(kTargetCopy), target);
  ExpectSoundCopy(kTargetCopy);
  ExpectSoundCopy();
  EXPECT_EQ(Get("a", 5), R"({"_id":5,"k":"a"})");
}

}  // namespace
}  // namespace terrane::shard
