// What the heartbeats say of the own clock.
#include "shard/attendance.h"

#include <gtest/gtest.h>

#include "common/status.h"
#include "shard_fixture.h"
#include "support/await.h"
#include "support/clocks.h"

namespace terrane::shard {
namespace {

namespace v1 = terrane::v1;
using terrane::testing::Await;

class MetadataWithAClock : public MetadataLink {
 public:
  absl::StatusOr<v1::GetMigrationResponse> GetMigration(MigrationId, std::chrono::milliseconds) override {
    return Unavailable("away");
  }
  absl::StatusOr<v1::RegisterShardResponse> Register(const v1::RegisterShardRequest& request,
                                                     std::chrono::milliseconds) override {
    registration.set_value(request);
    v1::RegisterShardResponse response;
    response.set_cluster("c1");
    return response;
  }
  absl::StatusOr<v1::ShardHeartbeatResponse> Heartbeat(const v1::ShardHeartbeatRequest& request,
                                                       std::chrono::milliseconds) override {
    if (++beats == 1) first_beat.set_value(request);
    if (away) return Unavailable("away");
    v1::ShardHeartbeatResponse response;
    response.set_dead_below(dead_below);
    response.set_wall_ms((Clock::System()->Wall() + ahead.load()).count());
    return response;
  }
  void Cancel() override {}

  std::promise<v1::RegisterShardRequest> registration;
  std::promise<v1::ShardHeartbeatRequest> first_beat;
  std::atomic<int> beats{0};
  std::atomic<bool> away{true};
  std::atomic<uint64_t> dead_below{0};
  std::atomic<std::chrono::milliseconds> ahead{std::chrono::milliseconds(0)};
};

class AttendanceTest : public ShardFixture {
 protected:
  // Of a replica that is let in, with a heartbeat each millisecond.
  static Attendance::Options OftenHeard() {
    Attendance::Options options;
    options.replica = ReplicaId(1);
    options.on_cluster = [](const std::string&) {};
    options.on_admitted = [] {};
    options.on_refused = [](const absl::Status&) {};
    options.interval = std::chrono::milliseconds(1);
    return options;
  }
  testing::ShiftedClock shifted_;
};

TEST_F(AttendanceTest, T51_WhoNeedsNobodysVoteSaysSo) {
  MetadataWithAClock metadata;
  StatisticsCollector statistics(&host_->core());
  Attendance::Options options;
  options.endpoint = "here:1";
  options.replica = ReplicaId(1);
  options.registration.set_shard("s1");  // as one that was started with --join: its replicas it does not name
  options.on_admitted = [] {};
  Attendance attendance(&host_->core(), &metadata, &statistics, std::move(options));
  const v1::RegisterShardRequest registered = metadata.registration.get_future().get();
  const replication::ReplicatedLog& log = *host_->proposer().log();
  EXPECT_EQ(registered.only_voter_as_of(), log.ConfigurationPosition().value());
  EXPECT_EQ(registered.start().incarnation(), log.Statistics().incarnation);
  ASSERT_EQ(registered.replicas_size(), 1);
  EXPECT_EQ(registered.replicas(0).replica_id(), 1u);
  EXPECT_EQ(registered.replicas(0).endpoint(), "here:1");
  const v1::ShardHeartbeatRequest beat = metadata.first_beat.get_future().get();
  ASSERT_EQ(beat.replicas_size(), 1);
  EXPECT_EQ(beat.replicas(0).incarnation(), log.Statistics().incarnation);
  EXPECT_EQ(beat.replicas(0).start(), log.Statistics().start_number);
}

TEST_F(AttendanceTest, T44_TheClockIsTrustedOnlyWhenThisLeaderHasComparedIt) {
  MetadataWithAClock metadata;
  host_->mutable_core()->clock = &shifted_;
  StatisticsCollector statistics(&host_->core());
  Attendance attendance(&host_->core(), &metadata, &statistics, OftenHeard());
  const auto some_beats = [&] {
    return Await([&, from = metadata.beats.load()] { return metadata.beats > from + 2; });
  };
  ASSERT_TRUE(some_beats());
  EXPECT_FALSE(attendance.TrustedWall()) << "nobody has answered";
  metadata.away = false;
  EXPECT_TRUE(Await([&] { return attendance.TrustedWall().has_value(); }));
  metadata.ahead = std::chrono::hours(1);
  EXPECT_TRUE(Await([&] { return !attendance.TrustedWall().has_value(); }));
  metadata.ahead = std::chrono::milliseconds(0);
  EXPECT_TRUE(Await([&] { return attendance.TrustedWall().has_value(); }));
  metadata.away = true;
  ASSERT_TRUE(some_beats());
  EXPECT_TRUE(attendance.TrustedWall());
  // Nobody can be asked, and what it has said is of before the jump.
  for (const int hours : {1, -1}) {
    shifted_.wall = std::chrono::hours(hours);
    EXPECT_FALSE(attendance.TrustedWall()) << hours;
  }
  shifted_.wall = std::chrono::milliseconds(100);
  EXPECT_TRUE(attendance.TrustedWall()) << "somebody has adjusted it";
  shifted_.wall = std::chrono::milliseconds(0);
  shifted_.monotonic = std::chrono::hours(1);
  EXPECT_FALSE(attendance.TrustedWall()) << "it stood still for an hour";
  shifted_.wall = std::chrono::hours(1);
  EXPECT_TRUE(attendance.TrustedWall()) << "an hour has passed";
  shifted_.wall = std::chrono::hours(2);
  metadata.ahead = std::chrono::hours(2);
  metadata.away = false;
  EXPECT_TRUE(Await([&] { return attendance.TrustedWall().has_value(); })) << "they agree on another time";
  metadata.away = true;
  ASSERT_TRUE(some_beats());
  attendance.Poke();
  ASSERT_TRUE(some_beats());
  EXPECT_FALSE(attendance.TrustedWall()) << "it was another time that it led";
}

// Nothing else makes the list of ended moves shorter.
TEST_F(AttendanceTest, T63_WhatTheMetadataServiceHasForgottenIsANumberHere) {
  const auto state = [this] { return host_->core().applier->View()->Save(); };
  for (const uint64_t id : {7, 8, 9}) {
    v1::ShardEntry ended;
    *ended.mutable_end_attempt() = End(MoveRef{MigrationId(id), Attempt(1)});
    ASSERT_TRUE(Propose(std::move(ended)).ok());
  }
  ASSERT_EQ(state().dead_size(), 3);
  MetadataWithAClock metadata;
  StatisticsCollector statistics(&host_->core());
  metadata.away = false;
  {
    Attendance attendance(&host_->core(), &metadata, &statistics, OftenHeard());
    ASSERT_TRUE(Await([&] { return metadata.beats > 3; }));
    EXPECT_EQ(state().dead_size(), 3) << "nothing was said";
    metadata.dead_below = 9;
    EXPECT_TRUE(Await([&] { return state().dead_size() == 1; }));
    EXPECT_TRUE(Await([&, from = metadata.beats.load()] { return metadata.beats > from + 3; }));
    const Position position = host_->core().applier->AppliedPosition();
    EXPECT_TRUE(Await([&, from = metadata.beats.load()] { return metadata.beats > from + 3; }));
    EXPECT_EQ(host_->core().applier->AppliedPosition(), position) << "there is nothing more to do";
  }
  Restart();
  EXPECT_EQ(state().dead_below(), 9u);
  for (const uint64_t id : {1, 7, 8, 9}) {
    EXPECT_TRUE(host_->core().applier->View()->IsDead(MoveRef{MigrationId(id), Attempt(1)})) << id;
  }
}

}  // namespace
}  // namespace terrane::shard
