// Clusters each of whose processes is in a network namespace of its own. Skipped where that is not permitted.
#include "tools/network_namespaces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "cluster/detached_cluster.h"
#include "cluster/replica_set.h"

namespace terrane::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

#define SKIP_UNLESS_PERMITTED()                                                                  \
  do {                                                                                           \
    const absl::Status permitted = tools::NetworkNamespaces::Permitted();                        \
    if (!permitted.ok()) GTEST_SKIP() << "no network namespaces here: " << MessageOf(permitted); \
  } while (false)

// Namespaces and interfaces of the machine that bear the name of the cluster's network.
std::vector<std::string> LeftOf(const std::string& network) {
  std::vector<std::string> left;
  FILE* list = popen("ip netns list && ip -o link", "r");
  char line[1024];
  int lines = 0;
  while (fgets(line, sizeof line, list) != nullptr) {
    ++lines;
    if (std::string_view(line).find(network) != std::string_view::npos) left.push_back(line);
  }
  EXPECT_EQ(pclose(list), 0);
  EXPECT_GT(lines, 0);  // there is always lo
  return left;
}

class PulledCableTest : public ReplicaSetTest {
 protected:
  // Time until clients are served again, whatever the answers were that were already on their way to them.
  milliseconds TimeToProgress() {
    const int64_t before = workload_->acknowledged();
    const auto start = std::chrono::steady_clock::now();
    EXPECT_TRUE(Await([&] { return workload_->acknowledged() >= before + 20; }));
    return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - start);
  }
  // How long the leader has not heard of the replica.
  uint64_t SilentMs(uint64_t replica) const {
    const v1::Shard shard = Shard();
    for (const v1::ReplicaStatus& status : shard.statistics().replicas()) {
      if (status.replica_id() == replica) return status.silent_ms();
    }
    return 0;
  }
};

TEST_F(PulledCableTest, AnotherLeadsAndTheOneThatIsPluggedInAgainFollows) {
  SKIP_UNLESS_PERMITTED();
  Start({.shards = 1, .replicas = 3, .netns = true});
  ASSERT_NE(cluster_, nullptr);
  const std::string network = cluster_->processes().Network().value().name;
  EXPECT_THAT(LeftOf(network), SizeIs(7u));  // m1, three replicas, p1, the switch, and our interface
  StartTraffic();
  ASSERT_TRUE(Await([&] { return Leader() != 0; }));
  const uint64_t old_leader = Leader();

  ASSERT_TRUE(cluster_->processes().Unplug(Name(old_leader)).ok());
  const milliseconds gap = TimeToProgress();
  EXPECT_LT(gap, milliseconds(3000) * kSlowness);
  ASSERT_TRUE(Await([&] { return Leader() != 0 && Leader() != old_leader; }));
  EXPECT_EQ(cluster_->processes().Process(Name(old_leader))->state, tools::ProcessState::kRunning);
  AwaitProgress();
  // Long enough for both sides to give up their connections.
  if (Long()) {
    EXPECT_TRUE(Await([&] { return SilentMs(old_leader) > 12'000; }, std::chrono::seconds(30)));
  }

  const int64_t plugged = WallMs();
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(cluster_->processes().Plug(Name(old_leader)).ok());
  EXPECT_TRUE(Await([&] { return IsUpToDate(old_leader, plugged); }, std::chrono::seconds(30)));
  const auto followed = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - start);
  AwaitProgress();
  Judge();
  std::cout << "without service for " << gap.count() << " ms; plugged in, it was up to date after " << followed.count()
            << " ms" << std::endl;

  cluster_.reset();
  EXPECT_THAT(LeftOf(network), IsEmpty());
}

TEST_F(PulledCableTest, ClustersWithoutANetworkHaveNoCables) {
  Start({.shards = 1});
  const CliResult result = cluster_->Terrane({"cluster", "unplug", "--process", "s1-a"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.err, HasSubstr("was not made with `cluster start --netns`"));
}

class DetachedNetworkTest : public DetachedCluster {
 protected:
  std::string Network() const {
    const auto cluster = tools::LocalCluster::Open(directory_);
    return cluster.ok() && (*cluster)->Network() ? (*cluster)->Network()->name : "no network";
  }
  std::vector<tools::ProcessInfo> Processes() const { return (*tools::LocalCluster::Open(directory_))->Processes(); }
  static std::filesystem::path NamespaceOf(const std::string& process) {
    std::error_code error;
    return std::filesystem::read_symlink("/proc/" + process + "/ns/net", error);
  }
};

TEST_F(DetachedNetworkTest, EachProcessHasItsOwnAndStopLeavesNothing) {
  SKIP_UNLESS_PERMITTED();
  CliResult result = Terrane("cluster start --netns --shards 1 --json");
  ASSERT_EQ(result.exit, 0) << result.err;
  const std::string network = Network();
  EXPECT_THAT(result.out, HasSubstr("\"namespaces\": \"terrane-" + network + "-*\""));
  std::set<std::string> spaces = {NamespaceOf("self")};
  for (const tools::ProcessInfo& info : Processes()) {
    const std::string space = NamespaceOf(std::to_string(info.process.process.pid));
    EXPECT_TRUE(!space.empty() && spaces.insert(space).second) << info.process.name << ": " << space;
  }
  ASSERT_EQ(Terrane("collection create shop.orders").exit, 0);
  ASSERT_EQ(Terrane("insert shop.orders '{\"_id\": 1}'").exit, 0);

  // One that is killed finds its place again; others may join.
  ASSERT_EQ(Terrane("cluster kill --process s1-a").exit, 0);
  ASSERT_EQ(Terrane("cluster restart --process s1-a").exit, 0);
  EXPECT_EQ(Terrane("count shop.orders").out, "1\n");
  result = Terrane("shard add");
  EXPECT_EQ(result.exit, 0) << result.err;
  EXPECT_THAT(LeftOf(network), SizeIs(6u));  // m1, s1-a, s2-a, p1, the switch, and our interface

  ASSERT_EQ(Terrane("cluster stop").exit, 0);
  EXPECT_THAT(LeftOf(network), IsEmpty());
  EXPECT_EQ(Terrane("cluster stop").exit, 0);

  result = Terrane("cluster start");
  ASSERT_EQ(result.exit, 0) << result.err;
  EXPECT_THAT(LeftOf(network), SizeIs(6u));
  EXPECT_EQ(Terrane("count shop.orders").out, "1\n");

  // As after a boot: nothing runs, and the kernel knows nothing of it.
  for (const tools::ProcessInfo& info : Processes()) {
    ASSERT_EQ(Terrane("cluster kill --process " + info.process.name).exit, 0);
  }
  ASSERT_TRUE((*tools::LocalCluster::Open(directory_))->Network()->Namespaces().Remove().ok());
  ASSERT_THAT(LeftOf(network), IsEmpty());
  result = Terrane("cluster start");
  ASSERT_EQ(result.exit, 0) << result.err;
  EXPECT_EQ(Terrane("count shop.orders").out, "1\n");
  ASSERT_EQ(Terrane("cluster stop").exit, 0);
  EXPECT_THAT(LeftOf(network), IsEmpty());
}

TEST_F(DetachedNetworkTest, AStartThatIsInterruptedOrFailsLeavesNothing) {
  SKIP_UNLESS_PERMITTED();
  tools::LocalClusterOptions options;
  options.directory = directory_;
  options.netns = true;
  options.programs = std::filesystem::path(TERRANE_BINARY_DIR) / "bin";
  for (int looks : {0, 1, 2, 10}) {
    options.interrupted = [looks, asked = std::make_shared<std::atomic<int>>(0)] { return ++*asked > looks; };
    const auto started = tools::LocalCluster::Start(options);
    EXPECT_TRUE(absl::IsCancelled(started.status())) << looks << ": " << started.status();
    EXPECT_THAT(Network(), SizeIs(6u));
    EXPECT_THAT(LeftOf(Network()), IsEmpty()) << looks;
  }
  options.interrupted = [] { return false; };
  options.programs = directory_;  // without programs
  EXPECT_FALSE(tools::LocalCluster::Start(options).ok());
  EXPECT_THAT(LeftOf(Network()), IsEmpty());

  const auto before = (*tools::LocalCluster::Open(directory_))->Network().value();
  const tools::NetworkNamespaces other("0f0f0f", before.subnet);
  ASSERT_TRUE(other.Make({}).ok());
  const CliResult result = Terrane("cluster start");
  EXPECT_TRUE(other.Remove().ok());
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.err, HasSubstr("the network " + before.subnet + " of the cluster is in use on this machine"));
  EXPECT_THAT(result.err, HasSubstr("tn0f0f0f"));
  EXPECT_THAT(LeftOf(Network()), IsEmpty());
}

TEST_F(DetachedNetworkTest, WhereItIsNotPermittedNothingIsStarted) {
  SKIP_UNLESS_PERMITTED();  // what can be taken away must be there
  const struct {
    const char* before;
    const char* why;
  } kCases[] = {
      {"setpriv --bounding-set=-all --inh-caps=-all", "ip netns add terrane-"},
      {"unshare -m sh -c 'mount --bind /dev/null $(readlink -f $(command -v ip)) && exec \"$@\"' sh",
       "apt-get install iproute2"},
  };
  const std::vector<std::string> before = LeftOf("terrane-");
  for (const auto& missing : kCases) {
    const CliResult result = Terrane("cluster start --netns", missing.before);
    EXPECT_EQ(result.exit, 1) << missing.before;
    EXPECT_THAT(result.err, HasSubstr(missing.why));
    EXPECT_TRUE(std::filesystem::is_empty(directory_));
    EXPECT_EQ(LeftOf("terrane-"), before);
  }
}

}  // namespace
}  // namespace terrane::testing
