// A switch as two real shards see it: fence, drain, K, commit, end of an attempt, restarts in between.
#include "fake_log.h"
#include "rpc/status.h"
#include "shard/splitter.h"
#include "shard_fixture.h"
#include "storage/segment.h"
#include "support/await.h"

namespace terrane::shard {
namespace {

namespace v1 = terrane::v1;
using Reason = v1::ErrorDetail;
using testing::Await;

class SwitchTest : public ShardFixture {
 protected:
  void SetUp() override {
    ShardFixture::SetUp();
    CreateWholeChunk();
  }
  template <typename Entry>
  static Entry Whole(Entry entry) {
    *entry.mutable_range() = ToProto(KeyRange{"", std::nullopt});
    return entry;
  }
  EntryResult Do(const v1::PinEntry& pin) {
    v1::ShardEntry entry;
    *entry.mutable_pin() = Whole(pin);
    return Propose(std::move(entry));
  }
  EntryResult Do(const v1::FenceEntry& fence) {
    v1::ShardEntry entry;
    *entry.mutable_fence() = Whole(fence);
    return Propose(std::move(entry));
  }
  EntryResult Do(const v1::FenceReadsEntry& fence) {
    v1::ShardEntry entry;
    *entry.mutable_fence_reads() = Whole(fence);
    return Propose(std::move(entry));
  }
  EntryResult Do(const v1::EndAttemptEntry& end) {
    v1::ShardEntry entry;
    *entry.mutable_end_attempt() = Whole(end);
    return Propose(std::move(entry));
  }
  EntryResult Do(const v1::ReleaseCopy& release) {
    v1::ShardEntry entry;
    *entry.mutable_release_copy() = Whole(release);
    return Propose(std::move(entry));
  }
  EntryResult Do(const v1::PrepareCopy& prepare) {
    v1::ShardEntry entry;
    *entry.mutable_prepare_copy() = Whole(prepare);
    entry.mutable_prepare_copy()->set_shard_key(document::Builder().Append("k", 1).Finish());
    return Propose(std::move(entry));
  }
  EntryResult Do(const v1::ImportBatch& batch) {
    v1::ShardEntry entry;
    *entry.mutable_import_batch() = batch;
    return Propose(std::move(entry));
  }
  EntryResult Do(const v1::CompleteEntry& complete) {
    v1::ShardEntry entry;
    *entry.mutable_complete() = complete;
    return Propose(std::move(entry));
  }
  EntryResult Do(const v1::OwnCopy& own) {
    v1::ShardEntry entry;
    *entry.mutable_own_copy() = own;
    return Propose(std::move(entry));
  }
  // {_id: 1, k: "a", n: `n`} as a segment of the target's copy.
  v1::IngestSegment SegmentOfOne(int n, Position reflects) {
    const std::string bson = Json(StrCat(R"({"_id":1,"k":"a","n":)", n, "}"));
    auto writer = host_->store().NewSegment(kTargetCopy, "m7-a1");
    EXPECT_TRUE(writer.ok());
    EXPECT_TRUE((*writer)->AddDocument(KeyOf("a"), IdOf(1), bson).ok());
    auto built = (*writer)->Finish();
    EXPECT_TRUE(built.ok()) << built.status();
    auto entry = Segment(reflects, {"", std::nullopt}, kMove, built->digest);
    for (const auto& file : built->files) storage::ToProto(file, entry.add_files());
    return entry;
  }
  EntryResult Do(const v1::IngestSegment& segment) {
    v1::ShardEntry entry;
    *entry.mutable_ingest_segment() = segment;
    return Propose(std::move(entry));
  }
  static v1::Change Upsert(std::string json) {
    const std::string bson = Json(json);
    v1::Change change;
    std::string key;
    document::AppendKey(*document::FindDirect(bson, "k"), &key);
    change.set_shard_key(key);
    change.set_id(*document::EncodeIdFromDocument(bson));
    change.set_document(bson);
    return change;
  }
  ChunkDigest RunningDigest(CopyId copy) {
    auto ownership = LoadOwnership(*host_->store().View());
    EXPECT_TRUE(ownership.ok());
    return ownership->OfCopy(copy)[0]->digest;
  }
  Reason::Reason WriteReason(const v1::Route& route) {
    return rpc::ReasonOf(Insert(StrCat(R"({"_id": )", ++next_id_, R"(, "k": "w"})"), route));
  }
  int next_id_ = 100;
  const KeyRange left_{"", KeyOf("m")};
  void SplitAtM() {
    v1::SplitChunkStep step;
    step.set_collection_id(kCollection.value());
    *step.mutable_range() = ToProto(KeyRange{"", std::nullopt});
    step.set_at(*left_.max);
    ASSERT_TRUE(Splitter(&host_->core()).Split({}, step).ok());
  }
  template <typename Entry>
  EntryResult DoLeft(Entry body, Entry* (v1::ShardEntry::*in)()) {
    v1::ShardEntry entry;
    *body.mutable_range() = ToProto(left_);
    *(entry.*in)() = std::move(body);
    return Propose(std::move(entry));
  }
  // After SplitAtM; returns when nothing of it is left. `fenced` runs between fence and release.
  void MoveTheLeftHalfAway(const std::function<void()>& fenced = [] {}) {
    ASSERT_TRUE(DoLeft(Fence(), &v1::ShardEntry::mutable_fence).ok());
    fenced();
    ASSERT_TRUE(DoLeft(Release(), &v1::ShardEntry::mutable_release_copy).ok());
    ASSERT_TRUE(DoLeft(Drop(kCopy), &v1::ShardEntry::mutable_drop_copy).ok());
    const auto left_is_empty = [&] {
      auto view = host_->store().View(kCopy);
      return view.ok() && !(*view)->Documents(kCopy, left_)->Valid();
    };
    while (!left_is_empty()) std::this_thread::yield();
  }
};

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

TEST_F(SwitchTest, T13_BatchesForAnOwnerHaveNoEffect) {
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

TEST_F(SwitchTest, T14_TailDoesNotTouchAnOpenRange) {
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

TEST_F(SwitchTest, T20_RetryRecordsComeWithTheTail) {
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

TEST_F(SwitchTest, T22_DroppedCopyIsGoneAndItsSuccessorIsNot) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  Do(Fence());
  ASSERT_TRUE(Do(Release()).ok());
  const MoveRef back{MigrationId(8), Attempt(1)};
  ASSERT_TRUE(Do(Prepare(back, CopyId(30))).ok());
  v1::ShardEntry drop;
  *drop.mutable_drop_copy() = Whole(Drop(kCopy));
  ASSERT_EQ(Propose(drop).outcome, Outcome::kApplied);
  EXPECT_EQ(WriteReason(RouteTo()), Reason::STALE_ROUTE);
  const auto on_disk = [&] {
    const auto copies = host_->store().ListCopies();
    EXPECT_TRUE(copies.ok());
    return std::any_of(copies->begin(), copies->end(), [](const auto& there) { return there.copy == kCopy; });
  };
  while (on_disk()) std::this_thread::yield();
  EXPECT_NE(host_->applier().View()->OfCopy(CopyId(30)).size(), 0u);
  // It is remembered as gone with the next entry.
  const auto remembered = [&] {
    Do(Prepare(back, CopyId(30)));
    return host_->applier().View()->dropping().empty();
  };
  while (!remembered()) std::this_thread::yield();
}

// What was removed from the old state is still to be removed from the one that takes its place.
TEST_F(SwitchTest, T22_ADropIsOwedByTheStateThatIsInstalledToo) {
  drop_pause_ = std::chrono::milliseconds(200);
  Restart();
  v1::ShardInsertRequest request;
  *request.mutable_route() = RouteTo();
  // Many batches of the janitor's: it begins at once, before the checkpoint and behind it.
  for (int i = 0; i < 30; ++i) AddDocument(StrCat(R"({"_id":)", i, R"(,"k":"a)", i, R"("})"), &request);
  v1::ShardInsertResponse response;
  ASSERT_TRUE(Insert(request, &response).ok());
  SplitAtM();
  ASSERT_TRUE(DoLeft(Fence(), &v1::ShardEntry::mutable_fence).ok());
  ASSERT_TRUE(DoLeft(Release(), &v1::ShardEntry::mutable_release_copy).ok());
  ASSERT_TRUE(DoLeft(Drop(kCopy), &v1::ShardEntry::mutable_drop_copy).ok());
  const auto left_over = [&] {
    const auto view = host_->store().View(kCopy);
    return (*view)->Documents(kCopy, left_, /*for_scan=*/true)->Valid();
  };
  // A peer's state of the same position, in which less has been removed.
  const std::filesystem::path checkpoint = directory_ / "checkpoint";
  std::filesystem::create_directory(checkpoint);
  ASSERT_TRUE(host_->store().TakeCheckpoint(checkpoint).ok());
  ASSERT_TRUE(Await([&] { return !left_over() && host_->store().Statistics().pending_drops == 0; }));
  const Position position(host_->store().AppliedPosition().value() + 1);
  host_->proposer().log()->Stop();
  ASSERT_TRUE(host_->applier().InstallCheckpoint(checkpoint).ok());
  ASSERT_TRUE(left_over());
  const replication::CommittedEntry next{.position = position, .term = Term(1), .data = {}, .internal = true};
  replication::ApplyResult result;
  ASSERT_TRUE(host_->applier().Apply({&next, 1}, {&result, 1}).ok());
  const auto ownership = LoadOwnership(*host_->store().View());
  ASSERT_TRUE(ownership.ok());
  EXPECT_EQ(ownership->dropping().size(), 1u) << "a restart would leave it where it is";
  EXPECT_TRUE(Await([&] { return !left_over(); }));
}

// Between the old data and the ownership of the new nothing is served by the old ownership.
TEST_F(SwitchTest, T22_NothingIsServedWhileAnotherStateIsInstalled) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  const std::filesystem::path checkpoint = directory_ / "checkpoint";
  std::filesystem::create_directory(checkpoint);
  ASSERT_TRUE(host_->store().TakeCheckpoint(checkpoint).ok());
  v1::ShardGetRequest request;
  *request.mutable_route() = RouteTo();
  request.mutable_key()->set_shard_key(KeyOf("a"));
  request.mutable_key()->set_id(IdOf(1));
  v1::ShardGetResponse response;
  // It ends in the middle, which is where a request may look.
  ASSERT_FALSE(host_->applier().InstallCheckpoint(directory_ / "nowhere").ok());
  const absl::Status refused = Read(&ReadPath::Get, request, &response);
  EXPECT_EQ(rpc::ReasonOf(refused), Reason::STALE_ROUTE) << refused;
  ASSERT_TRUE(host_->applier().InstallCheckpoint(checkpoint).ok());
  EXPECT_EQ(Get("a", 1), R"({"_id":1,"k":"a"})");
}

TEST_F(SwitchTest, T62_HalfOfACopyLeavesNothingBehind) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  ASSERT_TRUE(Insert(R"({"_id": 2, "k": "n"})").ok());
  SplitAtM();
  MoveTheLeftHalfAway([&] {
    EXPECT_TRUE(Insert(R"({"_id": 3, "k": "o"})").ok());  // the other half is not disturbed
  });
  EXPECT_EQ(Get("n", 2), R"({"_id":2,"k":"n"})");
  ExpectSoundCopy();
}

// What they find when their turn comes is half a copy without their half.
TEST_F(SwitchTest, T62_WritesThatWaitedWhileTheirHalfWasRemovedDoNotSayThatNothingMatches) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  ASSERT_TRUE(Insert(R"({"_id": 2, "k": "n"})").ok());
  SplitAtM();
  std::promise<Latches::Hold> held;
  host_->core().latches->Acquire({DocumentLatch(kCopy, KeyOf("a"), IdOf(1))},
                                 [&](Latches::Hold hold) { held.set_value(std::move(hold)); });
  Latches::Hold hold = held.get_future().get();
  const v1::ShardModifyRequest one = ModifyOf("a", 1, R"({"$set": {"v": 1}})");
  v1::ShardModifyManyRequest many;
  *many.mutable_route() = RouteTo();
  *many.mutable_route()->mutable_range() = ToProto(left_);
  many.set_filter(Json(R"({"_id": 1})"));
  many.set_update(Json(R"({"$set": {"v": 1}})"));
  v1::ShardModifyResponse one_response;
  v1::ShardModifyManyResponse many_response;
  std::promise<absl::Status> one_done, many_done;
  host_->writes().Modify({}, &one, &one_response, [&](absl::Status status) { one_done.set_value(status); });
  host_->writes().ModifyMany({}, &many, &many_response, [&](absl::Status status) { many_done.set_value(status); });
  MoveTheLeftHalfAway();
  hold.Release();
  const absl::Status of_one = one_done.get_future().get();
  EXPECT_EQ(rpc::ReasonOf(of_one), v1::ErrorDetail::STALE_ROUTE) << of_one << one_response.ShortDebugString();
  const absl::Status of_many = many_done.get_future().get();
  EXPECT_EQ(rpc::ReasonOf(of_many), v1::ErrorDetail::STALE_ROUTE) << of_many << many_response.ShortDebugString();
}

TEST_F(SwitchTest, T34_CopyUnderAReadIsNotRemoved) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  auto view = host_->store().View(kCopy);
  ASSERT_TRUE(view.ok());
  Do(Fence());
  Do(Release());
  v1::ShardEntry drop;
  *drop.mutable_drop_copy() = Whole(Drop(kCopy));
  Propose(drop);
  // The removal of another copy was asked for later and is done: this one's has had its turn.
  std::promise<absl::Status> other;
  host_->store().ScheduleDrop(CopyId(99), std::nullopt, [&](absl::Status status) { other.set_value(status); });
  EXPECT_TRUE(other.get_future().get().ok());
  const auto remembered = [&] {
    Do(Prepare());  // what is done is forgotten with the next entry
    return host_->applier().View()->dropping().size() == 1;
  };
  EXPECT_TRUE(remembered());
  EXPECT_TRUE((*view)->GetDocument(kCopy, KeyOf("a"), IdOf(1))->has_value());
  view->reset();
  while (remembered()) std::this_thread::yield();
}

TEST_F(SwitchTest, T61_ReplayEndsWithTheSameDigest) {
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

// ---- leadership, with a log that says what the test wants ----

TEST_F(SwitchTest, T47_LeaderThatHasNotAppliedItsNoOpServesNothing) {
  FakeLog log;
  log.SetLeader(true, false, Term(9));
  host_->proposer().log()->Stop();
  host_->proposer().SetLog(&log);
  EXPECT_EQ(WriteReason(RouteTo()), Reason::NOT_LEADER);
  v1::ShardScanRequest scan;
  *scan.mutable_route() = RouteTo();
  v1::ShardScanResponse page;
  EXPECT_EQ(rpc::ReasonOf(Read(&ReadPath::Scan, scan, &page)), Reason::NOT_LEADER);
  v1::ShardEntry fence;
  *fence.mutable_fence() = Whole(Fence());
  EXPECT_EQ(rpc::ReasonOf(host_->proposer().ProposeAndWait(fence, std::chrono::seconds(1)).status()),
            Reason::NOT_LEADER);
  EXPECT_EQ(log.proposals(), 0u);
}

TEST_F(SwitchTest, T48_ProposalBearsTheTermOfItsLatches) {
  FakeLog log;
  log.SetLeader(true, true, Term(9));
  host_->proposer().log()->Stop();
  host_->proposer().SetLog(&log);
  std::vector<absl::Status> answers(2);
  std::atomic<int> answered = 0;
  const auto request = InsertOf({R"({"_id":1,"k":"a"})"}, RouteTo());
  v1::ShardInsertResponse responses[2];
  const auto insert = [&](int i) {
    host_->writes().Insert({}, &request, &responses[i], [&, i](absl::Status status) {
      answers[i] = std::move(status);
      ++answered;
    });
  };
  insert(0);
  insert(1);  // waits for the latch
  ASSERT_EQ(log.proposals(), 1u);
  FakeLog::Proposal first = log.Take();
  EXPECT_EQ(first.term, Term(9));
  // Leadership is lost and comes back in another term; the outcome of the first is not known. And once more between
  // what the second one reads and its proposal.
  log.SetLeader(true, true, Term(11));
  log.ChangeTermAfter(1, Term(13));
  first.done({.outcome = replication::ProposeOutcome::kUnknown, .status = Aborted("lost"), .value = {}});
  while (log.proposals() == 0) std::this_thread::yield();
  FakeLog::Proposal second = log.Take();
  EXPECT_EQ(second.term, Term(11));
  EXPECT_EQ(log.Leader().term, Term(13));
  second.done({.outcome = replication::ProposeOutcome::kApplied, .status = absl::OkStatus(), .value = {}});
  while (answered < 2) std::this_thread::yield();
  EXPECT_EQ(rpc::ReasonOf(answers[0]), Reason::OUTCOME_UNKNOWN);
  EXPECT_TRUE(answers[1].ok());
}

TEST_F(SwitchTest, T03_ReadWithoutALeaseLooksAtTheOwnershipAgain) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  replication::ReplicatedLog* real = host_->proposer().log();
  FakeLog log;
  log.SetLeader(true, true, real->Leader().term);
  log.SetLease(false);
  // While the read asks the others, the read fence is applied.
  log.before_read_index = [&] {
    host_->proposer().SetLog(real);
    const EntryResult fence = Do(Fence());
    Do(FenceReads(fence.position));
    host_->proposer().SetLog(&log);
  };
  host_->proposer().SetLog(&log);
  EXPECT_NE(Get("a", 1), R"({"_id":1,"k":"a"})");
  host_->proposer().SetLog(real);
}

}  // namespace
}  // namespace terrane::shard
