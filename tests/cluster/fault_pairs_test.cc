// Two faults at a time on one shard, every pair of kinds: while both are under way, writes are acknowledged, and none
// of them is lost.
//
// The shard has five replicas, so that a majority is left when two are away. The first fault of a pair happens to the
// leader, the second to a follower. TERRANE_LONG=1: every pair in both orders; else a few.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <utility>

#include "absl/strings/str_format.h"
#include "document/builder.h"
#include "support/await.h"
#include "support/history_workload.h"
#include "support/shard_faults.h"

namespace terrane::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kTogether{2'000};
constexpr int64_t kWritesTogether = 100;
// What a wiped replica has to fetch.
constexpr int64_t kBallastBytes = 8'000'000;

using Pair = std::pair<FaultKind, FaultKind>;

std::vector<Pair> Pairs() {
  const char* is_long = std::getenv("TERRANE_LONG");
  if (is_long == nullptr || std::string_view(is_long) == "0") {
    return {{FaultKind::kKill, FaultKind::kMembership}, {FaultKind::kMove, FaultKind::kPause}};
  }
  std::vector<Pair> pairs;
  for (const FaultKind first : kFaultKinds) {
    for (const FaultKind second : kFaultKinds) {
      if (first != second) pairs.emplace_back(first, second);
    }
  }
  return pairs;
}

class FaultPairsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto cluster = MiniCluster::Start({.shards = 2, .replicas = 3, .network = true, .disk_faults = true});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    for (int i = 0; i < 2; ++i) {
      const auto added = cluster_->processes().AddReplica("s1");
      ASSERT_TRUE(added.ok()) << added.status();
      v1::ChangeReplicaRequest request;
      request.set_shard("s1");
      request.set_change(v1::ADD);
      request.set_replica_id(added->process.replica);
      request.set_endpoint(added->process.endpoint);
      absl::Status status;
      ASSERT_TRUE(Await([&] {
        status = cluster_->client().ChangeReplica(request, {.deadline = seconds(5)}).status();
        return status.ok();
      })) << status;
      const absl::Status there = AwaitUpToDate(*cluster_, "s1", added->process.name);
      ASSERT_TRUE(there.ok()) << there;
    }
    LoadBallast();
  }
  void TearDown() override { cluster_.reset(); }

  // The chunk of a new collection is wherever the cluster likes.
  void BringToShard(const std::string& collection) {
    absl::Status last;
    ASSERT_TRUE(Await(
        [&] {
          const auto chunks = cluster_->client().ListChunks(collection);
          if (!chunks.ok()) return false;
          if (chunks->chunks(0).chunk().shard() == "s1") return true;
          v1::MoveChunkRequest request;
          request.set_collection(collection);
          request.set_target("s1");
          last = cluster_->client().MoveChunk(request).status();
          return false;
        },
        seconds(60)))
        << last;
  }
  void LoadBallast() {
    v1::CreateCollectionRequest create;
    create.set_name("test.ballast");
    create.set_chunks(1);
    ASSERT_TRUE(cluster_->client().CreateCollection(create).ok());
    BringToShard("test.ballast");
    const std::string text(10'000, 'x');
    for (int64_t id = 0; id * 10'000 < kBallastBytes;) {
      std::vector<std::string> documents;
      for (int i = 0; i < 100; ++i) {
        documents.push_back(document::Builder().Append("_id", ++id).Append("text", text).Finish());
      }
      const auto inserted = cluster_->client().Insert("test.ballast", documents, {.deadline = seconds(30)});
      ASSERT_TRUE(inserted.ok()) << inserted.status();
    }
  }

  // Of the replicas that nobody has taken yet: the leader, or a follower.
  std::string Take(bool leader_first, std::vector<std::string>* taken) {
    std::string chosen;
    EXPECT_TRUE(Await([&] {
      const std::string leader = LeaderOf(*cluster_, "s1");
      if (leader.empty()) return false;
      chosen.clear();
      if (leader_first) chosen = leader;
      for (const tools::ProcessInfo& info : cluster_->processes().Processes()) {
        const std::string& name = info.process.name;
        if (chosen.empty() && info.process.shard == "s1" && name != leader &&
            std::find(taken->begin(), taken->end(), name) == taken->end()) {
          chosen = name;
        }
      }
      return !chosen.empty();
    }));
    taken->push_back(chosen);
    return chosen;
  }

  void RunPair(const Pair& pair, int number) {
    const std::string name = StrCat(NameOf(pair.first), " + ", NameOf(pair.second));
    SCOPED_TRACE(name);
    FaultPlace place{.cluster = cluster_.get(),
                     .shard = "s1",
                     .other_shard = "s2",
                     .collection = StrCat("test.pair", number),
                     .victim = {},
                     .avoid = {}};
    auto workload = HistoryWorkload::Start({.proxies = {cluster_->Endpoint("p1")}, .collection = place.collection});
    ASSERT_TRUE(workload.ok()) << workload.status();
    BringToShard(place.collection);
    absl::Status progress = (*workload)->AwaitProgress(200);
    ASSERT_TRUE(progress.ok()) << progress;

    std::unique_ptr<ShardFault> faults[2];
    std::vector<std::string> taken;
    FaultPlace places[2] = {place, place};
    for (int i = 0; i < 2; ++i) {
      if (HasVictim(i == 0 ? pair.first : pair.second)) places[i].victim = Take(i == 0, &taken);
    }
    (*workload)->MarkFault(name);
    for (int i = 0; i < 2; ++i) {
      places[i].avoid = taken;
      faults[i] = MakeShardFault(i == 0 ? pair.first : pair.second, places[i]);
      const absl::Status begun = faults[i]->Begin();
      ASSERT_TRUE(begun.ok()) << begun;
    }
    const auto begin = std::chrono::steady_clock::now();
    const int64_t before = (*workload)->acknowledged_writes();
    const auto together = [&] { return std::chrono::steady_clock::now() - begin; };
    const auto writes = [&] { return (*workload)->acknowledged_writes() - before; };
    EXPECT_TRUE(Await(
        [&] {
          // What is repeated is so at least once.
          for (int i = 0; i < 2; ++i) {
            const FaultKind kind = i == 0 ? pair.first : pair.second;
            if (kind == FaultKind::kTransfer && faults[i]->rounds() == 0) return false;
          }
          return together() >= kTogether && writes() >= kWritesTogether;
        },
        seconds(60)))
        << writes() << " writes were acknowledged";
    const double lasted = std::chrono::duration<double>(together()).count();
    const int64_t acknowledged = writes();
    for (auto& fault : faults) {
      const absl::Status stopped = fault->Stop();
      EXPECT_TRUE(stopped.ok()) << stopped;
    }
    for (auto& fault : faults) {
      const absl::Status settled = fault->Settle();
      EXPECT_TRUE(settled.ok()) << settled;
    }
    progress = (*workload)->AwaitProgress(200);
    EXPECT_TRUE(progress.ok()) << progress;
    const auto result = (*workload)->Stop();
    ASSERT_TRUE(result.ok()) << result.status();
    std::cout << absl::StrFormat("%-40s %5.1f s %6d writes  gap %5d ms  %3d unknown", name, lasted, acknowledged,
                                 result->gaps.at(0).without_success.count(), result->unknown);
    for (int i = 0; i < 2; ++i) {
      if (faults[i]->rounds() > 0)
        std::cout << "  " << NameOf(i == 0 ? pair.first : pair.second) << " " << faults[i]->rounds();
    }
    std::cout << std::endl;
  }

  std::unique_ptr<MiniCluster> cluster_;
};

TEST_F(FaultPairsTest, NothingIsLost) {
  int number = 0;
  for (const Pair& pair : Pairs()) {
    RunPair(pair, ++number);
    if (HasFatalFailure()) return;
  }
  const CliResult checked = cluster_->Terrane({"check"});
  EXPECT_EQ(checked.exit, 0) << checked.out << checked.err;
}

}  // namespace
}  // namespace terrane::testing
