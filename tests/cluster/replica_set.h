// One shard of several replicas on real processes, with counters that clients raise all the time: what the tests of
// membership, damage and faults of disks share.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>

#include "client/client.h"
#include "common/strings.h"
#include "document/extended_json.h"
#include "support/await.h"
#include "support/counter_workload.h"
#include "support/mini_cluster.h"

namespace terrane::testing {

// TERRANE_LONG=1
inline bool Long() {
  const char* is_long = std::getenv("TERRANE_LONG");
  return is_long != nullptr && std::string_view(is_long) != "0";
}

class ReplicaSetTest : public ::testing::Test {
 protected:
  void Start(MiniClusterOptions options = {.shards = 1, .replicas = 3}) {
    auto cluster = MiniCluster::Start(std::move(options));
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
  }
  void StartTraffic() {
    auto workload = test::CounterWorkload::Start(
        {.proxy = cluster_->processes().ProxyEndpoints().front(), .collection = "test.counters", .ballast = 200});
    ASSERT_TRUE(workload.ok()) << workload.status();
    workload_ = *std::move(workload);
    AwaitProgress();
  }
  void AwaitProgress() {
    const absl::Status progress = workload_->AwaitProgress(100);
    ASSERT_TRUE(progress.ok()) << progress;
  }
  // Every counter is right, and no replica differs from its digest.
  void Judge() {
    const absl::Status verified = workload_->StopAndVerify();
    EXPECT_TRUE(verified.ok()) << verified;
    const CliResult checked = cluster_->Terrane({"check"});
    EXPECT_EQ(checked.exit, 0) << checked.out << checked.err;
  }
  // Each replica, also those that do not lead, holds what its digest says.
  void CheckEachReplica() {
    for (uint64_t to = 1; to <= 3; ++to) {
      // One that has just come back may be too far behind to take it within the time that is given to it.
      CliResult handed;
      EXPECT_TRUE(Await([&] {
        handed = cluster_->Terrane({"shard", "step-down", "s1", "--to", StrCat(to)});
        return handed.exit == 0;
      })) << handed.err;
      const CliResult checked = cluster_->Terrane({"check"});
      EXPECT_EQ(checked.exit, 0) << checked.out << checked.err;
    }
  }
  // Inserts that many bytes into test.load, in documents of 10 kB that cannot be compressed.
  int64_t Load(int64_t bytes) {
    std::string text(10'000, ' ');
    int64_t loaded = 0;
    while (loaded < bytes) {
      std::vector<std::string> batch;
      for (int i = 0; i < 100; ++i) {
        for (size_t at = 0; at < text.size(); at += 8) {
          const uint64_t word = random_();
          for (size_t j = 0; j < 8; ++j) text[at + j] = static_cast<char>('a' + (word >> (8 * j)) % 26);
        }
        auto document = document::DocumentFromJson(StrCat("{\"_id\": ", next_load_++, ", \"text\": \"", text, "\"}"));
        EXPECT_TRUE(document.ok()) << document.status();
        if (!document.ok()) return loaded;
        loaded += static_cast<int64_t>(document->size());
        batch.push_back(*std::move(document));
      }
      const auto inserted =
          cluster_->client().Insert("test.load", std::move(batch), {.deadline = std::chrono::milliseconds(60'000)});
      EXPECT_TRUE(inserted.ok()) << inserted.status();
      if (!inserted.ok()) break;
    }
    return loaded;
  }
  void CreateLoad() {
    v1::CreateCollectionRequest create;
    create.set_name("test.load");
    ASSERT_TRUE(cluster_->client().CreateCollection(create).ok());
  }

  v1::Shard Shard() const {
    const auto list = cluster_->client().ListShards();
    if (list.ok()) {
      for (const v1::Shard& shard : list->shards()) {
        if (shard.name() == "s1") return shard;
      }
    }
    return {};
  }
  uint64_t Leader() const {
    const v1::Shard shard = Shard();
    for (const v1::ReplicaStatus& replica : shard.statistics().replicas()) {
      if (replica.leader()) return replica.replica_id();
    }
    return 0;
  }
  static std::string Name(uint64_t replica) {
    return StrCat("s1-", std::string(1, static_cast<char>('a' + replica - 1)));
  }
  // As the shard's leader says, within its last second.
  bool IsVoter(uint64_t replica) const {
    const v1::Shard shard = Shard();
    return std::any_of(shard.statistics().replicas().begin(), shard.statistics().replicas().end(),
                       [&](const auto& status) { return status.replica_id() == replica && !status.learner(); });
  }
  static int64_t WallMs() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
  // Voter, and has applied what the leader had a moment ago; heard of since `since_ms`.
  bool IsUpToDate(uint64_t replica, int64_t since_ms) const {
    const v1::Shard shard = Shard();
    if (shard.last_heartbeat_ms() < since_ms + 600) return false;
    uint64_t leader = 0, own = 0;
    for (const auto& status : shard.statistics().replicas()) {
      if (status.leader()) leader = status.applied();
      if (status.replica_id() == replica && !status.learner() && status.silent_ms() < 500) own = status.applied();
    }
    return own > 0 && own + 200 > leader;
  }
  bool IsStopped(uint64_t replica) const {
    return cluster_->processes().Process(Name(replica))->state == tools::ProcessState::kStopped;
  }
  std::filesystem::path Data(uint64_t replica) const { return cluster_->directory() / Name(replica) / "data"; }
  std::string LogOf(uint64_t replica) const {
    std::ifstream file(cluster_->directory() / Name(replica) / "log");
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::unique_ptr<MiniCluster> cluster_;
  std::unique_ptr<test::CounterWorkload> workload_;
  std::mt19937_64 random_{1};
  int64_t next_load_ = 0;
};

}  // namespace terrane::testing
