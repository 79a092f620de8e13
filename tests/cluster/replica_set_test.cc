// Replicas of a shard come, go, are wiped and damaged, on real processes, while clients write.
//
// TERRANE_LONG=1: 2 GB instead of 100 MB, and every kind of damage many times.
#include "cluster/replica_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>

#include "support/mini_cluster.h"

namespace terrane::testing {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
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
  refused({"shard", "replica", "add", "s1", "--endpoint", "127.0.0.1:1"}, "--replica is missing");
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

TEST_F(ReplicaSetTest, T51_AnOldCopyOfAShardOfOneIsRefused) {
  Start({.shards = 1, .replicas = 1});
  ASSERT_TRUE(cluster_->processes().StopProcess("s1-a").ok());
  fs::copy(Data(1), cluster_->directory() / "last-week", fs::copy_options::recursive);
  for (int i = 0; i < 2; ++i) {
    const size_t before = LogOf(1).size();
    ASSERT_TRUE(cluster_->processes().StartProcess("s1-a").ok());
    ASSERT_TRUE(Await([&] { return LogOf(1).find("msg=registered", before) != std::string::npos; }));
    ASSERT_TRUE(cluster_->processes().StopProcess("s1-a").ok());
  }
  fs::rename(Data(1), cluster_->directory() / "this-week");
  fs::rename(cluster_->directory() / "last-week", Data(1));
  // It has been started twice since the copy was made, so this is an older start than the known one.
  (void)cluster_->processes().StartProcess("s1-a");
  EXPECT_TRUE(Await([&] {
    return cluster_->processes().Process("s1-a")->state == tools::ProcessState::kStopped ||
           LogOf(1).find("is an old copy") != std::string::npos;
  })) << LogOf(1);
  EXPECT_THAT(LogOf(1), HasSubstr("is an old copy"));
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
  for (uint64_t replica = 1; replica <= 3; ++replica) {
    if (replica == left) continue;
    ASSERT_TRUE(cluster_->processes().Kill(Name(replica)).ok());
  }
  EXPECT_NE(find({}).exit, 0);
  EXPECT_THAT(find({"--read", "follower", "--max-staleness", "10m"}).out, HasSubstr("\"_id\": 1"));
  EXPECT_NE(find({"--read", "follower", "--max-staleness", "1ms"}).exit, 0);
}

// What is done to the directory of a replica that does not run.
struct Damage {
  const char* name;
  void (*apply)(const fs::path& data, std::mt19937_64* random);
};

fs::path AnyFile(const fs::path& directory, std::mt19937_64* random) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file() && entry.file_size() > 0) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files.empty() ? fs::path() : files[(*random)() % files.size()];
}

void Edit(const fs::path& path, std::mt19937_64* random, size_t bytes, bool zero) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const uint64_t size = fs::file_size(path);
  const uint64_t at = (*random)() % std::max<uint64_t>(1, size - std::min<uint64_t>(size, bytes) + 1);
  std::string content(bytes, '\0');
  file.seekg(static_cast<std::streamoff>(at));
  file.read(content.data(), static_cast<std::streamsize>(bytes));
  content.resize(static_cast<size_t>(file.gcount()));
  file.clear();
  if (zero) {
    std::fill(content.begin(), content.end(), '\0');
  } else if (!content.empty()) {
    content[0] = static_cast<char>(content[0] ^ (1 << (*random)() % 8));
  }
  file.seekp(static_cast<std::streamoff>(at));
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
}

const Damage kDamages[] = {
    {"flipped bit in log/",
     [](const fs::path& data, std::mt19937_64* r) { Edit(AnyFile(data / "raft/log", r), r, 1, false); }},
    {"flipped bit in store/",
     [](const fs::path& data, std::mt19937_64* r) { Edit(AnyFile(data / "store", r), r, 1, false); }},
    {"flipped bit in identity",
     [](const fs::path& data, std::mt19937_64* r) { Edit(data / "raft/identity", r, 1, false); }},
    {"zeroed sector", [](const fs::path& data, std::mt19937_64* r) { Edit(AnyFile(data, r), r, 512, true); }},
    {"truncated file",
     [](const fs::path& data, std::mt19937_64* r) {
       const fs::path path = AnyFile(data, r);
       fs::resize_file(path, (*r)() % fs::file_size(path));
     }},
    {"missing file", [](const fs::path& data, std::mt19937_64* r) { fs::remove(AnyFile(data, r)); }},
};

// Whatever is damaged on one replica of three: it is refused by name, it begins again from its peers, or what was
// damaged is not used; nothing that was acknowledged is lost, and the replicas agree.
TEST_F(ReplicaSetTest, DamageOnOneOfThreeLosesNothing) {
  Start();
  StartTraffic();
  const int each = Long() ? 35 : 2;
  const uint64_t seed = 20261122;
  std::mt19937_64 random(seed);
  std::map<std::string, std::map<std::string, int>> table;
  for (const Damage& damage : kDamages) {
    for (int i = 0; i < each && !HasFatalFailure(); ++i) {
      ASSERT_TRUE(Await([&] { return Leader() != 0; }));
      const uint64_t victim = Leader() % 3 + 1;
      SCOPED_TRACE(StrCat(damage.name, " number ", i, " of seed ", seed, " on ", Name(victim)));
      ASSERT_TRUE(cluster_->processes().Kill(Name(victim)).ok());
      const fs::path kept = cluster_->directory() / "kept";
      fs::remove_all(kept);
      for (const char* aside : {"raft.damaged", "store.damaged"}) fs::remove_all(Data(victim) / aside);
      damage.apply(Data(victim), &random);
      const size_t log_before = LogOf(victim).size();
      int64_t since = WallMs();
      const absl::Status started = cluster_->processes().StartProcess(Name(victim));
      std::string outcome;
      ASSERT_TRUE(Await(
          [&] {
            if (cluster_->processes().Process(Name(victim))->state == tools::ProcessState::kStopped) {
              outcome = "refused";
            } else if (IsUpToDate(victim, since)) {
              outcome = fs::exists(Data(victim) / "raft.damaged") ? "begun again from its peers" : "not used";
            }
            return !outcome.empty();
          },
          std::chrono::seconds(60)))
          << LogOf(victim).substr(log_before);
      ++table[damage.name][outcome];
      if (outcome == "refused") {
        // By name: the message says which file.
        EXPECT_THAT(StrCat(started.message(), LogOf(victim).substr(log_before)), HasSubstr("data/"));
        fs::remove_all(Data(victim));
        since = WallMs();
        // The last threads of the one that ended may hold its directory for a moment.
        ASSERT_TRUE(Await([&] { return cluster_->processes().StartProcess(Name(victim)).ok(); }));
        ASSERT_TRUE(Await([&] { return IsUpToDate(victim, since); }, std::chrono::seconds(60))) << LogOf(victim);
      }
      AwaitProgress();
    }
  }
  for (const auto& [what, outcomes] : table) {
    std::cout << what << ":";
    for (const auto& [outcome, count] : outcomes) std::cout << "  " << outcome << " " << count;
    std::cout << std::endl;
  }
  Judge();
  CheckEachReplica();
}

}  // namespace
}  // namespace terrane::testing
