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

TEST(FromGrpcTest, WhatGrpcSaysOfConnectionsIsPutInPlainWords) {
  const auto words = [](grpc::StatusCode code, const std::string& text) {
    const absl::Status status = FromGrpc(grpc::Status(code, text));
    EXPECT_EQ(static_cast<int>(status.code()), code);
    EXPECT_TRUE(NobodyAnswered(status)) << status;
    return std::string(MessageOf(status));
  };
  const std::string failed = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: ";
  EXPECT_EQ(words(grpc::UNAVAILABLE, failed + "Failed to connect to remote host: Connection refused"),
            "cannot connect: connection refused");
  EXPECT_EQ(words(grpc::UNAVAILABLE, failed + "tcp handshaker shutdown"), "cannot connect: it is silent");
  EXPECT_EQ(words(grpc::UNAVAILABLE, failed + "a new kind of trouble"),
            "cannot connect: UNKNOWN: ipv4:127.0.0.1:1: a new kind of trouble");
  EXPECT_EQ(words(grpc::UNAVAILABLE, "Socket closed"), "the connection broke");
  EXPECT_EQ(words(grpc::DEADLINE_EXCEEDED, "Deadline Exceeded"), "no answer in time");
  // Answers stay as they are.
  const absl::Status answer = FromGrpc(grpc::Status(grpc::UNAVAILABLE, "not the leader"));
  EXPECT_EQ(MessageOf(answer), "not the leader");
  EXPECT_FALSE(NobodyAnswered(answer));
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
