// A shard of three replicas under faults of processes and of the network, judged by the history of its clients: no
// acknowledged write is lost, no read is stale, and the time without service is bounded.
//
// Short forms; TERRANE_LONG=1 makes each run many faults (200 kills).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/strings.h"
#include "support/await.h"
#include "support/history_workload.h"
#include "support/mini_cluster.h"

namespace terrane::testing {
namespace {

using std::chrono::milliseconds;

constexpr char kShard[] = "s1";

int Faults(int in_short, int in_long) {
  const char* is_long = std::getenv("TERRANE_LONG");
  return is_long != nullptr && std::string_view(is_long) != "0" ? in_long : in_short;
}

class FailoverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto cluster = MiniCluster::Start({.shards = 1,
                                       .replicas = 3,
                                       .proxies = 2,
                                       .network = true,
                                       .disk_faults = DiskFaults(),
                                       .process_flags = ProcessFlags()});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    for (const tools::ProcessInfo& info : cluster_->processes().Processes()) {
      if (info.process.shard == kShard) replicas_.insert(info.process.name);
    }
    auto admin = client::Client::Connect({.proxies = {cluster_->Endpoint("p1")}});
    ASSERT_TRUE(admin.ok()) << admin.status();
    admin_ = *std::move(admin);
    auto workload = HistoryWorkload::Start({.proxies = {cluster_->Endpoint("p1")},
                                            .collection = "test.histories",
                                            .guests = 4,
                                            .guest_proxies = {cluster_->Endpoint("p2")}});
    ASSERT_TRUE(workload.ok()) << workload.status();
    workload_ = *std::move(workload);
    AwaitProgress();
    // The replicas do talk over the network that is to be bad.
    for (const std::string& a : replicas_) {
      for (const std::string& b : replicas_) {
        if (a == b) continue;
        ASSERT_GT(cluster_->network().Passed(a, b), 0) << a << " to " << b;
      }
    }
  }
  virtual bool DiskFaults() const { return false; }
  virtual std::map<std::string, std::vector<std::string>> ProcessFlags() const { return {}; }
  void TearDown() override {
    workload_.reset();
    admin_.reset();
    cluster_.reset();
  }

  // Enough to be sure that the shard serves again.
  void AwaitProgress(int64_t more = 200) {
    const absl::Status progress = workload_->AwaitProgress(more);
    ASSERT_TRUE(progress.ok()) << progress;
  }

  // The process that leads the shard, as the metadata service knows; "" if it does not.
  std::string Leader() const {
    const auto status = admin_->Status({.deadline = std::chrono::seconds(2)});
    if (!status.ok()) return "";
    for (const v1::Shard& shard : status->shards()) {
      for (const std::string& replica : replicas_) {
        if (shard.name() == kShard && cluster_->Endpoint(replica) == shard.leader_endpoint()) return replica;
      }
    }
    return "";
  }
  std::set<std::string> Followers(const std::string& leader) const {
    std::set<std::string> others = replicas_;
    others.erase(leader);
    return others;
  }
  // Until another replica than `old` leads and serves.
  void AwaitOtherLeader(const std::string& old, int64_t progress = 200) {
    ASSERT_TRUE(Await([&] {
      const std::string leader = Leader();
      return !leader.empty() && leader != old;
    })) << old
        << " still leads";
    AwaitProgress(progress);
  }

  void SetEachDirection(const DirectionFaults& faults) {
    for (const std::string& a : replicas_) {
      for (const std::string& b : replicas_) cluster_->network().SetDirection(a, b, faults);
    }
  }
  void KillLeaders(int kills, int64_t progress = 200) {
    for (int i = 0; i < kills && !HasFatalFailure(); ++i) {
      const std::string leader = Leader();
      ASSERT_NE(leader, "");
      workload_->MarkFault("kill -9 of " + leader);
      ASSERT_TRUE(cluster_->processes().Kill(leader).ok());
      AwaitOtherLeader(leader, progress);
      const absl::Status restarted = cluster_->processes().StartProcess(leader);
      ASSERT_TRUE(restarted.ok()) << restarted;
      AwaitProgress(progress);
    }
  }

  // Everything heals before it is called. `longest`: a gap that nobody has to wait for. `unknown`: the share of
  // operations whose outcome nobody was told.
  void Judge(milliseconds longest = milliseconds(3'000), double unknown = 0.05) {
    if (HasFatalFailure()) return;
    const auto result = workload_->Stop();
    ASSERT_TRUE(result.ok()) << result.status();
    std::cout << result->Summary() << std::endl;
    for (const Gap& gap : result->gaps) {
      std::cout << "  " << gap.fault << ": " << gap.without_success.count() << " ms, of writes "
                << gap.without_write.count() << " ms" << (gap.write_in_flight ? "" : ", no write in flight")
                << std::endl;
      EXPECT_LE(gap.without_success, longest * kSlowness) << gap.fault;
    }
    EXPECT_LE(static_cast<double>(result->unknown), unknown * static_cast<double>(result->operations));
    RecordProperty("summary", result->Summary());
    gaps_ = result->gaps;
    per_second_ = static_cast<double>(result->operations) / result->seconds;
    in_flight_ =
        std::count_if(result->gaps.begin(), result->gaps.end(), [](const Gap& gap) { return gap.write_in_flight; });
  }

  std::unique_ptr<MiniCluster> cluster_;
  std::set<std::string> replicas_;
  std::unique_ptr<client::Client> admin_;      // through p1
  std::unique_ptr<HistoryWorkload> workload_;  // its guests are on p2
  std::vector<Gap> gaps_;
  double per_second_ = 0;
  int64_t in_flight_ = 0;
};

TEST_F(FailoverTest, KilledLeaders) {
  const int kills = Faults(3, 210);
  KillLeaders(kills);
  Judge();
  EXPECT_GE(in_flight_, kills - kills / 20);
}

// Followers learn late what is committed: a new leader has acknowledged writes in its log that it has not applied yet.
TEST_F(FailoverTest, LeadersKilledWithSlowLinks) {
  SetEachDirection({.delay = milliseconds(10), .jitter = milliseconds(50)});
  KillLeaders(Faults(2, 50), /*progress=*/60);
  cluster_->network().Heal();
  Judge();
}

TEST_F(FailoverTest, PausedLeaders) {
  for (int i = 0; i < Faults(2, 50) && !HasFatalFailure(); ++i) {
    const std::string leader = Leader();
    ASSERT_NE(leader, "");
    workload_->MarkFault("pause of " + leader);
    ASSERT_TRUE(cluster_->processes().Pause(leader).ok());
    AwaitOtherLeader(leader);
    ASSERT_TRUE(cluster_->processes().Resume(leader).ok());
    AwaitProgress();
  }
  Judge();
}

TEST_F(FailoverTest, LeaderCutOffFromItsFollowers) {
  for (int i = 0; i < Faults(2, 50) && !HasFatalFailure(); ++i) {
    const std::string leader = Leader();
    ASSERT_NE(leader, "");
    workload_->MarkFault("partition of " + leader);
    cluster_->network().Isolate(leader, Followers(leader));
    AwaitOtherLeader(leader);
    cluster_->network().Heal();
    AwaitProgress();
  }
  Judge();
}

TEST_F(FailoverTest, LeaderThatCannotSendToItsFollowers) {
  for (int i = 0; i < Faults(2, 50) && !HasFatalFailure(); ++i) {
    const std::string leader = Leader();
    ASSERT_NE(leader, "");
    workload_->MarkFault("nothing passes from " + leader);
    for (const std::string& follower : Followers(leader)) cluster_->network().Block(leader, follower);
    AwaitOtherLeader(leader);
    cluster_->network().Heal();
    AwaitProgress();
  }
  Judge();
}

// Its heartbeats arrive, the answers do not: it must give up by itself.
TEST_F(FailoverTest, LeaderThatDoesNotHearItsFollowers) {
  for (int i = 0; i < Faults(2, 50) && !HasFatalFailure(); ++i) {
    const std::string leader = Leader();
    ASSERT_NE(leader, "");
    workload_->MarkFault("nothing passes to " + leader);
    for (const std::string& follower : Followers(leader)) cluster_->network().Block(follower, leader);
    AwaitOtherLeader(leader);
    cluster_->network().Heal();
    AwaitProgress();
  }
  Judge();
}

class DiskFailoverTest : public FailoverTest {
 protected:
  bool DiskFaults() const override { return true; }
};

// Its heartbeats would go on for ever: a log write that hangs hands leadership on (trap T56).
TEST_F(DiskFailoverTest, T56_StalledDiskOfTheLeader) {
  const int faults = Faults(3, 50);
  // Syncs hang first where writes still go to memory; a device that is gone takes nothing at all; and it may be the
  // store that meets it first, after which nothing is proposed any more.
  const std::pair<const char*, const char*> stalls[] = {
      {"stalled syncs of ", "sync any stall"},
      {"stalled store of ", "write wal stall"},
      {"stalled disk of ", "sync any stall\nwrite any stall\nread any stall"},
  };
  for (int i = 0; i < faults && !HasFatalFailure(); ++i) {
    const std::string leader = Leader();
    ASSERT_NE(leader, "");
    workload_->MarkFault(StrCat(stalls[i % 3].first, leader));
    cluster_->disk(leader).Set(stalls[i % 3].second);
    AwaitOtherLeader(leader);
    cluster_->disk(leader).Heal();
    AwaitProgress();
  }
  Judge();
  std::vector<milliseconds> writes;
  for (const Gap& gap : gaps_) writes.push_back(gap.without_write);
  std::sort(writes.begin(), writes.end());
  ASSERT_EQ(writes.size(), static_cast<size_t>(faults));
  EXPECT_LE(writes.back(), milliseconds(3'000) * kSlowness);
  EXPECT_LE(writes[writes.size() / 2], milliseconds(1'500) * kSlowness);
  if (faults >= 50) {
    EXPECT_LE(writes[writes.size() * 99 / 100], milliseconds(1'500) * kSlowness);
  }
}

// Slow is not hung: everything goes on, and it need not lose its office.
TEST_F(DiskFailoverTest, SlowDiskOfTheLeader) {
  for (int i = 0; i < Faults(2, 50) && !HasFatalFailure(); ++i) {
    const std::string leader = Leader();
    ASSERT_NE(leader, "");
    workload_->MarkFault("slow disk of " + leader);
    cluster_->disk(leader).Slow(milliseconds(50));
    AwaitProgress();
    cluster_->disk(leader).Heal();
    AwaitProgress();
  }
  Judge();
}

// What the old leader acknowledged last is in the log of the next one, which does not know yet that it is committed;
// its no-op takes long, while heartbeats pass and give it a lease (trap T47). The long form finds a server that
// announces itself as soon as it is elected (Core::ReadyToServe without the no-op, and AnnounceLeader at the election).
TEST_F(DiskFailoverTest, T47_ANewLeaderWithASlowDiskGivesNoOldAnswer) {
  for (const std::string& replica : replicas_) cluster_->disk(replica).Set("sync log delay 150ms");
  for (int i = 0; i < Faults(2, 50) && !HasFatalFailure(); ++i) {
    const std::string leader = Leader();
    ASSERT_NE(leader, "");
    workload_->MarkFault("nothing passes from " + leader + ", and all disks are slow");
    for (const std::string& follower : Followers(leader)) cluster_->network().Block(leader, follower);
    AwaitOtherLeader(leader, /*progress=*/40);
    cluster_->network().Heal();
    AwaitProgress(40);
  }
  for (const std::string& replica : replicas_) cluster_->disk(replica).Heal();
  Judge(milliseconds(3'000), 0.2);  // each writer has one under way, of the few that such disks let through
}

// Only guests are left on the old leader's side, and nobody tells them that another one leads.
class DeposedLeaderTest : public FailoverTest {
 protected:
  void CutOffWithItsGuests(const std::string& leader) {
    FaultNetwork& network = cluster_->network();
    std::set<std::string> others = Followers(leader);
    network.Isolate(leader, others);
    others.insert("m1");
    network.Isolate("p2", others);
    // Writers shall not wait for it.
    network.SetConnections("p1", leader, {.refuse = true});
    network.Cut("p1", leader);
  }
};

TEST_F(DeposedLeaderTest, T03_CutOffWithGuestsItGivesNoOldAnswer) {
  for (int i = 0; i < Faults(3, 50) && !HasFatalFailure(); ++i) {
    const std::string leader = Leader();
    ASSERT_NE(leader, "");
    workload_->MarkFault("partition of " + leader + " and its guests");
    CutOffWithItsGuests(leader);
    AwaitOtherLeader(leader);
    cluster_->network().Heal();
    AwaitProgress();
  }
  Judge();
}

TEST_F(DeposedLeaderTest, T03_WokenUpItGivesNoOldAnswer) {
  for (int i = 0; i < Faults(3, 50) && !HasFatalFailure(); ++i) {
    const std::string leader = Leader();
    ASSERT_NE(leader, "");
    workload_->MarkFault("pause of " + leader + " and its guests");
    CutOffWithItsGuests(leader);
    ASSERT_TRUE(cluster_->processes().Pause(leader).ok());
    AwaitOtherLeader(leader);
    ASSERT_TRUE(cluster_->processes().Resume(leader).ok());
    AwaitProgress();
    cluster_->network().Heal();
    AwaitProgress();
  }
  Judge();
}

// The leader's clock is slower than its followers', by a little less than a lease allows for (a tenth of the least
// election timeout). They elect another as early as they may, and it does not notice for long that nobody answers.
class SlowClockTest : public DeposedLeaderTest {
 protected:
  std::map<std::string, std::vector<std::string>> ProcessFlags() const override {
    const auto flag = [](const char* name, int ms) { return StrCat("--", name, "=", ms * kSlowness, "ms"); };
    const auto election = [&](int max) {
      return std::vector<std::string>{flag("election-min", 1000), flag("election-max", max)};
    };
    std::vector<std::string> slow = election(4000);
    slow.push_back("--test-clock-rate=0.91");
    return {{"s1-a", slow}, {"s1-b", election(1000)}, {"s1-c", election(1200)}};
  }
};

TEST_F(SlowClockTest, T03_WithinTheDriftItGivesNoOldAnswer) {
  for (int i = 0; i < Faults(8, 50) && !HasFatalFailure(); ++i) {
    ASSERT_TRUE(Await([&] {
      cluster_->Terrane({"shard", "step-down", kShard, "--to", "1"});
      return Leader() == "s1-a";
    }));
    AwaitProgress();
    workload_->MarkFault("partition of s1-a, whose clock is slow, and its guests");
    CutOffWithItsGuests("s1-a");
    AwaitOtherLeader("s1-a");
    cluster_->network().Heal();
    AwaitProgress();
  }
  Judge();
}

TEST_F(FailoverTest, LossyAndSlowLinks) {
  FaultNetwork& network = cluster_->network();
  for (int i = 0; i < Faults(1, 20) && !HasFatalFailure(); ++i) {
    workload_->MarkFault("slow links");
    SetEachDirection({.delay = milliseconds(5), .jitter = milliseconds(20), .bytes_per_second = 1 << 20});
    AwaitProgress();
    workload_->MarkFault("links that break after half a second");
    for (const std::string& a : replicas_) {
      for (const std::string& b : replicas_) {
        if (a < b) network.SetConnections(a, b, {.mean_life = milliseconds(500)});
      }
    }
    for (int j = 0; j < 2; ++j) AwaitProgress();
    network.Heal();
    workload_->MarkFault("healed");
    AwaitProgress();
  }
  Judge();
}

}  // namespace
}  // namespace terrane::testing
