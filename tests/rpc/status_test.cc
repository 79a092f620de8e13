#include "rpc/status.h"

#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

#include "common/status.h"
#include "rpc/credentials.h"
#include "rpc/leader_tracker.h"

namespace terrane::rpc {
namespace {

TEST(StatusTest, DetailSurvivesTheWire) {
  v1::ErrorDetail detail;
  detail.set_reason(v1::ErrorDetail::STALE_ROUTE);
  detail.mutable_route()->set_token(7);
  detail.mutable_route()->set_shard("s2");
  const absl::Status back = FromGrpc(ToGrpc(WithDetail(Aborted("moved"), detail)));
  EXPECT_EQ(back.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(MessageOf(back), "moved");
  ASSERT_TRUE(DetailOf(back));
  EXPECT_EQ(DetailOf(back)->route().token(), 7u);
  EXPECT_EQ(ReasonOf(back), v1::ErrorDetail::STALE_ROUTE);
}

TEST(StatusTest, TrailersStaySmallAndUtf8) {
  v1::ErrorDetail detail;
  detail.set_reason(v1::ErrorDetail::STALE_ROUTE);
  detail.mutable_route()->set_token(7);
  detail.mutable_route()->mutable_range()->set_min(std::string(100000, 'k'));
  const grpc::Status wire = ToGrpc(WithDetail(Aborted(std::string(100000, 'm'), "\xff"), detail));
  EXPECT_LT(wire.error_message().size(), 5000u);
  EXPECT_LT(wire.error_details().size(), 10000u);
  EXPECT_EQ(DetailOf(FromGrpc(wire))->route().token(), 7u);
  EXPECT_EQ(ToGrpc(InvalidArgument("a\xff\xc3\xa4")).error_message(), "a?\xc3\xa4");
}

TEST(StatusTest, OkAndPlainErrors) {
  EXPECT_TRUE(FromGrpc(ToGrpc(absl::OkStatus())).ok());
  EXPECT_FALSE(DetailOf(FromGrpc(ToGrpc(NotFound("x")))));
  EXPECT_TRUE(WithReason(absl::OkStatus(), v1::ErrorDetail::NOT_LEADER).ok());
}

TEST(CredentialsTest, OtherAddressesNeedTlsOrAWord) {
  EXPECT_TRUE(CheckListenAddress("127.0.0.1:0", {}, false).ok());
  EXPECT_TRUE(CheckListenAddress("[::1]:0", {}, false).ok());
  EXPECT_FALSE(CheckListenAddress("0.0.0.0:0", {}, false).ok());
  EXPECT_FALSE(CheckListenAddress("127.evil.example:0", {}, false).ok());
  EXPECT_TRUE(CheckListenAddress("0.0.0.0:0", {}, true).ok());
  EXPECT_TRUE(CheckListenAddress("0.0.0.0:0", {.certificate = "c", .key = "k"}, false).ok());
  EXPECT_FALSE(CheckListenAddress("0.0.0.0:0", {.certificate = "c"}, true).ok());
  EXPECT_FALSE(CheckListenAddress("127.0.0.1", {}, false).ok());
}

TEST(LeaderTrackerTest, FollowsHintsAndGoesRound) {
  LeaderTracker tracker({"a", "b", "c"});
  EXPECT_EQ(tracker.Current(), "a");
  EXPECT_FALSE(tracker.Failed("a", Unavailable("refused")));
  EXPECT_EQ(tracker.Current(), "b");
  EXPECT_TRUE(tracker.Failed("b", NotLeader("a")));
  EXPECT_EQ(tracker.Current(), "a");
  EXPECT_FALSE(tracker.Failed("b", Unavailable("late news"))) << "of one that is not asked any more";
  EXPECT_EQ(tracker.Current(), "a");
  tracker.Failed("a", Unavailable("gone"));
  EXPECT_EQ(tracker.Current(), "b");
  tracker.Learn("c");
  tracker.Failed("c", NotFound("no such thing"));
  EXPECT_EQ(tracker.Current(), "c") << "an answer is an answer";
}

}  // namespace
}  // namespace terrane::rpc
