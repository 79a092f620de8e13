// Writes that are answered when the leader alone has them on disk (Durability LEADER).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rpc/status.h"
#include "shard/fake_log.h"
#include "shard/shard_fixture.h"

namespace terrane::shard {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(EarlyWrites, WhoCameAfterThemWaitsForThem) {
  EarlyWrites writes;
  std::vector<std::string> told;
  const auto wait = [&](const std::string& name) { writes.WhenEnded([&told, name] { told.push_back(name); }); };
  wait("nothing to wait for");
  EXPECT_THAT(std::exchange(told, {}), ElementsAre("nothing to wait for"));
  const uint64_t first = writes.Begin();
  wait("a");
  const uint64_t second = writes.Begin();
  wait("b");
  EXPECT_TRUE(writes.Any());
  writes.End(second);
  EXPECT_THAT(told, IsEmpty()) << "the first is under way";
  writes.End(first);
  EXPECT_THAT(told, ElementsAre("a", "b"));
  EXPECT_FALSE(writes.Any());
}

TEST(EarlyWrites, WhoCameBeforeThemDoesNotWait) {
  EarlyWrites writes;
  const uint64_t first = writes.Begin();
  int told = 0;
  writes.WhenEnded([&] { ++told; });
  const uint64_t second = writes.Begin();
  writes.End(first);
  EXPECT_EQ(told, 1);
  writes.End(second);
  EXPECT_EQ(told, 1);
}

// The log takes proposals and says what the test wants of them; LetGo gives them to the real one.
class EarlyWriteTest : public ShardFixture {
 protected:
  void SetUp() override {
    ShardFixture::SetUp();
    CreateWholeChunk();
    ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a", "n": 1})").ok());
    real_ = host_->proposer().log();
    log_.SetLeader(true, true, real_->Leader().term);
    host_->proposer().SetLog(&log_);
  }
  void TearDown() override {
    host_->proposer().SetLog(real_);
    ShardFixture::TearDown();
  }

  struct Call {
    v1::ShardModifyRequest request;
    v1::ShardModifyResponse response;
    std::future<absl::Status> answer;
    bool Answered() const { return answer.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }
  };
  // $inc of n under "a"; the document is named unless `any`.
  std::unique_ptr<Call> Increment(v1::Durability durable, bool any = false, Token token = kToken, int64_t id = 1) {
    auto call = std::make_unique<Call>();
    call->request = ModifyOf("a", id, R"({"$inc": {"n": 1}})", RouteTo(kCopy, token));
    if (any) call->request.mutable_key()->clear_id();
    call->request.set_durable(durable);
    auto promise = std::make_shared<std::promise<absl::Status>>();
    call->answer = promise->get_future();
    EXPECT_TRUE(host_->core().executor->Post([this, promise, call = call.get()] {
      host_->writes().Modify({}, &call->request, &call->response,
                             [promise](absl::Status status) { promise->set_value(std::move(status)); });
    }));
    return call;
  }
  FakeLog::Proposal TakeNext() {
    while (log_.proposals() == 0) std::this_thread::yield();
    return log_.Take();
  }
  void LetGo(FakeLog::Proposal proposal) {
    real_->Propose(proposal.term, std::move(proposal.data), std::move(proposal.done));
  }
  // `then` on the apply thread, as a log does it.
  void OnApplyThread(std::function<void()> then) {
    std::promise<void> done;
    real_->ReadIndex([&](absl::Status) {
      then();
      done.set_value();
    });
    done.get_future().get();
  }
  std::future<absl::Status> ReadLater(v1::ShardGetResponse* response) {
    return std::async(std::launch::async, [this, response] {
      v1::ShardGetRequest request;
      *request.mutable_route() = RouteTo();
      request.mutable_key()->set_shard_key(KeyOf("a"));
      request.mutable_key()->set_id(IdOf(1));
      return Read(&ReadPath::Get, request, response);
    });
  }

  replication::ReplicatedLog* real_ = nullptr;
  FakeLog log_;
};

TEST_F(EarlyWriteTest, IsAnsweredWhenTheLeaderHasItOnDisk) {
  auto call = Increment(v1::LEADER);
  FakeLog::Proposal proposal = TakeNext();
  ASSERT_TRUE(proposal.synced);
  EXPECT_FALSE(call->Answered());
  OnApplyThread(proposal.synced);
  EXPECT_TRUE(call->answer.get().ok());
  EXPECT_EQ(call->response.modified(), 1);
  call.reset();  // request and response are gone when it is applied
  LetGo(std::move(proposal));
  host_->proposer().SetLog(real_);
  EXPECT_EQ(Get("a", 1), R"({"_id":1,"k":"a","n":2})");
}

TEST_F(EarlyWriteTest, ByDefaultOfAMajorityOnly) {
  auto call = Increment(v1::MAJORITY);
  FakeLog::Proposal proposal = TakeNext();
  EXPECT_FALSE(proposal.synced);
  LetGo(std::move(proposal));
  EXPECT_TRUE(call->answer.get().ok());
}

TEST_F(EarlyWriteTest, ReadsAndOtherWritesComeAfterIt) {
  auto call = Increment(v1::LEADER);
  FakeLog::Proposal proposal = TakeNext();
  OnApplyThread(proposal.synced);
  EXPECT_TRUE(call->answer.get().ok());
  v1::ShardGetResponse found;
  auto read = ReadLater(&found);
  auto named = Increment(v1::MAJORITY);
  auto any = Increment(v1::MAJORITY, /*any=*/true);
  EXPECT_EQ(read.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  EXPECT_EQ(log_.proposals(), 0u);
  LetGo(std::move(proposal));
  EXPECT_TRUE(read.get().ok());
  EXPECT_THAT(found.document(), ::testing::AnyOf(Json(R"({"_id":1,"k":"a","n":2})"), Json(R"({"_id":1,"k":"a","n":3})"),
                                                 Json(R"({"_id":1,"k":"a","n":4})")));
  for (int i = 0; i < 2; ++i) LetGo(TakeNext());
  EXPECT_TRUE(named->answer.get().ok());
  EXPECT_TRUE(any->answer.get().ok());
  EXPECT_EQ(named->response.modified() + any->response.modified(), 2);
  host_->proposer().SetLog(real_);
  EXPECT_EQ(Get("a", 1), R"({"_id":1,"k":"a","n":4})");
}

TEST_F(EarlyWriteTest, WhoWaitsGoesOnWhenTheOfficeIsLost) {
  auto call = Increment(v1::LEADER);
  FakeLog::Proposal proposal = TakeNext();
  OnApplyThread(proposal.synced);
  v1::ShardGetResponse found;
  auto read = ReadLater(&found);
  log_.SetLeader(false, false, Term(99));
  OnApplyThread([&] {
    proposal.done(
        {.outcome = replication::ProposeOutcome::kUnknown, .status = absl::AbortedError("lost"), .value = {}});
  });
  EXPECT_EQ(rpc::ReasonOf(read.get()), v1::ErrorDetail::NOT_LEADER);
}

// Behind a fence that is not applied yet a write is refused when its turn comes: then nobody may have been told OK.
TEST_F(EarlyWriteTest, NotBehindAnEntryThatMayFenceIt) {
  std::promise<void> fenced;
  v1::ShardEntry entry;
  *entry.mutable_create_chunk() = Create({"", std::nullopt}, CopyId(11));
  host_->proposer().Propose(log_.Leader().term, entry, [&](replication::ProposeResult) { fenced.set_value(); });
  FakeLog::Proposal fence = TakeNext();
  auto call = Increment(v1::LEADER);
  FakeLog::Proposal behind = TakeNext();
  EXPECT_FALSE(behind.synced);
  LetGo(std::move(fence));
  fenced.get_future().get();
  LetGo(std::move(behind));
  EXPECT_TRUE(call->answer.get().ok());
  call = Increment(v1::LEADER);
  FakeLog::Proposal next = TakeNext();
  EXPECT_TRUE(next.synced) << "nothing is ahead any more";
  LetGo(std::move(next));
  EXPECT_TRUE(call->answer.get().ok());
}

// The gate was passed before the latch; what it said may be over when the latch comes.
TEST_F(EarlyWriteTest, NotBehindAFenceThatWasAppliedWhileItWaited) {
  auto first = Increment(v1::MAJORITY);
  FakeLog::Proposal held = TakeNext();
  auto second = Increment(v1::LEADER);
  while (host_->core().latches->waiting() == 0) std::this_thread::yield();
  v1::ShardEntry entry;
  *entry.mutable_fence() = Fence();
  *entry.mutable_fence()->mutable_range() = ToProto(KeyRange{"", std::nullopt});
  host_->proposer().Propose(log_.Leader().term, entry, [](replication::ProposeResult) {});
  FakeLog::Proposal fence = TakeNext();
  // Both are applied in one batch, and the second write runs only after the proposers of both have their answers.
  std::promise<replication::ProposeResult> wrote;
  real_->Propose(held.term, std::move(held.data), [&](replication::ProposeResult result) { wrote.set_value(result); });
  real_->Propose(fence.term, std::move(fence.data), [&](replication::ProposeResult result) {
    EXPECT_TRUE(result.status.ok()) << result.status;
    fence.done(std::move(result));
    held.done(wrote.get_future().get());
  });
  EXPECT_TRUE(first->answer.get().ok());
  const size_t proposals = log_.proposals();
  EXPECT_EQ(rpc::ReasonOf(second->answer.get()), v1::ErrorDetail::CHUNK_FENCED);
  EXPECT_EQ(log_.proposals(), proposals) << "asked again behind the latch";
}

// It teaches the shard a greater token, and what is behind it with the old one is refused.
TEST_F(EarlyWriteTest, NotBehindAWriteByProof) {
  ASSERT_EQ(log_.proposals(), 0u);
  host_->proposer().SetLog(real_);
  ASSERT_TRUE(Insert(R"({"_id": 2, "k": "a", "n": 1})").ok());
  host_->proposer().SetLog(&log_);
  const Token next(kToken.value() + 1);
  auto proof = Increment(v1::MAJORITY, /*any=*/false, next);
  FakeLog::Proposal teaches = TakeNext();
  auto call = Increment(v1::LEADER, /*any=*/false, kToken, 2);
  FakeLog::Proposal behind = TakeNext();
  EXPECT_FALSE(behind.synced);
  LetGo(std::move(teaches));
  EXPECT_TRUE(proof->answer.get().ok());
  LetGo(std::move(behind));
  EXPECT_EQ(rpc::ReasonOf(call->answer.get()), v1::ErrorDetail::STALE_ROUTE);
  call = Increment(v1::LEADER, /*any=*/false, next, 2);
  FakeLog::Proposal known = TakeNext();
  EXPECT_TRUE(known.synced);
  LetGo(std::move(known));
  EXPECT_TRUE(call->answer.get().ok());
}

}  // namespace
}  // namespace terrane::shard
