// A disk that goes wrong under one replica of three, on real processes, while clients write: it takes that replica out,
// not the shard, and nothing that was acknowledged is lost. (Hanging and slow disks: failover_test.cc.)
//
// TERRANE_LONG=1: every kind of fault several times.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "cluster/replica_set.h"
#include "common/status.h"

namespace terrane::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class ReplicaDiskTest : public ReplicaSetTest {
 protected:
  void StartWithDisks(std::vector<std::string> flags = {}) {
    Start({.shards = 1, .replicas = 3, .disk_faults = true, .flags = {{tools::Role::kShard, std::move(flags)}}});
    if (HasFatalFailure()) return;
    CreateLoad();
    StartTraffic();
    ASSERT_TRUE(Await([&] { return Leader() != 0; }));
  }
  uint64_t Choose(bool leader) {
    uint64_t leads = 0;
    EXPECT_TRUE(Await([&] { return (leads = Leader()) != 0; }));
    return leader ? leads : leads % 3 + 1;
  }
  // What its process has said since its log was that long.
  std::string Said(uint64_t replica, size_t since) const { return LogOf(replica).substr(since); }
  bool BeganAgain(uint64_t replica) const {
    return fs::exists(Data(replica) / "raft.damaged") || fs::exists(Data(replica) / "store.damaged");
  }
  void ForgetWhatWasSetAside(uint64_t replica) const {
    for (const char* aside : {"raft.damaged", "store.damaged"}) fs::remove_all(Data(replica) / aside);
  }
  // Starts its process, whatever comes of it: true if it serves.
  bool TryToStart(uint64_t replica) {
    const size_t before = LogOf(replica).size();
    bool serves = false;
    // The last threads of the one that ended may hold its directory for a moment: then nothing is said.
    EXPECT_TRUE(Await([&] {
      serves = cluster_->processes().StartProcess(Name(replica)).ok();
      return LogOf(replica).size() > before;
    }));
    return serves;
  }
  // The disk is sound again: its process is started if it has ended, and has everything.
  void Recover(uint64_t replica) {
    cluster_->disk(Name(replica)).Heal();
    int64_t since = WallMs();
    if (IsStopped(replica)) {
      const size_t before = LogOf(replica).size();
      // The last threads of the one that ended may hold its directory for a moment.
      ASSERT_TRUE(Await([&] { return cluster_->processes().StartProcess(Name(replica)).ok(); }))
          << Said(replica, before);
    }
    ASSERT_TRUE(Await([&] { return IsUpToDate(replica, since); }, std::chrono::seconds(60))) << LogOf(replica);
    AwaitProgress();
  }
};

// The log's next segment, RocksDB's write-ahead log, or whatever comes first, does not fit any more.
TEST_F(ReplicaDiskTest, AFullDiskTakesOneReplicaOut) {
  StartWithDisks({"--disk-reserve=1"});  // it would be spared
  std::map<std::string, int> table;
  for (int i = 0; i < (Long() ? 3 : 1); ++i) {
    for (const bool leads : {true, false}) {
      for (const std::string files : {"log", "wal", "any"}) {
        if (HasFatalFailure()) return;
        if (!Long() && leads == (files == "wal")) continue;
        const uint64_t victim = Choose(leads);
        SCOPED_TRACE(StrCat("full for ", files, " on ", leads ? "the leader " : "a follower ", Name(victim)));
        const DiskControl disk = cluster_->disk(Name(victim));
        const size_t before = LogOf(victim).size();
        disk.FullAt(1'000'000 + random_() % 3'000'000, files);
        Load(20'000'000);
        // Or it is so far behind that it fetches a checkpoint: then nothing of its own is touched, and it tries until
        // there is room.
        const auto fetches = [&] {
          const std::string said = Said(victim, before);
          const size_t at = said.find("cannot fetch a checkpoint");
          return at != std::string::npos && said.find("No space left on device", at) != std::string::npos;
        };
        ASSERT_TRUE(Await([&] { return IsStopped(victim) || fetches(); }, std::chrono::seconds(30)))
            << Said(victim, before);
        EXPECT_THAT(Said(victim, before), HasSubstr("No space left on device"));
        AwaitProgress();
        if (!IsStopped(victim)) {
          ++table[StrCat(files, leads ? " of the leader" : " of a follower",
                         ": fetches a checkpoint until there is room")];
          Recover(victim);
          EXPECT_FALSE(BeganAgain(victim)) << Said(victim, before);
          continue;
        }
        // Still full: whatever becomes of it, that is no damage. In place there is room, so it may live for a while.
        const size_t again = LogOf(victim).size();
        const bool started = TryToStart(victim);
        ++table[StrCat(files, leads ? " of the leader" : " of a follower",
                       started ? ": ended, started while still full" : ": ended, refused to start while full")];
        EXPECT_FALSE(BeganAgain(victim)) << Said(victim, again);
        AwaitProgress();
        // What it has met it does not forget, so it is not enough to make room.
        ASSERT_TRUE(cluster_->processes().Kill(Name(victim)).ok());
        Recover(victim);
        EXPECT_FALSE(BeganAgain(victim)) << Said(victim, again);
      }
    }
  }
  for (const auto& [what, count] : table) std::cout << what << ": " << count << std::endl;
  Judge();
  CheckEachReplica();
}

TEST_F(ReplicaDiskTest, T56_ALeaderBelowItsReserveHandsOn) {
  StartWithDisks();
  const uint64_t victim = Choose(/*leader=*/true);
  size_t before = LogOf(victim).size();
  cluster_->disk(Name(victim)).FullAt(100'000'000);
  const auto handed_on = [&] {
    const uint64_t leader = Leader();
    return leader != 0 && leader != victim &&
           Said(victim, before).find("leadership goes to a replica that has space") != std::string::npos;
  };
  EXPECT_TRUE(Await(handed_on)) << Said(victim, before);
  AwaitProgress();
  // Nobody gives it the office for long.
  before = LogOf(victim).size();
  (void)cluster_->Terrane({"shard", "step-down", "s1", "--to", StrCat(victim)});
  EXPECT_TRUE(Await(handed_on)) << Said(victim, before);
  AwaitProgress();
  Judge();
  // Nobody has space: writes are refused by name, reads and deletes go on.
  for (uint64_t replica = 1; replica <= 3; ++replica) cluster_->disk(Name(replica)).FullAt(100'000'000);
  ASSERT_EQ(cluster_->Terrane({"collection", "create", "test.full"}).exit, 0);
  std::string refused;
  int id = 0;
  const auto insert = [&] {
    return cluster_->Terrane({"insert", "test.full", StrCat("{\"_id\": ", ++id, "}"), "--deadline", "5s"});
  };
  EXPECT_TRUE(Await([&] {
    const CliResult result = insert();
    refused = result.err;
    return result.exit != 0;
  }));
  EXPECT_THAT(refused, HasSubstr("are kept in reserve"));
  EXPECT_THAT(refused, HasSubstr("shard s1"));
  EXPECT_EQ(cluster_->Terrane({"find", "test.counters", "{}", "--limit", "1"}).exit, 0);
  EXPECT_EQ(cluster_->Terrane({"delete", "test.full", R"({"_id": 1})"}).exit, 0);
  for (uint64_t replica = 1; replica <= 3; ++replica) cluster_->disk(Name(replica)).Heal();
  EXPECT_TRUE(Await([&] { return insert().exit == 0; }));
}

// One operation that goes wrong.
struct Fault {
  const char* rule;  // with {n} for a number
  uint64_t most;     // of n: so many are made soon
  bool at_start;     // such operations are made by a start; otherwise by every write
  bool in_short;
};

constexpr Fault kFaults[] = {
    {"write log from {n} times 1 fail", 20, false, true},    {"sync log from {n} times 1 fail", 20, false, true},
    {"read log from {n} times 1 fail", 4, true, false},      {"read log from {n} times 1 flip", 4, true, true},
    {"write wal from {n} times 1 fail", 20, false, true},    {"read wal from {n} times 1 fail", 3, true, false},
    {"read wal from {n} times 1 flip", 3, true, false},      {"write sst from {n} times 1 fail", 8, true, false},
    {"sync sst from {n} times 1 fail", 4, true, false},      {"read sst from {n} times 1 fail", 12, true, true},
    {"read sst from {n} times 1 flip", 12, true, true},      {"write manifest from {n} times 1 fail", 3, true, false},
    {"sync manifest from {n} times 1 fail", 2, true, true},  {"read manifest from {n} times 1 fail", 2, true, false},
    {"read manifest from {n} times 1 flip", 2, true, false}, {"write other from {n} times 1 fail", 4, true, false},
    {"sync other from {n} times 1 fail", 6, true, false},    {"read other from {n} times 1 flip", 4, true, false},
};

TEST_F(ReplicaDiskTest, OneOperationThatFailsOrLies) {
  StartWithDisks();
  Load(20'000'000);  // several segments and tables
  std::map<std::string, std::map<std::string, int>> table;
  int met = 0, number = 0;
  for (int i = 0; i < (Long() ? 4 : 1); ++i) {
    for (const Fault& fault : kFaults) {
      if (HasFatalFailure()) return;
      if (!Long() && !fault.in_short) continue;
      std::string rule = fault.rule;
      rule.replace(rule.find("{n}"), 3, StrCat(1 + random_() % fault.most));
      const uint64_t victim = Choose(/*leader=*/++number % 2 == 0);
      SCOPED_TRACE(StrCat(rule, " on ", Name(victim), ", number ", number));
      ForgetWhatWasSetAside(victim);
      const DiskControl disk = cluster_->disk(Name(victim));
      const size_t before = LogOf(victim).size();
      const auto is_met = [&] { return Said(victim, before).find("a rule is met") != std::string::npos; };
      const auto ended = [&] { return IsStopped(victim); };
      int64_t since = WallMs();
      if (fault.at_start) {
        ASSERT_TRUE(cluster_->processes().Kill(Name(victim)).ok());
        disk.Set(rule);
        TryToStart(victim);
        ASSERT_TRUE(Await([&] { return ended() || IsUpToDate(victim, since); }, std::chrono::seconds(60)))
            << Said(victim, before);
        // It leads and is read from end to end; what comes of this may be an error.
        if (!ended() && !is_met()) {
          (void)cluster_->Terrane({"shard", "step-down", "s1", "--to", StrCat(victim)});
          (void)cluster_->Terrane({"check"});
        }
      } else {
        disk.Set(rule);
        AwaitProgress();
        EXPECT_TRUE(Await(is_met)) << Said(victim, before);
      }
      since = WallMs();
      ASSERT_TRUE(Await([&] { return ended() || IsUpToDate(victim, since); }, std::chrono::seconds(60)))
          << Said(victim, before);
      std::string outcome = "nothing noticed";
      if (!is_met()) outcome = "not met";
      if (BeganAgain(victim)) outcome = "begun again from its peers";
      if (ended()) {
        outcome = "ended by name";
        EXPECT_THAT(Said(victim, before), ContainsRegex("level=error [^\n]*data/")) << "without a name";
      }
      met += is_met() ? 1 : 0;
      ++table[fault.rule][outcome];
      Recover(victim);
    }
  }
  for (const auto& [what, outcomes] : table) {
    std::cout << what << ":";
    for (const auto& [outcome, count] : outcomes) std::cout << "  " << outcome << " " << count;
    std::cout << std::endl;
  }
  std::cout << met << " of " << number << " faults were met" << std::endl;
  EXPECT_GE(met, number * 2 / 3);
  Judge();
  CheckEachReplica();
}

}  // namespace
}  // namespace terrane::testing
