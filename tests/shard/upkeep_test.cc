// Work behind the requests: splits, audits, retention, questions about a standing fence, latches.
#include <future>
#include <map>
#include <mutex>

#include "rpc/status.h"
#include "shard/outcome_watch.h"
#include "shard/retention.h"
#include "shard/splitter.h"
#include "shard_fixture.h"
#include "support/clocks.h"

namespace terrane::shard {
namespace {

namespace v1 = terrane::v1;

class UpkeepTest : public ShardFixture {
 protected:
  void SetUp() override {
    ShardFixture::SetUp();
    CreateWholeChunk();
  }
  void InsertMany(int first, int count) {
    v1::ShardInsertRequest request;
    *request.mutable_route() = RouteTo();
    for (int i = first; i < first + count; ++i) {
      AddDocument(StrCat(R"({"_id":)", i, R"(,"k":"k)", i % 97, R"("})"), &request);
    }
    v1::ShardInsertResponse response;
    ASSERT_TRUE(Insert(request, &response).ok());
  }
  void InsertWithRetry(int id) {
    auto request = InsertOf({StrCat(R"({"_id":)", id, R"(,"k":"a"})")}, RouteTo());
    request.mutable_retry()->set_session("0123456789abcdef");
    request.add_statements(id);
    v1::ShardInsertResponse response;
    ASSERT_TRUE(Insert(request, &response).ok());
  }
  void ExpectOplogInTheOrderOfItsTimes() {
    const auto view = host_->store().View();
    auto cursor = view->Oplog(view->FirstOplogPosition());
    ASSERT_TRUE(cursor.ok()) << cursor.status();
    uint64_t last = 0;
    int entries = 0;
    for (; (*cursor)->Valid(); (*cursor)->Next(), ++entries) {
      v1::OplogEntry entry;
      ASSERT_TRUE(entry.ParseFromString(std::string((*cursor)->entry())));
      EXPECT_GT(entry.hybrid_time(), last) << "at " << (*cursor)->position();
      last = entry.hybrid_time();
    }
    EXPECT_GT(entries, 1);
  }

  testing::ShiftedClock shifted_;  // of host_, if clock_ says so
};

TEST_F(UpkeepTest, SplitUnderWritesKeepsExactDigests) {
  InsertMany(0, 2000);
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (int i = 0; !stop; ++i) {
      EXPECT_TRUE(Insert(StrCat(R"({"_id":)", 10000 + i, R"(,"k":"k)", i % 97, R"("})")).ok());
      EXPECT_TRUE(Modify(ModifyOf("k5", 5, StrCat(R"({"$set":{"n":)", i, "}}"))).ok());
    }
  });
  v1::SplitChunkStep step;
  step.set_collection_id(kCollection.value());
  *step.mutable_range() = ToProto(KeyRange{"", std::nullopt});
  Splitter splitter(&host_->core());
  auto split = splitter.Split({}, step);
  stop = true;
  writer.join();
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_EQ(host_->applier().View()->OfCopy(kCopy).size(), 2u);
  ExpectSoundCopy();
  // Again, as if the answer had been lost: the same border.
  auto again = splitter.Split({}, step);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->at, split->at);
  Restart();
  EXPECT_EQ(host_->applier().View()->OfCopy(kCopy).size(), 2u);
  ExpectSoundCopy();
}

TEST_F(UpkeepTest, SplitGoesOnWhereALeaderLeftOff) {
  InsertMany(0, 200);
  v1::ShardEntry begin;
  begin.mutable_split_begin()->set_collection_id(kCollection.value());
  *begin.mutable_split_begin()->mutable_range() = ToProto(KeyRange{"", std::nullopt});
  begin.mutable_split_begin()->set_at(KeyOf("k3"));
  ASSERT_TRUE(Propose(begin).ok());
  Restart();
  InsertMany(200, 200);
  v1::SplitChunkStep step;
  step.set_collection_id(kCollection.value());
  *step.mutable_range() = ToProto(KeyRange{"", std::nullopt});
  step.set_at(KeyOf("k5"));
  auto split = Splitter(&host_->core()).Split({}, step);
  ASSERT_TRUE(split.ok()) << split.status();
  ExpectSoundCopy();
}

// Who asks again while it runs waits for it, with its own patience, and ends nothing.
TEST_F(UpkeepTest, ASplitThatRunsIsWaitedFor) {
  InsertMany(0, 200);
  v1::SplitChunkStep step;
  step.set_collection_id(kCollection.value());
  *step.mutable_range() = ToProto(KeyRange{"", std::nullopt});
  step.set_at(KeyOf("k5"));
  Splitter splitter(&host_->core());
  // Each is asked within its work whether it is still wanted; the first one stops there.
  std::promise<void> scans, go_on;
  const auto look = [&scans, told = std::make_shared<std::once_flag>(), go = go_on.get_future().share()] {
    std::call_once(*told, [&scans] { scans.set_value(); });
    go.wait();
    return false;
  };
  auto first = std::async(std::launch::async, [&splitter, look, step] {
    return splitter.Split({.deadline = std::nullopt, .cancelled = look}, step);
  });
  scans.get_future().wait();
  const Position begun = host_->applier().View()->OfCopy(kCopy)[0]->side->begin;

  std::promise<void> waits;
  auto again = std::async(std::launch::async, [&splitter, &waits, step] {
    const auto waiting = [&waits, told = std::make_shared<std::once_flag>()] {
      std::call_once(*told, [&waits] { waits.set_value(); });
      return false;
    };
    return splitter.Split({.deadline = std::nullopt, .cancelled = waiting}, step);
  });
  waits.get_future().wait();
  step.set_at("");
  const absl::Status hasty =
      splitter.Split({.deadline = Clock::System()->Now() + std::chrono::milliseconds(20), .cancelled = nullptr}, step)
          .status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(hasty)) << hasty;
  EXPECT_NE(hasty.message().find("is being split"), std::string::npos) << hasty;
  const absl::Status gone = splitter.Split({.deadline = std::nullopt, .cancelled = [] { return true; }}, step).status();
  EXPECT_TRUE(absl::IsCancelled(gone)) << gone;
  const auto view = host_->applier().View();
  EXPECT_EQ(view->OfCopy(kCopy).size(), 1u);
  const auto side = view->OfCopy(kCopy)[0]->side;
  EXPECT_TRUE(side && side->begin == begun) << "it is the first one that runs";

  go_on.set_value();
  const auto done = first.get();
  ASSERT_TRUE(done.ok()) << done.status();
  const auto same = again.get();
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_EQ(done->entry.outcome, Outcome::kApplied);
  EXPECT_EQ(same->entry.outcome, Outcome::kAlready);
  EXPECT_EQ(same->at, done->at);
  EXPECT_EQ(host_->applier().View()->OfCopy(kCopy).size(), 2u);
  ExpectSoundCopy();
}

// One that has failed is begun anew by whoever waited for it.
TEST_F(UpkeepTest, ASplitThatFailsIsBegunAnewByItsWaiter) {
  InsertMany(0, 200);
  v1::SplitChunkStep step;
  step.set_collection_id(kCollection.value());
  *step.mutable_range() = ToProto(KeyRange{"", std::nullopt});
  step.set_at(KeyOf("k5"));
  Splitter splitter(&host_->core());
  std::promise<void> scans, go_on;
  auto first = std::async(std::launch::async, [&] {
    const auto look = [&] {
      scans.set_value();  // once: it ends here
      go_on.get_future().wait();
      return true;
    };
    return splitter.Split({.deadline = std::nullopt, .cancelled = look}, step).status();
  });
  scans.get_future().wait();
  std::promise<void> waits;
  auto second = std::async(std::launch::async, [&] {
    const auto waiting = [&waits, told = std::make_shared<std::once_flag>()] {
      std::call_once(*told, [&waits] { waits.set_value(); });
      return false;
    };
    return splitter.Split({.deadline = std::nullopt, .cancelled = waiting}, step);
  });
  waits.get_future().wait();
  go_on.set_value();
  EXPECT_TRUE(absl::IsCancelled(first.get()));
  const auto done = second.get();
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->entry.outcome, Outcome::kApplied);
  ExpectSoundCopy();
}

// The halves' digests come from a scan and from the running one: damage on one side would become the other's.
TEST_F(UpkeepTest, T33_ASplitCertifiesNoDamage) {
  InsertMany(0, 200);
  auto damage = host_->store().NewBatch();
  damage->PutDocument(kCopy, KeyOf("k3"), IdOf(3), Json(R"({"_id":3,"k":"k3","stale":1})"));
  ASSERT_TRUE(damage->Commit(host_->store().AppliedPosition()).ok());
  v1::SplitChunkStep step;
  step.set_collection_id(kCollection.value());
  *step.mutable_range() = ToProto(KeyRange{"", std::nullopt});
  step.set_at(KeyOf("k5"));
  Splitter splitter(&host_->core());
  for (int n = 0; n < 2; ++n) {
    const absl::Status refused = splitter.Split({}, step).status();
    EXPECT_TRUE(absl::IsDataLoss(refused)) << refused;
    EXPECT_NE(refused.message().find("copy 10 is damaged"), std::string::npos) << refused;
    ASSERT_EQ(host_->applier().View()->OfCopy(kCopy).size(), 1u);
    EXPECT_FALSE(host_->applier().View()->OfCopy(kCopy)[0]->side) << "the split under way is given up";
  }
}

TEST_F(UpkeepTest, AuditComparesDiskAndDigestOfOneMoment) {
  InsertMany(0, 500);
  v1::AuditRequest request;
  request.set_copy_id(kCopy.value());
  *request.mutable_range() = ToProto(KeyRange{"", std::nullopt});
  auto sound = Audit(host_->core(), {}, request);
  ASSERT_TRUE(sound.ok()) << sound.status();
  EXPECT_EQ(sound->scanned().documents().count(), 500);
  EXPECT_EQ(sound->detail(), "");
  // Something changes the disk behind the log's back.
  host_->proposer().log()->Stop();
  auto batch = host_->store().NewBatch();
  batch->DeleteDocument(kCopy, KeyOf("k5"), IdOf(5));
  ASSERT_TRUE(batch->Commit(host_->store().AppliedPosition()).ok());
  auto damaged = Audit(host_->core(), {}, request);
  ASSERT_TRUE(damaged.ok());
  EXPECT_NE(damaged->detail(), "");
  EXPECT_EQ(damaged->scanned().documents().count(), 499);
}

TEST_F(UpkeepTest, T23_OwnerExpiresRetryRecordsThroughTheLog) {
  retry_lifetime_ = std::chrono::milliseconds(-1000);
  Restart();
  auto request = InsertOf({R"({"_id":1,"k":"a"})"}, RouteTo());
  request.mutable_retry()->set_session("0123456789abcdef");
  request.add_statements(1);
  v1::ShardInsertResponse response;
  ASSERT_TRUE(Insert(request, &response).ok());
  Retention retention(&host_->core(), {});
  const Position before = host_->store().AppliedPosition();
  EXPECT_EQ(retention.ExpireRetries(Clock::System()->Wall()), 1u);
  EXPECT_EQ(Retention(&host_->core(), {}).ExpireRetries(Clock::System()->Wall()), 0u);
  EXPECT_GT(host_->store().AppliedPosition(), before);
  ExpectSoundCopy();
  v1::OplogEntry oplog;
  ASSERT_TRUE(oplog.ParseFromString(**host_->store().View()->GetOplog(Position(before.value() + 1))));
  ASSERT_EQ(oplog.changes_size(), 1);
  EXPECT_TRUE(oplog.changes(0).retry_removed());
  EXPECT_EQ(oplog.changes(0).document(), "");
}

// Each write leaves a record: who writes fast is not to be followed one step at a time.
TEST_F(UpkeepTest, T23_AStepThatIsNotTheLastSaysSo) {
  retry_lifetime_ = std::chrono::milliseconds(-1000);
  Restart();
  for (int id = 0; id < 25; ++id) InsertWithRetry(id);
  RetentionOptions options;
  options.retries_per_step = 10;
  Retention retention(&host_->core(), options);
  EXPECT_FALSE(retention.HasMoreToExpire());
  const WallTime now = Clock::System()->Wall();
  for (const size_t removed : {10, 10, 5}) {
    EXPECT_EQ(retention.ExpireRetries(now), removed);
    EXPECT_EQ(retention.HasMoreToExpire(), removed == 10);
  }
  ExpectSoundCopy();
}

// More live records under one shard key than a step looks at must not keep it from what is behind them.
TEST_F(UpkeepTest, T23_ABusyShardKeyDoesNotHoldUpTheOthers) {
  const auto insert = [this](int id, const std::string& k) {
    auto request = InsertOf({StrCat(R"({"_id":)", id, R"(,"k":")", k, R"("})")}, RouteTo());
    request.mutable_retry()->set_session("0123456789abcdef");
    request.add_statements(id);
    v1::ShardInsertResponse response;
    ASSERT_TRUE(Insert(request, &response).ok());
  };
  for (int id = 0; id < 20; ++id) insert(id, "a");
  retry_lifetime_ = std::chrono::milliseconds(-1000);
  Restart();
  insert(20, "b");
  RetentionOptions options;
  options.retries_per_step = 10;
  Retention retention(&host_->core(), options);
  size_t removed = 0;
  for (int step = 0; step < 5; ++step) removed += retention.ExpireRetries(Clock::System()->Wall());
  EXPECT_EQ(removed, 1u);
  ExpectSoundCopy();
}

// The next leader's clock is right again, and a retry comes.
TEST_F(UpkeepTest, T44_RetryRecordsOfALeaderWhoseClockIsBehindLiveAsLong) {
  ASSERT_TRUE(Insert(R"({"_id":1,"k":"a"})").ok());  // of the leader before
  testing::ShiftedClock slow;
  slow.wall = -std::chrono::hours(1);
  host_->mutable_core()->clock = &slow;
  auto request = InsertOf({R"({"_id":2,"k":"a"})"}, RouteTo());
  request.mutable_retry()->set_session("0123456789abcdef");
  request.add_statements(1);
  v1::ShardInsertResponse response;
  ASSERT_TRUE(Insert(request, &response).ok());
  host_->mutable_core()->clock = Clock::System();
  EXPECT_EQ(Retention(&host_->core(), {}).ExpireRetries(Clock::System()->Wall()), 0u);
}

// A machine starts with its clock behind, until somebody puts it right.
TEST_F(UpkeepTest, T44_AStartDoesNotForgetTheTimeOfTheLog) {
  ASSERT_TRUE(Insert(R"({"_id":1,"k":"a"})").ok());
  shifted_.wall = -std::chrono::hours(1);
  clock_ = &shifted_;
  Restart();
  InsertWithRetry(2);
  EXPECT_EQ(Retention(&host_->core(), {}).ExpireRetries(Clock::System()->Wall()), 0u);
  ExpectOplogInTheOrderOfItsTimes();
}

TEST_F(UpkeepTest, T44_TheTimeOfTheLogOutlivesItsOplog) {
  host_->applier().AllowOplogTrim(Position(host_->store().AppliedPosition().value() + 2));
  ASSERT_TRUE(Insert(R"({"_id":1,"k":"a"})").ok());
  ASSERT_GT(host_->store().FirstOplogPosition(), host_->store().AppliedPosition());
  shifted_.wall = -std::chrono::hours(1);
  clock_ = &shifted_;
  Restart();
  InsertWithRetry(2);
  EXPECT_EQ(Retention(&host_->core(), {}).ExpireRetries(Clock::System()->Wall()), 0u);
}

TEST_F(UpkeepTest, T44_ACheckpointBringsTheTimeOfItsLog) {
  ASSERT_TRUE(Insert(R"({"_id":1,"k":"a"})").ok());
  const std::filesystem::path checkpoint = directory_ / "checkpoint";
  std::filesystem::create_directory(checkpoint);
  ASSERT_TRUE(host_->store().TakeCheckpoint(checkpoint).ok());
  // Another replica, which has applied nothing of it.
  shifted_.wall = -std::chrono::hours(1);
  HybridClock hybrid(&shifted_);
  storage::StoreOptions options;
  options.directory = directory_ / "other";
  auto store = storage::Store::Open(options);
  ASSERT_TRUE(store.ok()) << store.status();
  auto applier = Applier::Open({.shard = "s1"}, store->get(), &hybrid);
  ASSERT_TRUE(applier.ok()) << applier.status();
  EXPECT_EQ(hybrid.Wall() / std::chrono::minutes(1), shifted_.Wall() / std::chrono::minutes(1));
  ASSERT_TRUE((*applier)->InstallCheckpoint(checkpoint).ok());
  EXPECT_GT(hybrid.Wall(), shifted_.Wall() + std::chrono::minutes(59));
}

TEST_F(UpkeepTest, RetryRecordsStayBehindAFence) {
  retry_lifetime_ = std::chrono::milliseconds(-1000);
  Restart();
  auto request = InsertOf({R"({"_id":1,"k":"a"})"}, RouteTo());
  request.mutable_retry()->set_session("0123456789abcdef");
  request.add_statements(1);
  v1::ShardInsertResponse response;
  ASSERT_TRUE(Insert(request, &response).ok());
  v1::ShardEntry fence;
  *fence.mutable_fence() = Fence();
  *fence.mutable_fence()->mutable_range() = ToProto(KeyRange{"", std::nullopt});
  const EntryResult fenced = Propose(fence);
  v1::ShardEntry expire;
  expire.mutable_expire_retries()->set_copy_id(kCopy.value());
  expire.mutable_expire_retries()->set_before_ms(Clock::System()->Wall().count());
  v1::RetryRecord record;
  *record.mutable_id() = request.retry();
  record.mutable_id()->set_statement(1);
  v1::Change* change = expire.mutable_expire_retries()->add_removed();
  change->set_shard_key(KeyOf("a"));
  change->set_id(IdOf(1));
  change->set_retry(record.SerializeAsString());
  Propose(expire);
  EXPECT_EQ(LoadOwnership(*host_->store().View())->OfCopy(kCopy)[0]->digest, fenced.digest);
  ExpectSoundCopy();
}

TEST_F(UpkeepTest, OplogIsTrimmedUpToTheLeastPin) {
  InsertMany(0, 10);
  v1::ShardEntry pin;
  *pin.mutable_pin() = PinStep();
  *pin.mutable_pin()->mutable_range() = ToProto(KeyRange{"", std::nullopt});
  const Position pinned = Propose(pin).position;
  InsertMany(10, 10);
  Retention retention(&host_->core(),
                      {.oplog_age = std::chrono::milliseconds(-1000), .oplog_bytes = 1 << 30, .trim_at_least = 1});
  retention.TrimOplog();
  InsertMany(20, 10);
  EXPECT_EQ(host_->store().FirstOplogPosition(), pinned);
  v1::ShardEntry end;
  *end.mutable_end_attempt() = End(kMove, Token(6), true);
  *end.mutable_end_attempt()->mutable_range() = ToProto(KeyRange{"", std::nullopt});
  Propose(end);
  ASSERT_TRUE(Insert(R"({"_id": 30, "k": "a"})", RouteTo(kCopy, Token(6))).ok());
  EXPECT_GT(host_->store().FirstOplogPosition(), pinned);
}

// A thousand positions may be ten gigabytes.
TEST_F(UpkeepTest, AnOplogOfFewLargeEntriesIsTrimmedToo) {
  const std::string large(1 << 20, 'x');
  for (int id = 0; id < 12; ++id) {
    ASSERT_TRUE(Insert(StrCat(R"({"_id":)", id, R"(,"k":"a","text":")", large, R"("})")).ok());
  }
  Retention patient(&host_->core(), {.oplog_age = std::chrono::milliseconds(-1000), .trim_at_least_bytes = 1 << 30});
  patient.TrimOplog();
  ASSERT_TRUE(Insert(R"({"_id":100,"k":"a"})").ok());
  const Position first = host_->store().FirstOplogPosition();
  Retention retention(&host_->core(), {.oplog_age = std::chrono::milliseconds(-1000), .trim_at_least_bytes = 8 << 20});
  retention.TrimOplog();
  ASSERT_TRUE(Insert(R"({"_id":101,"k":"a"})").ok());
  EXPECT_GE(host_->store().FirstOplogPosition().value(), first.value() + 12);
}

// ---- what became of a switch ----

v1::GetMigrationResponse RecordOf(v1::Migration::Stage stage, uint32_t attempt) {
  v1::GetMigrationResponse answer;
  v1::Migration* record = answer.mutable_migration();
  record->set_id(kMove.id.value());
  record->set_stage(stage);
  record->set_attempt(attempt);
  record->set_token(6);
  record->set_target("s2");
  record->set_target_copy(kTargetCopy.value());
  return answer;
}

OwnedChunk FencedChunk() {
  OwnedChunk chunk;
  chunk.collection = kCollection;
  chunk.copy = CopyId(10);
  chunk.range = {"", std::nullopt};
  chunk.token = kToken;
  chunk.state = ChunkState::kWriteFenced;
  chunk.move = kMove;
  return chunk;
}

TEST(OutcomeTest, T07_T08_FenceStaysWithoutTheRecordOfItsEnd) {
  const OwnedChunk chunk = FencedChunk();
  for (auto stage : {v1::Migration::PLANNED, v1::Migration::COPYING, v1::Migration::CATCHING_UP,
                     v1::Migration::VERIFYING, v1::Migration::FENCING}) {
    EXPECT_FALSE(EntryForOutcome(chunk, RecordOf(stage, 1))) << stage;
  }
}

TEST(OutcomeTest, T64_AbsenceIsNotEvidence) {
  v1::GetMigrationResponse nothing;
  EXPECT_FALSE(EntryForOutcome(FencedChunk(), nothing));
  nothing.set_dead_below(100);
  EXPECT_FALSE(EntryForOutcome(FencedChunk(), nothing));
  auto other = RecordOf(v1::Migration::ABORTED, 1);
  other.mutable_migration()->set_id(99);
  EXPECT_FALSE(EntryForOutcome(FencedChunk(), other));
}

TEST(OutcomeTest, EndOfThisVeryAttemptOpens) {
  const auto ended = EntryForOutcome(FencedChunk(), RecordOf(v1::Migration::CATCHING_UP, 2));
  ASSERT_TRUE(ended && ended->has_end_attempt());
  EXPECT_EQ(ended->end_attempt().move().attempt(), 1u);
  EXPECT_EQ(ended->end_attempt().token(), 6u);
  EXPECT_FALSE(ended->end_attempt().abort());
  const auto aborted = EntryForOutcome(FencedChunk(), RecordOf(v1::Migration::ABORTING, 1));
  ASSERT_TRUE(aborted && aborted->has_end_attempt());
  EXPECT_TRUE(aborted->end_attempt().abort());
}

TEST(OutcomeTest, CommitReleasesTheSourceAndOwnsTheTarget) {
  for (auto stage : {v1::Migration::COMMITTED, v1::Migration::CLEANING, v1::Migration::DONE}) {
    const auto source = EntryForOutcome(FencedChunk(), RecordOf(stage, 1));
    ASSERT_TRUE(source && source->has_release_copy());
    EXPECT_EQ(source->release_copy().to().token(), 7u);
    EXPECT_EQ(source->release_copy().to().shard(), "s2");
    OwnedChunk target = FencedChunk();
    target.copy = kTargetCopy;
    target.state = ChunkState::kComplete;
    const auto own = EntryForOutcome(target, RecordOf(stage, 1));
    ASSERT_TRUE(own && own->has_own_copy());
    EXPECT_EQ(own->own_copy().token(), 7u);
    EXPECT_FALSE(EntryForOutcome(FencedChunk(), RecordOf(stage, 2)));  // of another attempt's fence
  }
}

// Answers with what the test has set.
class FakeMetadata : public MetadataLink {
 public:
  void Set(std::optional<v1::GetMigrationResponse> answer) {
    std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
  }
  int asked() const { return asked_; }
  absl::StatusOr<v1::GetMigrationResponse> GetMigration(MigrationId, std::chrono::milliseconds) override {
    std::lock_guard lock(mutex_);
    ++asked_;
    if (!answer_) return Unavailable("away");
    return *answer_;
  }
  absl::StatusOr<v1::RegisterShardResponse> Register(const v1::RegisterShardRequest&,
                                                     std::chrono::milliseconds) override {
    return Unavailable("away");
  }
  absl::StatusOr<v1::ShardHeartbeatResponse> Heartbeat(const v1::ShardHeartbeatRequest&,
                                                       std::chrono::milliseconds) override {
    return Unavailable("away");
  }
  void Cancel() override {}

 private:
  std::mutex mutex_;
  std::optional<v1::GetMigrationResponse> answer_;
  std::atomic<int> asked_{0};
};

TEST_F(UpkeepTest, T07_T08_FencedSourceAsksUntilItKnows) {
  v1::ShardEntry fence;
  *fence.mutable_fence() = Fence();
  *fence.mutable_fence()->mutable_range() = ToProto(KeyRange{"", std::nullopt});
  Propose(fence);
  FakeMetadata metadata;
  OutcomeWatch watch(&host_->core(), &metadata,
                     {.tick = std::chrono::milliseconds(1), .patience = std::chrono::milliseconds(0)});
  const auto state = [&] { return host_->applier().View()->OfCopy(kCopy)[0]->state; };
  const auto stays_fenced = [&](int questions) {
    const int before = metadata.asked();
    while (state() == ChunkState::kWriteFenced && metadata.asked() < before + questions) std::this_thread::yield();
    return state() == ChunkState::kWriteFenced;
  };
  ASSERT_TRUE(stays_fenced(3)) << "by silence";
  metadata.Set(RecordOf(v1::Migration::FENCING, 1));
  ASSERT_TRUE(stays_fenced(3)) << "while the attempt is under way";
  metadata.Set(RecordOf(v1::Migration::CATCHING_UP, 2));
  while (state() != ChunkState::kOwned) std::this_thread::yield();
  EXPECT_TRUE(Insert(R"({"_id": 1, "k": "a"})", RouteTo(kCopy, Token(6))).ok());
}

// ---- latches ----

TEST(LatchesTest, OneAtATimeInTheOrderOfArrival) {
  Executor executor("latch", 2);
  Latches latches(&executor);
  std::mutex mutex;
  std::vector<int> order;
  Latches::Hold first;
  latches.Acquire({"a", "b"}, [&](Latches::Hold hold) { first = std::move(hold); });
  std::atomic<int> done = 0;
  for (int i = 0; i < 3; ++i) {
    latches.Acquire({"b", "a", "b"}, [&, i](Latches::Hold) {
      std::lock_guard lock(mutex);
      order.push_back(i);
      ++done;
    });
  }
  bool free = false;
  latches.Acquire({"c"}, [&](Latches::Hold) { free = true; });
  EXPECT_TRUE(free);
  EXPECT_EQ(latches.waiting(), 3u);
  first.Release();
  while (done < 3) std::this_thread::yield();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
  executor.Stop();
}

TEST(LatchesTest, ManyOverlappingSetsComeToAnEnd) {
  Executor executor("latch", 4);
  Latches latches(&executor);
  std::map<std::string, int> counters;  // each guarded by its latch
  std::atomic<int> done = 0;
  constexpr int kOperations = 2000;
  for (int i = 0; i < kOperations; ++i) {
    std::vector<std::string> names;
    for (int j = 0; j < 4; ++j) names.push_back("n" + std::to_string((i * 7 + j * j * 3) % 13));
    for (const std::string& name : names) counters.try_emplace(name);
    auto run = [&latches, &counters, &done, names] {
      latches.Acquire(names, [&counters, &done, names](Latches::Hold) {
        for (const std::string& name : names) ++counters.find(name)->second;
        ++done;
      });
    };
    if (!executor.Post(run)) run();
  }
  while (done < kOperations) std::this_thread::yield();
  executor.Stop();
  int sum = 0;
  for (const auto& [name, count] : counters) sum += count;
  EXPECT_EQ(sum, kOperations * 4);
}

// A stop answers all of them, one by one, on the thread that releases the first.
TEST(LatchesTest, ManyWaitersThatTheExecutorDoesNotTakeAreNoRecursion) {
  Executor executor("latch", 1);
  Latches latches(&executor);
  Latches::Hold first;
  latches.Acquire({"a"}, [&](Latches::Hold hold) { first = std::move(hold); });
  constexpr int kWaiters = 200'000;
  int done = 0;
  for (int i = 0; i < kWaiters; ++i) {
    latches.Acquire({"a", "b"}, [&, i](Latches::Hold hold) {
      EXPECT_EQ(done, i);
      hold.Release();  // who waits comes after this one, not within
      ++done;
    });
  }
  executor.Stop();
  first.Release();
  EXPECT_EQ(done, kWaiters);
  EXPECT_EQ(latches.waiting(), 0u);
  bool free = false;
  latches.Acquire({"a", "b"}, [&](Latches::Hold) { free = true; });
  EXPECT_TRUE(free);
}

TEST(HybridClockTest, GrowsAndDoesNotBelieveTheFarFuture) {
  HybridClock clock(Clock::System());
  const uint64_t a = clock.Next();
  const uint64_t b = clock.Next();
  EXPECT_GT(b, a);
  const auto ms = static_cast<uint64_t>(Clock::System()->Wall().count());
  EXPECT_TRUE(clock.ObserveForeign((ms + 100) << 16));
  EXPECT_GT(clock.Next(), (ms + 100) << 16);
  EXPECT_FALSE(clock.ObserveForeign((ms + 60'000) << 16));
  EXPECT_LT(clock.Next(), (ms + 60'000) << 16);
}

}  // namespace
}  // namespace terrane::shard
