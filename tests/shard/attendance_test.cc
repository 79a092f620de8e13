// What the heartbeats say of the own clock.
#include "shard/attendance.h"

#include <gtest/gtest.h>

#include "common/status.h"
#include "shard_fixture.h"
#include "support/await.h"

namespace terrane::shard {
namespace {

namespace v1 = terrane::v1;
using terrane::testing::Await;

class MetadataWithAClock : public MetadataLink {
 public:
  absl::StatusOr<v1::GetMigrationResponse> GetMigration(MigrationId, std::chrono::milliseconds) override {
    return Unavailable("away");
  }
  absl::StatusOr<v1::RegisterShardResponse> Register(const v1::RegisterShardRequest&,
                                                     std::chrono::milliseconds) override {
    v1::RegisterShardResponse response;
    response.set_cluster("c1");
    return response;
  }
  absl::StatusOr<v1::ShardHeartbeatResponse> Heartbeat(const v1::ShardHeartbeatRequest&,
                                                       std::chrono::milliseconds) override {
    ++beats;
    if (away) return Unavailable("away");
    v1::ShardHeartbeatResponse response;
    response.set_wall_ms((Clock::System()->Wall() + ahead.load()).count());
    return response;
  }
  void Cancel() override {}

  std::atomic<int> beats{0};
  std::atomic<bool> away{true};
  std::atomic<std::chrono::milliseconds> ahead{std::chrono::milliseconds(0)};
};

using AttendanceTest = ShardFixture;

TEST_F(AttendanceTest, T44_TheClockIsTrustedOnlyWhenThisLeaderHasComparedIt) {
  MetadataWithAClock metadata;
  StatisticsCollector statistics(&host_->core());
  Attendance::Options options;
  options.replica = ReplicaId(1);
  options.on_cluster = [](const std::string&) {};
  options.on_admitted = [] {};
  options.on_refused = [](const absl::Status&) {};
  options.interval = std::chrono::milliseconds(1);
  Attendance attendance(&host_->core(), &metadata, &statistics, std::move(options));
  const auto some_beats = [&] {
    return Await([&, from = metadata.beats.load()] { return metadata.beats > from + 2; });
  };
  ASSERT_TRUE(some_beats());
  EXPECT_FALSE(attendance.clock_agrees()) << "nobody has answered";
  metadata.away = false;
  EXPECT_TRUE(Await([&] { return attendance.clock_agrees(); }));
  metadata.ahead = std::chrono::hours(1);
  EXPECT_TRUE(Await([&] { return !attendance.clock_agrees(); }));
  metadata.ahead = std::chrono::milliseconds(0);
  EXPECT_TRUE(Await([&] { return attendance.clock_agrees(); }));
  metadata.away = true;
  ASSERT_TRUE(some_beats());
  EXPECT_TRUE(attendance.clock_agrees());
  attendance.Poke();
  ASSERT_TRUE(some_beats());
  EXPECT_FALSE(attendance.clock_agrees()) << "it was another time that it led";
}

}  // namespace
}  // namespace terrane::shard
