#include "metadata/shard_registry.h"

#include <gtest/gtest.h>

#include "support/clocks.h"

namespace terrane::metadata {
namespace {

using namespace std::chrono_literals;
using terrane::testing::HandClock;

v1::ShardHeartbeatRequest From(const std::string& shard, const std::string& leader) {
  v1::ShardHeartbeatRequest heartbeat;
  heartbeat.set_shard(shard);
  heartbeat.set_leader_endpoint(leader);
  return heartbeat;
}

TEST(ShardRegistryTest, SilenceBeginsWhenSomethingCouldHaveBeenHeard) {
  HandClock clock;
  ShardRegistry registry(&clock);
  EXPECT_EQ(registry.SilentSince("s1"), 100s);  // this node listens
  clock.now = 110s;
  registry.Registered("s1");
  EXPECT_EQ(registry.SilentSince("s1"), 110s);
  clock.now = 111s;
  registry.Heard(From("s1", "a:1"));
  clock.now = 200s;
  EXPECT_EQ(registry.SilentSince("s1"), 111s);
  registry.Clear();  // another one led meanwhile
  EXPECT_EQ(registry.SilentSince("s1"), 200s);
}

TEST(ShardRegistryTest, AnotherLeaderIsNews) {
  HandClock clock;
  ShardRegistry registry(&clock);
  EXPECT_TRUE(registry.Heard(From("s1", "a:1")));
  EXPECT_FALSE(registry.Heard(From("s1", "a:1")));
  EXPECT_TRUE(registry.Heard(From("s1", "b:1")));
  v1::Shard shard;
  shard.set_name("s1");
  registry.Decorate(&shard);
  EXPECT_EQ(shard.leader_endpoint(), "b:1");
  EXPECT_EQ(shard.last_heartbeat_ms(), 100'000);
}

TEST(ShardRegistryTest, WhatASilentShardSaidIsOfThen) {
  HandClock clock;
  ShardRegistry registry(&clock);
  v1::ShardHeartbeatRequest heartbeat = From("s1", "a:1");
  v1::ReplicaStatus* leader = heartbeat.mutable_statistics()->add_replicas();
  leader->set_replica_id(1);
  leader->set_leader(true);
  v1::ReplicaStatus* follower = heartbeat.mutable_statistics()->add_replicas();
  follower->set_replica_id(2);
  follower->set_silent_ms(500);
  registry.Heard(heartbeat);
  v1::Shard shard;
  shard.set_name("s1");

  clock.Advance(kShardSilence - 1ms);
  registry.Describe(&shard);
  EXPECT_EQ(shard.leader_endpoint(), "a:1");
  EXPECT_EQ(shard.statistics().replicas(0).silent_ms(), 0);
  EXPECT_EQ(shard.statistics().replicas(1).silent_ms(), 500);

  clock.now = 189s;
  registry.Describe(&shard);
  EXPECT_EQ(shard.leader_endpoint(), "");
  EXPECT_EQ(shard.last_heartbeat_ms(), 100'000);
  EXPECT_EQ(shard.statistics().replicas(0).silent_ms(), 89'000);
  EXPECT_EQ(shard.statistics().replicas(1).silent_ms(), 89'500);

  registry.Decorate(&shard);  // routes go on to name who led: it may come back
  EXPECT_EQ(shard.leader_endpoint(), "a:1");
}

TEST(ShardRegistryTest, NobodyIsSaidToLeadAShardOfOneThatIsSilent) {
  HandClock clock;
  ShardRegistry registry(&clock);
  v1::Shard shard;
  shard.set_name("s1");
  shard.add_replicas()->set_endpoint("a:1");
  registry.Describe(&shard);
  EXPECT_EQ(shard.leader_endpoint(), "a:1");
  clock.Advance(kShardSilence);
  registry.Describe(&shard);
  EXPECT_EQ(shard.leader_endpoint(), "");
}

}  // namespace
}  // namespace terrane::metadata
