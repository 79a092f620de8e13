// A group of one: the host with its threads, over a disk that misbehaves.
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "common/start_number.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "replication/file_system.h"
#include "replication/replicated_log.h"
#include "support/await.h"
#include "support/fault_file_system.h"
#include "support/list_machine.h"
#include "support/temp_directory.h"

namespace terrane::replication {
namespace {

using testing::Await;
using ::testing::ElementsAre;
using testing::FaultFileSystem;
using ::testing::HasSubstr;
using testing::ListMachine;

class SingleReplicaTest : public ::testing::Test {
 protected:
  SingleReplicaTest() : machine_(&disk_) {
    options_.directory = "/replica";
    options_.identity = {"c1", "s1", ReplicaId(1)};
    options_.members = {{ReplicaId(1), ""}};
    options_.segment_bytes = 32 << 10;
    options_.file_system = &disk_;
    options_.on_fatal = [this](const absl::Status& status) {
      std::lock_guard lock(mutex_);
      fatal_ = status;
    };
  }

  absl::Status Open() {
    auto log = ReplicatedLog::Open(options_, &machine_);
    if (!log.ok()) return log.status();
    log_ = *std::move(log);
    return absl::OkStatus();
  }
  void OpenAndLead() {
    absl::Status status = Open();
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_TRUE(Await([&] { return log_->Leader().ready_to_serve; }));
  }
  // Proposes and waits.
  ProposeResult Propose(std::string data) { return Propose(log_->Leader().term, std::move(data)); }
  ProposeResult Propose(Term term, std::string data) {
    std::mutex mutex;
    std::condition_variable wake;
    std::optional<ProposeResult> result;
    log_->Propose(term, std::move(data), [&](ProposeResult r) {
      std::lock_guard lock(mutex);
      result = std::move(r);
      wake.notify_one();
    });
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] { return result.has_value(); });
    return *std::move(result);
  }
  absl::Status fatal() {
    std::lock_guard lock(mutex_);
    return fatal_;
  }

  FaultFileSystem disk_;
  ListMachine machine_;
  ReplicatedLog::Options options_;
  std::mutex mutex_;
  absl::Status fatal_;
  std::unique_ptr<ReplicatedLog> log_;
};

TEST_F(SingleReplicaTest, LeadsAtOnceAppliesAndAnswers) {
  OpenAndLead();
  EXPECT_EQ(machine_.Leads(), log_->Leader().term);
  EXPECT_TRUE(log_->HasLease());

  ProposeResult result = Propose("a");

  EXPECT_EQ(result.outcome, ProposeOutcome::kApplied);
  EXPECT_TRUE(result.status.ok());
  EXPECT_EQ(std::any_cast<std::string>(result.value), "a");
  EXPECT_EQ(result.position, log_->Applied());
  EXPECT_THAT(machine_.Data(), ElementsAre("a"));
}

TEST_F(SingleReplicaTest, TheStateMachinesVerdictComesBack) {
  OpenAndLead();
  ProposeResult result = Propose("refuse me");
  EXPECT_EQ(result.outcome, ProposeOutcome::kApplied);
  EXPECT_TRUE(absl::IsFailedPrecondition(result.status));
}

TEST_F(SingleReplicaTest, RestartAppliesNothingTwice) {
  OpenAndLead();
  Propose("a");
  Propose("b");
  const Term before = log_->Leader().term;
  log_.reset();
  OpenAndLead();
  EXPECT_GT(log_->Leader().term, before);
  Propose("c");
  EXPECT_THAT(machine_.Data(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(StartCount(log_->Statistics().start_number), 2u);
}

TEST_F(SingleReplicaTest, T48_AProposalFromAnOlderTermIsRefused) {
  OpenAndLead();
  const Term old = log_->Leader().term;
  log_.reset();
  OpenAndLead();
  ProposeResult result = Propose(old, "late");
  EXPECT_EQ(result.outcome, ProposeOutcome::kNotInLog);
  EXPECT_TRUE(absl::IsUnavailable(result.status));
  EXPECT_TRUE(machine_.Data().empty());
}

TEST_F(SingleReplicaTest, ManyWritersShareSyncs) {
  OpenAndLead();
  const uint64_t before = log_->Statistics().batches;
  disk_.SetSyncHook([](const auto&) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); });  // a slow disk
  std::vector<std::thread> writers;
  for (int w = 0; w < 16; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < 20; ++i) EXPECT_EQ(Propose(std::to_string(w)).outcome, ProposeOutcome::kApplied);
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(machine_.Data().size(), 320u);
  EXPECT_LT(log_->Statistics().batches - before, 120u);
}

TEST_F(SingleReplicaTest, NothingIsAppliedBeforeTheSyncReturns) {
  OpenAndLead();
  std::atomic<bool> hold{true};
  disk_.SetSyncHook([&](const auto&) { Await([&] { return !hold; }); });
  std::atomic<int> done{0};
  log_->Propose(log_->Leader().term, "a", [&](ProposeResult) { ++done; });
  ASSERT_TRUE(Await([&] { return log_->Statistics().last >= log_->Applied(); }));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(machine_.Data().empty());
  EXPECT_EQ(done, 0);
  hold = false;
  EXPECT_TRUE(Await([&] { return done == 1; }));
  EXPECT_THAT(machine_.Data(), ElementsAre("a"));
  disk_.SetSyncHook(nullptr);
}

TEST_F(SingleReplicaTest, ReadIndexAnswersBehindEverythingAcknowledged) {
  OpenAndLead();
  Propose("a");
  std::atomic<int> answered{0};
  for (int i = 0; i < 10; ++i) {
    log_->ReadIndex([&](absl::Status status) {
      EXPECT_TRUE(status.ok()) << status;
      ++answered;
    });
  }
  EXPECT_TRUE(Await([&] { return answered == 10; }));
}

TEST_F(SingleReplicaTest, EveryProposalIsAnsweredWhateverStopDoes) {
  for (int round = 0; round < 20; ++round) {
    OpenAndLead();
    std::atomic<int> answered{0};
    const Term term = log_->Leader().term;
    std::thread proposer([&] {
      for (int i = 0; i < 100; ++i) log_->Propose(term, "x", [&](ProposeResult) { ++answered; });
    });
    if (round % 2 == 0) std::this_thread::yield();
    log_->Stop();
    proposer.join();
    EXPECT_EQ(answered, 100);
    log_.reset();
  }
}

TEST_F(SingleReplicaTest, AnEntryThatIsTooLargeIsRefused) {
  options_.max_entry_bytes = 1000;
  OpenAndLead();
  ProposeResult result = Propose(std::string(1001, 'x'));
  EXPECT_EQ(result.outcome, ProposeOutcome::kNotInLog);
  EXPECT_TRUE(absl::IsInvalidArgument(result.status));
}

TEST_F(SingleReplicaTest, TheLogIsCutWhenItHasGrown) {
  options_.keep_bytes = 128 << 10;
  OpenAndLead();
  for (int i = 0; i < 300; ++i) Propose(std::string(2000, 'x'));
  EXPECT_TRUE(Await([&] { return log_->Statistics().log_bytes <= 192u << 10; }));
  EXPECT_GT(log_->Statistics().first, Position(100));
  log_.reset();
  OpenAndLead();
  Propose("last");
  EXPECT_EQ(machine_.Data().size(), 301u);
}

// Two clients suffice: while one's entry is synced the other's comes, so there is always a next one to write.
TEST_F(SingleReplicaTest, TheLogIsCutThoughItsWriterIsNeverIdle) {
  options_.keep_bytes = 128 << 10;
  OpenAndLead();
  const Term term = log_->Leader().term;
  std::mutex mutex;
  std::condition_variable changed;
  const Position before = log_->Statistics().last;
  uint64_t left = 600, proposed = 0, answered = 0;
  uint64_t most = 0;
  std::function<void()> propose = [&] {
    {
      std::lock_guard lock(mutex);
      if (left == 0) return;
      --left;
    }
    log_->Propose(term, std::string(2000, 'x'), [&](const ProposeResult& result) {
      EXPECT_EQ(result.outcome, ProposeOutcome::kApplied);
      most = std::max(most, log_->Statistics().log_bytes);
      {
        std::lock_guard lock(mutex);
        ++answered;
      }
      propose();
      changed.notify_all();
    });
    {
      std::lock_guard lock(mutex);
      ++proposed;
    }
    changed.notify_all();
  };
  // No write, of one entry, ends before the next one is there.
  disk_.SetSyncHook([&](const auto&) {
    std::unique_lock lock(mutex);
    const uint64_t synced = log_->Statistics().last.value() - before.value();
    changed.wait(lock, [&] { return proposed >= synced + 2 || left == 0; });
  });
  propose();
  propose();
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return answered == 600; });
  }
  disk_.SetSyncHook(nullptr);
  log_.reset();  // nothing calls back any more
  EXPECT_LE(most, 512u << 10) << "1,200 kB were written";
}

TEST_F(SingleReplicaTest, T50_TheFirstFailedSyncEndsTheReplica) {
  OpenAndLead();
  Propose("a");
  disk_.FailSync(1);
  ProposeResult result = Propose("b");
  EXPECT_EQ(result.outcome, ProposeOutcome::kUnknown);
  EXPECT_TRUE(Await([&] { return !fatal().ok(); }));
  EXPECT_THAT(fatal().ToString(), HasSubstr("cannot be written"));
  const uint64_t syncs = disk_.syncs();
  EXPECT_EQ(Propose("c").outcome, ProposeOutcome::kNotInLog);
  EXPECT_FALSE(log_->Leader().ready_to_serve);
  EXPECT_FALSE(log_->HasLease());
  log_.reset();
  EXPECT_EQ(disk_.syncs(), syncs);
  EXPECT_THAT(machine_.Data(), ElementsAre("a"));
}

TEST_F(SingleReplicaTest, AStateMachineThatFailsEndsTheReplica) {
  OpenAndLead();
  machine_.FailApply(absl::DataLossError("broken"));
  EXPECT_EQ(Propose("b").outcome, ProposeOutcome::kUnknown);
  EXPECT_THAT(fatal().ToString(), HasSubstr("broken"));
}

TEST_F(SingleReplicaTest, WhatComesAfterTheStopIsAnswered) {
  OpenAndLead();
  log_->Stop();
  int answers = 0;
  const auto answered = [&](const absl::Status& status) { answers += absl::IsUnavailable(status); };
  log_->ChangeMember(MemberChange::kAdd, ReplicaId(2), "127.0.0.1:2", answered);
  log_->ReadIndex(answered);
  log_->CutLog(answered);
  log_->Propose(Term(1), "x", [&](const ProposeResult& result) { answered(result.status); });
  EXPECT_EQ(answers, 4) << "on this thread: there is no other any more";
}

TEST_F(SingleReplicaTest, ADirectoryInUseIsRefused) {
  OpenAndLead();
  ListMachine other(&disk_);
  auto second = ReplicatedLog::Open(options_, &other);
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status()));
  EXPECT_THAT(second.status().ToString(), HasSubstr("in use"));
}

TEST_F(SingleReplicaTest, T51_TheWrongDirectoryIsRefusedByName) {
  OpenAndLead();
  log_.reset();
  const Identity right = options_.identity;
  for (const Identity& wrong : {Identity{"c2", "s1", ReplicaId(1)}, Identity{"c1", "s2", ReplicaId(1)}}) {
    options_.identity = wrong;
    absl::Status status = Open();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(status.ToString(), HasSubstr("/replica belongs to replica 1 of s1 in cluster c1"));
  }
  options_.identity = right;
  OpenAndLead();
  log_.reset();
  disk_.RemoveFile("/replica/identity");
  EXPECT_THAT(Open().ToString(), HasSubstr("no identity file"));
}

TEST_F(SingleReplicaTest, T51_AnEmptyLogUnderDataIsRefused) {
  OpenAndLead();
  Propose("a");
  log_.reset();
  options_.directory = "/empty";
  absl::Status status = Open();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(status.ToString(), HasSubstr("do not belong together"));
}

TEST_F(SingleReplicaTest, T75_DataAheadOfTheLogIsRefused) {
  OpenAndLead();
  Propose("a");
  const Position last = log_->Applied();
  log_.reset();
  machine_.SetApplied(Position(last.value() + 1));
  absl::Status status = Open();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(status.ToString(), HasSubstr("the state machine stands at position"));
}

TEST_F(SingleReplicaTest, ADamagedIdentityIsRefused) {
  OpenAndLead();
  log_.reset();
  disk_.FlipBit("/replica/identity", 20);
  absl::Status status = Open();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(status.ToString(), HasSubstr("/replica/identity"));
}

TEST_F(SingleReplicaTest, T49_ADamagedLogIsRefused) {
  OpenAndLead();
  for (int i = 0; i < 5; ++i) Propose("a");
  log_.reset();
  disk_.FlipBit("/replica/log/segment-0000000001.log", 3 * 512 + 100);
  absl::Status status = Open();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(status.ToString(), HasSubstr("segment-0000000001.log at offset"));
}

TEST_F(SingleReplicaTest, ACrashWhileTheDirectoryIsMadeIsNoObstacle) {
  for (int n = 1; n < 12; ++n) {
    options_.directory = "/made" + std::to_string(n);
    disk_.FailSync(n);
    if (Open().ok()) log_.reset();
    disk_.FailSync(0);
    std::mt19937_64 random(n);
    disk_.PowerCut(&random);
    fatal_ = absl::OkStatus();
    machine_.SetApplied(Position(0));
    OpenAndLead();
    EXPECT_EQ(Propose("a").outcome, ProposeOutcome::kApplied);
    log_.reset();
    machine_.SetApplied(Position(0));
  }
}

// Writers propose, the power goes at some instant; afterwards every acknowledged write is there, exactly once and in
// order, and the replica starts. Returns the number of acknowledged writes lost.
int PowerCutRun(uint64_t seed, bool plant_no_sync) {
  std::mt19937_64 random(seed);
  FaultFileSystem disk;
  ListMachine machine(&disk);
  ReplicatedLog::Options options;
  options.directory = "/replica";
  options.identity = {"c1", "s1", ReplicaId(1)};
  options.members = {{ReplicaId(1), ""}};
  options.segment_bytes = 8 << 10;
  options.keep_bytes = 24 << 10;
  options.file_system = &disk;
  options.on_fatal = [](const absl::Status&) {};
  std::mutex mutex;
  std::set<std::string> acknowledged;
  int next = 0;
  int lost = 0;
  for (int round = 0; round < 3; ++round) {
    auto log = ReplicatedLog::Open(options, &machine);
    if (!log.ok()) return -1;
    if (!Await([&] { return (*log)->Leader().ready_to_serve; })) return -1;
    if (plant_no_sync) disk.IgnoreSyncs(true);
    const std::vector<std::string> data = machine.Data();
    for (const std::string& a : acknowledged) lost += std::count(data.begin(), data.end(), a) == 1 ? 0 : 1;
    const Term term = (*log)->Leader().term;
    const int writes = static_cast<int>(random() % 60);
    std::atomic<int> answered{0};
    for (int i = 0; i < writes; ++i) {
      std::string entry = std::to_string(next++) + std::string(random() % 900, '.');
      (*log)->Propose(term, entry, [&, entry](ProposeResult result) {
        std::lock_guard lock(mutex);
        if (result.outcome == ProposeOutcome::kApplied) acknowledged.insert(entry);
        ++answered;
      });
      if (random() % 4 == 0) std::this_thread::yield();
    }
    const int until = writes == 0 ? 0 : static_cast<int>(random() % writes);
    Await([&] { return answered >= until; });
    // What is acknowledged from here on happened before the cut only if the cut has not come yet.
    std::set<std::string> before;
    {
      std::lock_guard lock(mutex);
      before = acknowledged;
    }
    disk.PowerCut(&random);
    (*log)->Stop();
    log->reset();
    disk.IgnoreSyncs(false);
    acknowledged = before;
    machine.PowerCut(&random);
  }
  auto log = ReplicatedLog::Open(options, &machine);
  if (!log.ok()) return -1;
  if (!Await([&] { return (*log)->Leader().ready_to_serve; })) return -1;
  const std::vector<std::string> data = machine.Data();
  for (const std::string& a : acknowledged) lost += std::count(data.begin(), data.end(), a) == 1 ? 0 : 1;
  return lost;
}

TEST(SingleReplicaPowerCut, AcknowledgedWritesSurviveAtRandomInstants) {
  for (uint64_t seed = 1; seed <= 100; ++seed) EXPECT_EQ(PowerCutRun(seed, false), 0) << "seed " << seed;
}

TEST(SingleReplicaPowerCut, APlantedMissingSyncIsFound) {
  int found = 0;
  for (uint64_t seed = 1; seed <= 10; ++seed) found += PowerCutRun(seed, true) != 0 ? 1 : 0;
  EXPECT_GT(found, 5);
}

TEST(RealDisk, AGroupOfOneOverRealFiles) {
  const TempDirectory directory("real-disk");
  ListMachine machine(FileSystem::System());
  ReplicatedLog::Options options;
  options.directory = directory.path();
  options.identity = {"c1", "s1", ReplicaId(1)};
  options.members = {{ReplicaId(1), ""}};
  std::atomic<int> applied{0};
  for (int round = 0; round < 2; ++round) {
    auto log = ReplicatedLog::Open(options, &machine);
    ASSERT_TRUE(log.ok()) << log.status();
    ASSERT_TRUE(Await([&] { return (*log)->Leader().ready_to_serve; }));
    for (int i = 0; i < 50; ++i) {
      (*log)->Propose((*log)->Leader().term, "x", [&](ProposeResult result) {
        if (result.outcome == ProposeOutcome::kApplied) ++applied;
      });
    }
    ASSERT_TRUE(Await([&] { return applied == 50 * (round + 1); }));
  }
  EXPECT_EQ(machine.Data().size(), 100u);
}

}  // namespace
}  // namespace terrane::replication
