#include "proxy/hold_queue.h"

#include <gtest/gtest.h>

#include "rpc/status.h"

namespace terrane::proxy {
namespace {

using namespace std::chrono_literals;
using Answer = HoldQueue::Answer;

constexpr CollectionId kOrders{1};

routing::ChunkRoute Route(uint64_t token, std::string min = "a", std::string max = "m") {
  return {{std::move(min), std::move(max)}, CopyId(token), Token(token), "s1"};
}
SwitchAttempt Move(uint64_t migration, uint32_t attempt) {
  return {MigrationId(migration), Attempt(attempt)};
}

class HoldQueueTest : public testing::Test {
 protected:
  HoldQueue::Request Request(bool write = true, int64_t bytes = 10, MonotonicTime deadline = 60s) {
    return {deadline, bytes, write, [this](absl::Status status) { answers_.push_back(std::move(status)); }};
  }
  Answer Fenced(uint64_t refused, SwitchAttempt attempt, uint64_t cached, MonotonicTime now, bool write = true) {
    auto request = Request(write);
    const routing::ChunkRoute route = Route(cached);
    return queue_.OnFenced(kOrders, Route(refused), attempt, &route, request, now);
  }
  Answer Join(uint64_t token, bool write = true, int64_t bytes = 10) {
    auto request = Request(write, bytes);
    return queue_.Join(kOrders, Route(token), request);
  }
  void Routes(uint64_t token, std::string max = "m") {
    const routing::ChunkRoute route = Route(token, "a", std::move(max));
    Run(queue_.OnRoutes([&](CollectionId, std::string_view) { return &route; }));
  }
  void Run(std::vector<HoldQueue::Resumed> resumed) {
    for (auto& [resume, status] : resumed) resume(status);
  }

  HoldLimits limits_{.time = 5s, .requests = 100, .bytes = 1000, .probe_every = 1h};
  HoldQueue queue_{limits_};
  std::vector<absl::Status> answers_;
};

TEST_F(HoldQueueTest, AGreaterTokenSendsEverybodyOn) {
  EXPECT_EQ(Join(4), Answer::kNoHold);
  EXPECT_EQ(Fenced(4, Move(7, 1), 4, 1s), Answer::kHeld);
  EXPECT_EQ(Join(4), Answer::kHeld);
  EXPECT_EQ(queue_.bytes(), 20);
  Routes(4);
  EXPECT_TRUE(answers_.empty()) << "the same token ends nothing";
  Routes(5);
  ASSERT_EQ(answers_.size(), 2u);
  EXPECT_TRUE(answers_[0].ok());
  EXPECT_FALSE(queue_.open());
  EXPECT_EQ(queue_.requests(), 0);
  EXPECT_EQ(queue_.bytes(), 0);
}

TEST_F(HoldQueueTest, T69_ARefusalThatComesAfterTheRouteOpensNothing) {
  EXPECT_EQ(Fenced(/*refused=*/4, Move(7, 1), /*cached=*/5, 1s), Answer::kSendAgain);
  EXPECT_FALSE(queue_.open());
}

// The chunk was split, which changes no token, and its right part moves; the proxy has not heard of the split when it
// is refused. The left part is nobody's switch: a greater token for it would never come.
TEST_F(HoldQueueTest, T69_AHoldOfAChunkThatIsSplitByNowEnds) {
  EXPECT_EQ(Fenced(4, Move(7, 1), 4, 1s), Answer::kHeld);
  Routes(4, /*max=*/"g");
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_TRUE(answers_[0].ok());
  EXPECT_FALSE(queue_.open());
}

TEST_F(HoldQueueTest, T69_ARefusalOfARouteFromBeforeTheSplitOpensNothing) {
  auto request = Request();
  const routing::ChunkRoute cached = Route(4, "g", "m");
  EXPECT_EQ(queue_.OnFenced(kOrders, Route(4, "a", "m"), Move(7, 1), &cached, request, 1s), Answer::kSendAgain);
  EXPECT_EQ(queue_.OnFenced(kOrders, Route(4, "a", "m"), Move(7, 1), nullptr, request, 1s), Answer::kSendAgain);
  EXPECT_FALSE(queue_.open());
}

TEST_F(HoldQueueTest, T12_NoSecondWindowAfterTheFirst) {
  EXPECT_EQ(Fenced(4, Move(7, 1), 4, 1s), Answer::kHeld);
  Run(queue_.OnTime(5s));
  EXPECT_TRUE(answers_.empty());
  Run(queue_.OnTime(6s));
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_EQ(rpc::ReasonOf(answers_[0]), v1::ErrorDetail::HOLD_EXPIRED);
  EXPECT_EQ(answers_[0].code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Fenced(4, Move(7, 1), 4, 7s), Answer::kRefused);
  EXPECT_EQ(Fenced(4, Move(6, 9), 4, 7s), Answer::kRefused) << "an older migration";
  EXPECT_FALSE(queue_.open());
  EXPECT_EQ(Fenced(4, Move(7, 2), 4, 8s), Answer::kHeld) << "the next attempt is a new switch";
}

TEST_F(HoldQueueTest, T12_TheEndOfAnAttemptForgetsTheExpiredWindow) {
  Fenced(4, Move(7, 1), 4, 1s);
  Run(queue_.OnTime(6s));
  Routes(5);
  EXPECT_EQ(Fenced(5, Move(7, 1), 5, 7s), Answer::kHeld);
}

TEST_F(HoldQueueTest, ReadsPassUntilAReadIsRefused) {
  Fenced(4, Move(7, 1), 4, 1s, /*write=*/true);
  EXPECT_EQ(Join(4, /*write=*/false), Answer::kNoHold);
  Fenced(4, Move(7, 1), 4, 1s, /*write=*/false);
  EXPECT_EQ(Join(4, /*write=*/false), Answer::kHeld);
}

TEST_F(HoldQueueTest, OtherChunksAreNotDisturbed) {
  Fenced(4, Move(7, 1), 4, 1s);
  auto request = Request();
  EXPECT_EQ(queue_.Join(kOrders, Route(4, "m", "z"), request), Answer::kNoHold);
  EXPECT_EQ(queue_.Join(CollectionId(2), Route(4), request), Answer::kNoHold);
}

TEST_F(HoldQueueTest, BoundsOfCountAndBytes) {
  Fenced(4, Move(7, 1), 4, 1s);
  EXPECT_EQ(Join(4, true, 990), Answer::kHeld);
  EXPECT_EQ(Join(4, true, 1), Answer::kRefused);
  Routes(5);
  Fenced(5, Move(8, 1), 5, 1s);
  for (int i = 1; i < 100; ++i) ASSERT_EQ(Join(5, true, 0), Answer::kHeld);
  EXPECT_EQ(Join(5, true, 0), Answer::kRefused);
}

TEST_F(HoldQueueTest, ARequestLeavesAtItsOwnDeadline) {
  auto request = Request(true, 10, 2s);
  const routing::ChunkRoute route = Route(4);
  queue_.OnFenced(kOrders, route, Move(7, 1), &route, request, 1s);
  Run(queue_.OnTime(1900ms));
  EXPECT_TRUE(answers_.empty());
  Run(queue_.OnTime(2s));
  EXPECT_EQ(answers_.size(), 1u);
  EXPECT_EQ(queue_.requests(), 0);
}

TEST_F(HoldQueueTest, AProbeGoesOutAndMayComeBack) {
  HoldQueue queue({.probe_every = 250ms});
  auto a = Request(), b = Request();
  const routing::ChunkRoute route = Route(4);
  queue.OnFenced(kOrders, route, Move(7, 1), &route, a, 1s);
  queue.OnFenced(kOrders, route, Move(7, 1), &route, b, 1s);
  Run(queue.OnTime(1100ms));
  EXPECT_EQ(answers_.size(), 0u);
  Run(queue.OnTime(1250ms));
  EXPECT_EQ(answers_.size(), 1u);
  auto again = Request();
  EXPECT_EQ(queue.OnFenced(kOrders, route, Move(7, 1), &route, again, 1300ms), Answer::kHeld);
  EXPECT_EQ(queue.requests(), 2);
  EXPECT_EQ(queue.holds(), 1u);
}

}  // namespace
}  // namespace terrane::proxy
