#include "shard/space_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>

#include "common/status.h"
#include "support/await.h"

namespace terrane::shard {
namespace {

constexpr uint64_t kMega = 1'000'000;

class SpaceWatchTest : public ::testing::Test {
 protected:
  void Start() {
    SpaceWatch::Options options;
    options.leads = [this] { return leads_.load(); };
    options.disk = [this]() -> absl::StatusOr<storage::DiskUsage> {
      return storage::DiskUsage{
          .disk = "/d", .total_bytes = 1000 * kMega, .free_bytes = own_ * kMega, .reserve_bytes = 100 * kMega};
    };
    options.others = [this] {
      if (alone_) return std::vector<PeerReplica>();
      return std::vector<PeerReplica>{{ReplicaId(2), "two"}, {ReplicaId(3), "three"}, {ReplicaId(4), "four", false}};
    };
    options.free_bytes = [this](const PeerReplica& peer) -> absl::StatusOr<uint64_t> {
      std::lock_guard lock(mutex_);
      ++asked_;
      if (!free_.contains(peer.endpoint)) return Unavailable("does not answer");
      return free_[peer.endpoint] * kMega;
    };
    options.hand_on = [this](ReplicaId to) -> absl::Status {
      if (to == refuses_) return FailedPrecondition("is not a voter that answers");
      handed_to_ = static_cast<int>(to.value());
      leads_ = false;
      return absl::OkStatus();
    };
    options.interval = std::chrono::milliseconds(5);
    watch_ = std::make_unique<SpaceWatch>(std::move(options));
  }

  bool alone_ = false;
  std::atomic<bool> leads_{true};
  std::atomic<uint64_t> own_{50};  // megabytes
  std::mutex mutex_;
  std::map<std::string, uint64_t> free_;
  std::atomic<int> asked_{0};
  ReplicaId refuses_{0};
  std::atomic<int> handed_to_{0};
  std::unique_ptr<SpaceWatch> watch_;
};

TEST_F(SpaceWatchTest, T56_HandsOnToAVoterWithSpaceBeforeAWriteIsRefused) {
  free_ = {{"two", 60}, {"three", 500}, {"four", 900}};
  Start();
  EXPECT_TRUE(testing::Await([&] { return handed_to_ == 3; }));
}

TEST_F(SpaceWatchTest, AJustSufficientPeerWouldOnlyHandItOnAgain) {
  free_ = {{"two", 110}, {"four", 900}};
  Start();
  EXPECT_TRUE(testing::Await([&] { return asked_ >= 10; }));
  EXPECT_EQ(handed_to_, 0);
  EXPECT_FALSE(watch_->MayHandOn(1));
}

TEST_F(SpaceWatchTest, OneThatCannotTakeItIsPassedOver) {
  free_ = {{"two", 500}, {"three", 400}};
  refuses_ = ReplicaId(2);
  Start();
  EXPECT_TRUE(testing::Await([&] { return handed_to_ == 3; }));
}

TEST_F(SpaceWatchTest, WithSpaceNobodyIsAsked) {
  own_ = 200;
  free_ = {{"two", 900}};
  Start();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // ten rounds in which nothing may happen
  EXPECT_EQ(asked_, 0);
  // A write that is too large for what is here is not for another one.
  EXPECT_TRUE(watch_->MayHandOn(150 * kMega));
  EXPECT_TRUE(testing::Await([&] { return handed_to_ == 2; }));
}

TEST_F(SpaceWatchTest, AloneItRefusesAtOnce) {
  alone_ = true;
  Start();
  EXPECT_FALSE(watch_->MayHandOn(1));
}

TEST_F(SpaceWatchTest, AFollowerSendsWritesElsewhere) {
  leads_ = false;
  Start();
  EXPECT_TRUE(watch_->MayHandOn(1));
  EXPECT_EQ(handed_to_, 0);
}

}  // namespace
}  // namespace terrane::shard
