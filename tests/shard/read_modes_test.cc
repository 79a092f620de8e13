// Where a read may be answered, and how fresh it is: by a log that says what the test wants.
#include <gtest/gtest.h>

#include <limits>

#include "rpc/status.h"
#include "shard/fake_log.h"
#include "shard/shard_fixture.h"

namespace terrane::shard {
namespace {

using Reason = v1::ErrorDetail;

class ReadModesTest : public ShardFixture {
 protected:
  void SetUp() override {
    ShardFixture::SetUp();
    CreateWholeChunk();
    ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
    real_ = host_->proposer().log();
    log_.SetLeader(true, true, real_->Leader().term);
    log_.SetLease(false);
    log_.before_read_index = [this] { ++asked_; };
    host_->proposer().SetLog(&log_);
  }
  void TearDown() override {
    host_->proposer().SetLog(real_);
    ShardFixture::TearDown();
  }

  absl::Status Get(v1::ReadMode mode, int64_t max_staleness_ms = 0, CopyId copy = kCopy) {
    v1::ShardGetRequest request;
    *request.mutable_route() = RouteTo(copy);
    request.mutable_key()->set_shard_key(KeyOf("a"));
    request.mutable_key()->set_id(IdOf(1));
    request.mutable_read()->set_mode(mode);
    request.mutable_read()->set_max_staleness_ms(max_staleness_ms);
    v1::ShardGetResponse response;
    absl::Status status = Read(&ReadPath::Get, request, &response);
    EXPECT_EQ(response.found(), status.ok());
    return status;
  }

  replication::ReplicatedLog* real_ = nullptr;
  FakeLog log_;
  int asked_ = 0;
};

TEST_F(ReadModesTest, ALinearizableReadWithoutALeaseAsksTheOthers) {
  EXPECT_TRUE(Get(v1::LINEARIZABLE).ok());
  EXPECT_EQ(asked_, 1);
  log_.SetLease(true);
  EXPECT_TRUE(Get(v1::LINEARIZABLE).ok());
  EXPECT_EQ(asked_, 1);
}

TEST_F(ReadModesTest, ALocalReadAsksNobodyButNeedsALeader) {
  EXPECT_TRUE(Get(v1::LOCAL).ok());
  EXPECT_EQ(asked_, 0);
  log_.SetLeader(false, false, Term(7));
  EXPECT_EQ(rpc::ReasonOf(Get(v1::LOCAL)), Reason::NOT_LEADER);
}

// It has begun again, say, and knows of no chunk: whoever hears "elsewhere" from it looks for another route, and asks
// it again.
TEST_F(ReadModesTest, WhoDoesNotLeadSaysNothingAboutOwnership) {
  EXPECT_EQ(rpc::ReasonOf(Get(v1::LINEARIZABLE, 0, CopyId(99))), Reason::ROUTE_AHEAD);
  log_.SetLeader(false, false, Term(7));
  EXPECT_EQ(rpc::ReasonOf(Get(v1::LINEARIZABLE, 0, CopyId(99))), Reason::NOT_LEADER);
  EXPECT_EQ(rpc::ReasonOf(Get(v1::FOLLOWER, 0, CopyId(99))), Reason::TOO_STALE);
}

TEST_F(ReadModesTest, T03_AFollowerAnswersWithinTheBoundOnly) {
  log_.SetLeader(false, false, Term(7));
  const MonotonicTime now = Clock::System()->Now();
  log_.SetLeaderContact(now);
  EXPECT_TRUE(Get(v1::FOLLOWER).ok());
  EXPECT_EQ(asked_, 0);
  log_.SetLeaderContact(now - std::chrono::seconds(5));
  EXPECT_TRUE(Get(v1::FOLLOWER).ok()) << "ten seconds unless told otherwise";
  EXPECT_TRUE(Get(v1::FOLLOWER, 60'000).ok());
  EXPECT_TRUE(Get(v1::FOLLOWER, std::numeric_limits<int64_t>::max()).ok());
  const absl::Status stale = Get(v1::FOLLOWER, 1'000);
  EXPECT_EQ(rpc::ReasonOf(stale), Reason::TOO_STALE);
  EXPECT_TRUE(absl::IsUnavailable(stale));
  log_.SetLeaderContact(now - std::chrono::seconds(11));
  EXPECT_EQ(rpc::ReasonOf(Get(v1::FOLLOWER)), Reason::TOO_STALE);
  log_.SetLeaderContact(std::nullopt);
  EXPECT_EQ(rpc::ReasonOf(Get(v1::FOLLOWER, 1'000'000)), Reason::TOO_STALE);
}

}  // namespace
}  // namespace terrane::shard
