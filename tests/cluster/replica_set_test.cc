// Replicas of a shard come, go and are wiped, on real processes, while clients write.
//
// TERRANE_LONG=1: 2 GB instead of 100 MB.
#include "cluster/replica_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>

#include "support/mini_cluster.h"
#include "tools/cli.h"

namespace terrane::testing {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

TEST_F(ReplicaSetTest, ReplicasComeAndGoUnderTraffic) {
  Start();
  StartTraffic();
  CliResult result = cluster_->Terrane({"shard", "replica", "add", "s1"});
  EXPECT_EQ(result.exit, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("s1-d at "));
  EXPECT_THAT(result.out, HasSubstr(" is a voter"));
  result = cluster_->Terrane({"shard", "replica", "replace", "s1", "--replica", "s1-b"});
  EXPECT_EQ(result.exit, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("s1-e at "));
  EXPECT_THAT(result.out, HasSubstr("has taken the place of replica 2"));
  result = cluster_->Terrane({"shard", "step-down", "s1", "--to", "s1-e"});
  EXPECT_EQ(result.exit, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("replica 5 leads s1 now"));
  result = cluster_->Terrane({"shard", "replica", "remove", "s1", "--replica", "1"});
  EXPECT_EQ(result.exit, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("its directory is still there"));
  EXPECT_TRUE(Await([&] { return Shard().replicas_size() == 3; }));
  result = cluster_->Terrane({"shard", "replica", "list", "s1"});
  EXPECT_THAT(result.out, HasSubstr("leader"));
  AwaitProgress();
  Judge();
}

TEST_F(ReplicaSetTest, MembershipRefusesWhatMakesNoSense) {
  Start();
  const auto refused = [&](std::vector<std::string> arguments, const std::string& why) {
    const CliResult result = cluster_->Terrane(std::move(arguments));
    EXPECT_NE(result.exit, 0);
    EXPECT_THAT(result.err, HasSubstr(why));
  };
  refused({"shard", "replica", "add", "s9"}, "no shard s9");
  refused({"shard", "replica", "remove", "s1", "--replica", "7"}, "shard s1 has no replica 7");
  refused({"shard", "replica", "remove", "s1", "--replica", "x"}, "no process x");
  refused({"shard", "replica", "promote", "s1", "--replica", "7"}, "is no member");
  refused({"shard", "step-down", "s1", "--to", "7"}, "no replica 7 of s1");
  refused({"shard", "replica", "add", "s1", "--endpoint", "127.0.0.1:1"}, "not for a local cluster");
  // With one of three away, another one may not go.
  ASSERT_TRUE(Await([&] { return Leader() != 0; }));
  const uint64_t leader = Leader();
  const uint64_t dead = leader % 3 + 1;
  const uint64_t other = 6 - leader - dead;
  ASSERT_TRUE(cluster_->processes().Kill(Name(dead)).ok());
  ASSERT_TRUE(Await([&] {
    const v1::Shard shard = Shard();
    for (const auto& status : shard.statistics().replicas()) {
      if (status.replica_id() == dead && status.silent_ms() > 1'000) return true;
    }
    return false;
  }));
  refused({"shard", "replica", "remove", "s1", "--replica", StrCat(other)}, "would lose its quorum");
}

TEST_F(ReplicaSetTest, WhatAShardWithoutAMajorityIsSaidToBeIsOfThen) {
  Start();
  ASSERT_TRUE(Await([&] { return Leader() != 0; }));
  const uint64_t leader = Leader();
  ASSERT_TRUE(cluster_->processes().Kill(Name(leader)).ok());
  ASSERT_TRUE(cluster_->processes().Kill(Name(leader % 3 + 1)).ok());
  ASSERT_TRUE(Await([&] { return Shard().leader_endpoint().empty(); }));
  CliResult result = cluster_->Terrane({"shard", "list"});
  EXPECT_THAT(result.out, ContainsRegex("^s1     3 replicas, no leader; last report [0-9]+ s ago: "));
  result = cluster_->Terrane({"status"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.out, ContainsRegex("  shard s1   no leader; last report [0-9]+ s ago\n"));
  result = cluster_->Terrane({"shard", "replica", "list", "s1"});
  EXPECT_THAT(result.out, ContainsRegex("\nthe shard has been silent for [0-9]+ s: what is shown is of then\n$"));
  EXPECT_THAT(result.out, Not(HasSubstr("leader")));
  EXPECT_THAT(result.out, Not(HasSubstr("now")));
  result = cluster_->Terrane({"shard", "replica", "add", "s1"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.err, HasSubstr("shard s1 has no leader; last report "));
  EXPECT_FALSE(cluster_->processes().Process("s1-d").ok()) << "nothing is started for it";
}

TEST_F(ReplicaSetTest, AChangeThatDoesNotComeOffLeavesNothingUnsaid) {
  Start();
  const std::string proxy = cluster_->processes().ProxyEndpoints().front();
  const auto terrane = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "terrane");
    arguments.insert(arguments.end(), {"--proxy", proxy});
    std::vector<const char*> argv;
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    std::ostringstream out, err;
    CliResult result;
    result.exit = tools::RunCli(static_cast<int>(argv.size()), argv.data(), out, err);
    result.out = out.str();
    result.err = err.str();
    return result;
  };
  // Somebody answers there who will never be a replica.
  CliResult result = terrane(
      {"shard", "replica", "replace", "s1", "--replica", "2", "--with", "4", "--endpoint", proxy, "--deadline", "2s"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_EQ(result.err,
            "error: no vote after 2000 ms; replica 4 of s1 goes on by itself. Look: terrane shard replica list s1. "
            "Replica 2 was not removed: terrane shard replica remove s1 --replica 2 when replica 4 votes\n");
  // Its number is the one that the next process gets.
  result = cluster_->Terrane({"shard", "replica", "add", "s1"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.err, HasSubstr("is a member already, at " + proxy));
  EXPECT_THAT(result.err, HasSubstr("s1-d, started for it, is stopped again; its directory is still there"));
  EXPECT_FALSE(cluster_->processes().Process("s1-d").ok());
  EXPECT_EQ(terrane({"shard", "replica", "remove", "s1", "--replica", "4"}).exit, 0);
}

class OldCopyTest : public ReplicaSetTest {
 protected:
  // Last week's directory of the only replica is put in the place of this week's, which has been started twice since.
  void ExpectRefused(uint64_t replica) {
    const std::string name = Name(replica);
    ASSERT_TRUE(cluster_->processes().StopProcess(name).ok());
    fs::copy(Data(replica), cluster_->directory() / "last-week", fs::copy_options::recursive);
    for (int i = 0; i < 2; ++i) {
      const size_t before = LogOf(replica).size();
      ASSERT_TRUE(cluster_->processes().StartProcess(name).ok());
      ASSERT_TRUE(Await([&] { return LogOf(replica).find("msg=registered", before) != std::string::npos; }));
      ASSERT_TRUE(cluster_->processes().StopProcess(name).ok());
    }
    fs::rename(Data(replica), cluster_->directory() / "this-week");
    fs::rename(cluster_->directory() / "last-week", Data(replica));
    (void)cluster_->processes().StartProcess(name);
    EXPECT_TRUE(Await([&] {
      return cluster_->processes().Process(name)->state == tools::ProcessState::kStopped ||
             LogOf(replica).find("is an old copy") != std::string::npos;
    })) << LogOf(replica);
    EXPECT_THAT(LogOf(replica), HasSubstr("is an old copy"));
  }
};

TEST_F(OldCopyTest, T51_OfAShardOfOneIsRefused) {
  Start({.shards = 1, .replicas = 1});
  ExpectRefused(1);
}

TEST_F(OldCopyTest, T51_OfAReplicaThatTookTheFoundersPlaceIsRefused) {
  Start({.shards = 1, .replicas = 1});
  const CliResult replaced = cluster_->Terrane({"shard", "replica", "replace", "s1", "--replica", "1"});
  ASSERT_EQ(replaced.exit, 0) << replaced.err;
  ExpectRefused(2);
}

TEST_F(ReplicaSetTest, AWipedReplicaComesBackWhileWritesGoOn) {
  Start();
  const int64_t bytes = Long() ? 2'000'000'000 : 100'000'000;
  CreateLoad();
  const int64_t loaded = Load(bytes);
  StartTraffic();
  const uint64_t wiped = Leader() % 3 + 1;
  ASSERT_TRUE(cluster_->processes().Kill(Name(wiped)).ok());
  fs::remove_all(Data(wiped));
  const auto rate = [&](milliseconds time) {
    const int64_t before = workload_->acknowledged();
    std::this_thread::sleep_for(time);  // the time over which is counted
    return static_cast<double>(workload_->acknowledged() - before) * 1000 / static_cast<double>(time.count());
  };
  const double without = rate(milliseconds(1'000));
  const int64_t writes_before = workload_->acknowledged();
  const auto start = std::chrono::steady_clock::now();
  const int64_t since = WallMs();
  ASSERT_TRUE(cluster_->processes().StartProcess(Name(wiped)).ok());
  ASSERT_TRUE(Await([&] { return IsUpToDate(wiped, since); }, std::chrono::minutes(10))) << LogOf(wiped);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double during = static_cast<double>(workload_->acknowledged() - writes_before) / seconds;
  std::cout << "a wiped replica of " << loaded / 1'000'000 << " MB votes again after " << seconds << " s; " << without
            << " writes/s without it, " << during << " writes/s meanwhile" << std::endl;
  EXPECT_GT(during, 0);
  EXPECT_THAT(LogOf(wiped), HasSubstr("begins again from its peers"));
  // It can be the majority's other half: whatever was acknowledged is there.
  const uint64_t leader = Leader();
  const uint64_t third = 6 - leader - wiped;
  ASSERT_TRUE(cluster_->processes().Kill(Name(third)).ok());
  AwaitProgress();
  Judge();
}

TEST_F(ReplicaSetTest, FollowersAnswerReadsThatMayBeStale) {
  Start();
  ASSERT_EQ(cluster_->Terrane({"collection", "create", "test.reads"}).exit, 0);
  ASSERT_EQ(cluster_->Terrane({"insert", "test.reads", R"({"_id": 1})"}).exit, 0);
  const auto find = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"find", "test.reads", R"({"_id": 1})", "--deadline", "3s"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return cluster_->Terrane(std::move(arguments));
  };
  EXPECT_THAT(find({"--read", "follower"}).out, HasSubstr("\"_id\": 1"));
  EXPECT_THAT(find({"--read", "local"}).out, HasSubstr("\"_id\": 1"));
  EXPECT_THAT(find({"--read", "nearest"}).err, HasSubstr("is none of linearizable, local, follower"));
  EXPECT_THAT(find({"--max-staleness", "1s"}).err, HasSubstr("--max-staleness is for --read follower only"));
  // Without a quorum nobody can say what is newest; what is there can still be read.
  ASSERT_TRUE(Await([&] { return Leader() != 0; }));
  const uint64_t left = Leader() % 3 + 1;
  // It has answered a few heartbeats, or it would not know how fresh it is.
  ASSERT_TRUE(Await([&, since = WallMs()] { return IsUpToDate(left, since); }));
  for (uint64_t replica = 1; replica <= 3; ++replica) {
    if (replica == left) continue;
    ASSERT_TRUE(cluster_->processes().Kill(Name(replica)).ok());
  }
  EXPECT_NE(find({}).exit, 0);
  const CliResult old = find({"--read", "follower", "--max-staleness", "10m"});
  EXPECT_THAT(old.out, HasSubstr("\"_id\": 1")) << old.err;
  EXPECT_NE(find({"--read", "follower", "--max-staleness", "1ms"}).exit, 0);
}

}  // namespace
}  // namespace terrane::testing
