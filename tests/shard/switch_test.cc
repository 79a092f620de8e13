// A switch as two real shards see it: fence, drain, K, commit, end of an attempt, restarts in between.
#include "rpc/status.h"
#include "switch_fixture.h"

namespace terrane::shard {
namespace {

namespace v1 = terrane::v1;
using Reason = v1::ErrorDetail;
using SwitchTest = SwitchFixture;

TEST_F(SwitchTest, T02_FenceIsAnEntryThatMarksTheEndOfTheStream) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  Do(PinStep());
  const EntryResult fence = Do(Fence());
  ASSERT_EQ(fence.outcome, Outcome::kApplied);
  EXPECT_EQ(fence.digest, RunningDigest(kCopy));
  EXPECT_EQ(WriteReason(RouteTo()), Reason::CHUNK_FENCED);
  EXPECT_EQ(Get("a", 1), R"({"_id":1,"k":"a"})");
  Do(FenceReads(fence.position));
  EXPECT_NE(Get("a", 1), R"({"_id":1,"k":"a"})");
  auto record = host_->store().View()->GetOplog(fence.position);
  ASSERT_TRUE(record.ok() && record->has_value());
  v1::OplogEntry oplog;
  ASSERT_TRUE(oplog.ParseFromString(**record));
  EXPECT_EQ(storage::FromProto(oplog.fence().digest()), fence.digest);
  EXPECT_EQ(oplog.fence().token(), kToken.value());
  ExpectSoundCopy();
}

TEST_F(SwitchTest, T01_WriteThatOvertookTheGateIsRefusedAtApply) {
  // The log holds the fence before the write, whatever the gate said.
  v1::ShardEntry write;
  write.mutable_write()->set_collection_id(kCollection.value());
  write.mutable_write()->set_copy_id(kCopy.value());
  write.mutable_write()->set_token(kToken.value());
  *write.mutable_write()->add_changes() = Upsert(R"({"_id":1,"k":"a"})");
  Do(Fence());
  auto result = host_->proposer().ProposeAndWait(write, std::chrono::seconds(10));
  EXPECT_EQ(rpc::ReasonOf(result.status()), Reason::CHUNK_FENCED);
  EXPECT_EQ(Get("a", 1), "");
  ExpectSoundCopy();
}

TEST_F(SwitchTest, T53_ReadFenceSurvivesItsLeader) {
  const EntryResult fence = Do(Fence());
  Do(FenceReads(fence.position));
  Restart();
  EXPECT_NE(Get("a", 1), "");  // an error, not "nothing"
  EXPECT_EQ(WriteReason(RouteTo()), Reason::CHUNK_FENCED);
}

TEST_F(SwitchTest, EndOfTheAttemptOpensTheFence) {
  Do(Fence());
  Do(End(kMove, Token(6)));
  EXPECT_EQ(WriteReason(RouteTo()), Reason::STALE_ROUTE);  // the old token
  EXPECT_TRUE(Insert(R"({"_id": 1, "k": "a"})", RouteTo(kCopy, Token(6))).ok());
  EXPECT_EQ(Do(Fence()).outcome, Outcome::kStaleAttempt);  // trap T63
  Restart();
  EXPECT_EQ(Do(Fence()).outcome, Outcome::kStaleAttempt);
}

TEST_F(SwitchTest, GreaterTokenOpensTheFenceWithTheFirstWrite) {
  Do(Fence());
  EXPECT_TRUE(Insert(R"({"_id": 1, "k": "a"})", RouteTo(kCopy, Token(6))).ok());
  // Learned in the log: it holds after a restart, and the old token is behind.
  Restart();
  EXPECT_EQ(WriteReason(RouteTo()), Reason::STALE_ROUTE);
  EXPECT_TRUE(Insert(R"({"_id": 2, "k": "a"})", RouteTo(kCopy, Token(6))).ok());
}

TEST_F(SwitchTest, TargetFromPrepareToOwner) {
  ASSERT_EQ(Do(Prepare()).outcome, Outcome::kApplied);
  const auto target = [](uint64_t token) { return RouteTo(kTargetCopy, Token(token)); };
  EXPECT_EQ(WriteReason(target(5)), Reason::STALE_ROUTE);
  EXPECT_EQ(WriteReason(target(6)), Reason::ROUTE_AHEAD);
  ASSERT_EQ(Do(SegmentOfOne(1, Position(110))).outcome, Outcome::kApplied);
  auto batch = Batch(Position(100), Position(120));
  *batch.add_changes() = Upsert(R"({"_id":1,"k":"a","n":2})");
  *batch.add_changes() = Upsert(R"({"_id":2,"k":"b"})");
  ASSERT_EQ(Do(batch).outcome, Outcome::kApplied);
  EXPECT_EQ(Do(batch).outcome, Outcome::kAlready);  // its answer was lost
  ExpectSoundCopy(kTargetCopy);
  const ChunkDigest digest = RunningDigest(kTargetCopy);
  EXPECT_EQ(digest.documents.count, 2);
  EXPECT_EQ(Do(Complete(Position(120))).outcome, Outcome::kDigestMismatch);
  ASSERT_EQ(Do(Complete(Position(120), kMove, kToken, digest)).outcome, Outcome::kApplied);
  EXPECT_EQ(WriteReason(target(5)), Reason::STALE_ROUTE);
  // The first request with the committed route proves the commit; a read does not have to be the last to know.
  EXPECT_EQ(Get("a", 1, target(6)), R"({"_id":1,"k":"a","n":2})");
  EXPECT_TRUE(Insert(R"({"_id": 3, "k": "c"})", target(6)).ok());
  Restart();
  EXPECT_EQ(Get("c", 3, target(6)), R"({"_id":3,"k":"c"})");
  EXPECT_TRUE(Do(Own()).ok());
  EXPECT_FALSE(host_->applier().View()->LeastPin());
  ExpectSoundCopy(kTargetCopy);
}

// Whether K applies depends on this replica's own running digest. One whose disk differs refuses a K that the others
// have applied; the commit names that K, so the entry that follows it tells.
TEST_F(SwitchTest, WhoRefusedTheKThatWasCommittedTakesTheStateOfTheOthers) {
  Do(Prepare());
  Do(SegmentOfOne(1, Position(110)));
  ChunkDigest sound;
  sound.AddDocument(KeyOf("a"), IdOf(1), Json(R"({"_id":1,"k":"a","n":2})"));
  auto damage = host_->store().NewBatch();
  damage->PutDocument(kTargetCopy, KeyOf("a"), IdOf(1), Json(R"({"_id":1,"k":"a","n":77})"));
  ASSERT_TRUE(damage->Commit(host_->store().AppliedPosition()).ok());
  auto batch = Batch(Position(100), Position(120));
  *batch.add_changes() = Upsert(R"({"_id":1,"k":"a","n":2})");
  ASSERT_EQ(Do(batch).outcome, Outcome::kApplied);
  ASSERT_EQ(Do(Complete(Position(120), kMove, kToken, sound)).outcome, Outcome::kDigestMismatch);

  const Position position(host_->store().AppliedPosition().value() + 1);
  host_->proposer().log()->Stop();
  const auto apply_own = [&](const MoveRef& move, Position at) {
    v1::ShardEntry own;
    *own.mutable_own_copy() = Own(move);
    const std::string data = own.SerializeAsString();
    const replication::CommittedEntry entry{.position = at, .term = Term(2), .data = data};
    replication::ApplyResult result;
    return host_->applier().Apply({&entry, 1}, {&result, 1});
  };
  const absl::Status status = apply_own(kMove, position);
  EXPECT_EQ(replication::CheckpointNeeded(status), position) << status;
  EXPECT_EQ(host_->store().AppliedPosition().value(), position.value() - 1);
  // Words of another move, or of an attempt that has ended, prove nothing.
  EXPECT_TRUE(apply_own({MigrationId(8), Attempt(1)}, position).ok());
  v1::ShardEntry end;
  *end.mutable_end_attempt() = Whole(End(kMove, Token(6), false, kTargetCopy));
  const std::string data = end.SerializeAsString();
  const replication::CommittedEntry entry{.position = Position(position.value() + 1), .term = Term(2), .data = data};
  replication::ApplyResult result;
  ASSERT_TRUE(host_->applier().Apply({&entry, 1}, {&result, 1}).ok());
  EXPECT_TRUE(apply_own(kMove, Position(position.value() + 2)).ok());
}

TEST_F(SwitchTest, T70_ManyWritesOfOneDocumentInOneBatch) {
  constexpr int kWrites = 300;
  const auto term = host_->proposer().ServingTerm();
  std::atomic<int> done = 0;
  for (int i = 0; i < kWrites; ++i) {
    v1::ShardEntry entry;
    entry.mutable_write()->set_collection_id(kCollection.value());
    entry.mutable_write()->set_copy_id(kCopy.value());
    entry.mutable_write()->set_token(kToken.value());
    v1::Change change = Upsert(StrCat(R"({"_id":1,"k":"a","n":)", i, "}"));
    if (i % 7 == 3) {
      change.clear_document();
      change.set_deleted(true);
    }
    *entry.mutable_write()->add_changes() = change;
    host_->proposer().Propose(*term, std::move(entry), [&](replication::ProposeResult result) {
      EXPECT_TRUE(result.status.ok());
      ++done;
    });
  }
  while (done < kWrites) std::this_thread::yield();
  ExpectSoundCopy();
  EXPECT_EQ(Get("a", 1), StrCat(R"({"_id":1,"k":"a","n":)", kWrites - 1, "}"));
}

TEST_F(SwitchTest, AnEntryThatCannotBeReadIsNamed) {
  replication::CommittedEntry entry{
      .position = Position(host_->store().AppliedPosition().value() + 1), .term = Term(1), .data = "\xff\xff nonsense"};
  host_->proposer().log()->Stop();
  replication::ApplyResult result;
  const absl::Status status = host_->applier().Apply({&entry, 1}, {&result, 1});
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_NE(MessageOf(status).find("entry"), std::string_view::npos);
}

TEST_F(SwitchTest, RefusedEntryLeavesOnlyTheAppliedPosition) {
  const auto before = LoadOwnership(*host_->store().View())->Save().SerializeAsString();
  const Position applied = host_->store().AppliedPosition();
  EXPECT_EQ(Do(Fence(kMove, Token(4))).outcome, Outcome::kStaleToken);
  EXPECT_EQ(host_->store().AppliedPosition(), Position(applied.value() + 1));
  EXPECT_EQ(LoadOwnership(*host_->store().View())->Save().SerializeAsString(), before);
  EXPECT_FALSE(host_->store().View()->GetOplog(Position(applied.value() + 1))->has_value());
}

TEST_F(SwitchTest, DiskReserveRefusesWritesAndLetsDeletesPass) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  disk_usage_ = [] {
    return storage::DiskUsage{.disk = "/small", .total_bytes = 1 << 30, .free_bytes = 1000, .reserve_bytes = 1 << 20};
  };
  Restart();
  const absl::Status refused = Insert(R"({"_id": 2, "k": "a"})");
  EXPECT_TRUE(absl::IsResourceExhausted(refused));
  EXPECT_EQ(rpc::ReasonOf(refused), Reason::DISK_RESERVE);
  EXPECT_NE(MessageOf(refused).find(directory_.path().native()), std::string_view::npos) << refused;
  EXPECT_EQ(Get("a", 1), R"({"_id":1,"k":"a"})");
  EXPECT_EQ(Modify(ModifyOf("a", 1, ""))->deleted(), 1);
}

}  // namespace
}  // namespace terrane::shard
