// How stale a replica is: what reads of mode FOLLOWER go by.
#include <gtest/gtest.h>

#include <atomic>

#include "replication/transport.h"
#include "support/clocks.h"
#include "support/replica_group.h"

namespace terrane::replication {
namespace {

using testing::Await;
using testing::ReplicaGroup;

// Entries for `replica` are lost while *hold; heartbeats are not, and are counted.
void HoldEntries(ReplicaGroup* group, ReplicaId replica, const std::atomic<bool>* hold, std::atomic<int>* heartbeats) {
  group->network().SetBatchHook([=](const PeerBatch& batch, bool urgent) {
    if (batch.to != replica) return true;
    for (const raft::Message& message : batch.messages) {
      if (message.type == raft::MessageType::kHeartbeat) ++*heartbeats;
    }
    return urgent || !*hold;
  });
}

TEST(FreshnessTest, AReplicaThatWasAwayIsNotFreshBeforeItHasCaughtUp) {
  ReplicaGroup group(3);
  ASSERT_TRUE(group.StartAll().ok());
  ASSERT_TRUE(group.ProposeSomewhere("x"));
  ASSERT_TRUE(group.AwaitEqual(1));
  const uint64_t away = group.Leader() % 3 + 1;
  group.Stop(away);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(group.ProposeSomewhere("y"));
  std::atomic<bool> hold{true};
  std::atomic<int> heartbeats{0};
  HoldEntries(&group, ReplicaId(away), &hold, &heartbeats);
  ASSERT_TRUE(group.Start(away).ok());
  ASSERT_TRUE(Await([&] { return heartbeats > 10 && group[away].log->Leader().leader; }));
  EXPECT_FALSE(group[away].log->LeaderContact().has_value()) << "it lacks 50 entries";
  hold = false;
  EXPECT_TRUE(Await([&] { return group[away].log->LeaderContact().has_value(); }));
  EXPECT_EQ(group[away].machine.Data().size(), 51u);
  group.network().SetBatchHook(nullptr);
}

TEST(FreshnessTest, AReplicaThatFallsBehindGrowsStale) {
  ReplicaGroup group(3);
  ASSERT_TRUE(group.StartAll().ok());
  ASSERT_TRUE(group.ProposeSomewhere("x"));
  ASSERT_TRUE(group.AwaitEqual(1));
  const uint64_t slow = group.Leader() % 3 + 1;
  ASSERT_TRUE(Await([&] { return group[slow].log->LeaderContact().has_value(); }));
  std::atomic<bool> hold{true};
  std::atomic<int> heartbeats{0};
  HoldEntries(&group, ReplicaId(slow), &hold, &heartbeats);
  ASSERT_TRUE(group.ProposeSomewhere("y"));
  const MonotonicTime lacks = Clock::System()->Now();
  ASSERT_TRUE(Await([&] { return heartbeats > 20; }));
  EXPECT_LE(*group[slow].log->LeaderContact(), lacks);
  hold = false;
  EXPECT_TRUE(Await([&] { return *group[slow].log->LeaderContact() > lacks; }));
  EXPECT_EQ(group[slow].machine.Data().size(), 2u);
  group.network().SetBatchHook(nullptr);
}

// Its clock begins anew with the machine; the leader stays, and knows it by a far later time.
TEST(FreshnessTest, T03_AReplicaWhoseMachineWasStartedAnewIsFreshAgain) {
  testing::ShiftedClock clocks[2];  // of the life before, and of the one behind it
  clocks[0].monotonic = std::chrono::hours(200 * 24);
  int life = 0;
  ReplicaGroup group(3, [&](ReplicaGroup::Options* options) { options->clock = &clocks[life]; });
  ASSERT_TRUE(group.StartAll().ok());
  ASSERT_TRUE(group.ProposeSomewhere("x"));
  ASSERT_TRUE(group.AwaitEqual(1));
  const uint64_t leader = group.Leader();
  const uint64_t rebooted = leader % 3 + 1;
  ASSERT_TRUE(Await([&] { return group[rebooted].log->LeaderContact().has_value(); }));
  group.Stop(rebooted);
  life = 1;
  ASSERT_TRUE(group.Start(rebooted).ok());
  EXPECT_TRUE(Await([&] { return group[rebooted].log->LeaderContact().has_value(); }));
  EXPECT_EQ(group.Leader(), leader) << "a new leader would know nothing of the clock before";
}

}  // namespace
}  // namespace terrane::replication
