// Moves between shards of three replicas under traffic, while their processes and the metadata service's are killed: in
// the stages before, and between F, K, G and the commit (the setting test.pause_at holds the coordinator there; what
// stands is read from the shards before the kill).
//
// TERRANE_LONG=1: 40 moves, 8 with each kind of victim inside fencing.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "client/client.h"
#include "support/await.h"
#include "support/counter_workload.h"
#include "support/mini_cluster.h"
#include "support/settings.h"
#include "terrane/v1/shard.grpc.pb.h"

namespace terrane::testing {
namespace {

using terrane::v1::Migration;
using terrane::v1::OwnedChunk;

enum class Victim { kSourceLeader, kSourceFollower, kTargetLeader, kTargetFollower, kMetadataLeader };
constexpr Victim kVictims[] = {Victim::kSourceLeader, Victim::kSourceFollower, Victim::kTargetLeader,
                               Victim::kTargetFollower, Victim::kMetadataLeader};

const char* NameOf(Victim victim) {
  switch (victim) {
    case Victim::kSourceLeader:
      return "source leader";
    case Victim::kSourceFollower:
      return "source follower";
    case Victim::kTargetLeader:
      return "target leader";
    case Victim::kTargetFollower:
      return "target follower";
    case Victim::kMetadataLeader:
      return "metadata leader";
  }
  return "";
}

// Where the move is held when the victim dies.
struct Place {
  const char* pause_at;
  Migration::Stage stage;
};
constexpr Place kCopying{"copying", Migration::COPYING};
constexpr Place kCatchingUp{"catching_up", Migration::CATCHING_UP};
constexpr Place kVerifying{"verifying", Migration::VERIFYING};
constexpr Place kBeforeF{"fencing", Migration::FENCING};
constexpr Place kBehindF{"fencing.complete", Migration::FENCING};
constexpr Place kBehindK{"fencing.read_fence", Migration::FENCING};
constexpr Place kBehindG{"fencing.commit", Migration::FENCING};

struct Fault {
  Place place;
  Victim victim;
};

std::vector<Fault> Faults() {
  const char* is_long = std::getenv("TERRANE_LONG");
  if (is_long == nullptr || std::string_view(is_long) == "0") {
    return {{kCopying, Victim::kSourceFollower},
            {kCatchingUp, Victim::kTargetLeader},
            {kBehindF, Victim::kSourceLeader},
            {kBehindK, Victim::kTargetLeader},
            {kBehindG, Victim::kMetadataLeader}};
  }
  std::vector<Fault> faults;
  for (int round = 0; round < 2; ++round) {
    for (const Place& place : {kBeforeF, kBehindF, kBehindK, kBehindG}) {
      for (const Victim victim : kVictims) faults.push_back({place, victim});
    }
  }
  return faults;
}

class ReplicatedMoveTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto cluster = MiniCluster::Start({.shards = 2, .replicas = 3, .metadata = 3});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    for (const tools::ProcessInfo& info : cluster_->processes().Processes()) {
      if (!info.process.shard.empty()) replicas_[info.process.shard].push_back(info.process.name);
    }
    proxy_ = cluster_->processes().ProxyEndpoints().front();
    auto workload =
        test::CounterWorkload::Start({.proxy = proxy_, .collection = "test.counters", .ballast = 1000, .clients = 2});
    ASSERT_TRUE(workload.ok()) << workload.status();
    workload_ = *std::move(workload);
  }
  void TearDown() override {
    workload_.reset();
    cluster_.reset();
  }

  static absl::StatusOr<v1::DescribeResponse> Describe(const std::string& endpoint) {
    auto stub = v1::ShardAdmin::NewStub(grpc::CreateChannel(endpoint, grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));
    v1::DescribeResponse response;
    const grpc::Status status = stub->Describe(&context, v1::DescribeRequest(), &response);
    if (!status.ok()) return absl::UnavailableError(status.error_message());
    return response;
  }
  // The replica that leads the shard and its followers, as they say themselves.
  struct Roles {
    std::string leader;
    std::vector<std::string> followers;
  };
  Roles RolesOf(const std::string& shard) {
    Roles roles;
    EXPECT_TRUE(Await(
        [&] {
          roles = Roles();
          for (const std::string& replica : replicas_[shard]) {
            const auto described = Describe(cluster_->Endpoint(replica));
            if (!described.ok()) return false;
            if (described->leader()) {
              roles.leader = replica;
            } else {
              roles.followers.push_back(replica);
            }
          }
          return !roles.leader.empty() && roles.followers.size() == 2;
        },
        std::chrono::seconds(30)))
        << shard << " has no leader with two followers";
    return roles;
  }
  std::string VictimOf(Victim victim, const Migration& record) {
    switch (victim) {
      case Victim::kSourceLeader:
        return RolesOf(record.source()).leader;
      case Victim::kSourceFollower:
        return RolesOf(record.source()).followers.back();
      case Victim::kTargetLeader:
        return RolesOf(record.target()).leader;
      case Victim::kTargetFollower:
        return RolesOf(record.target()).followers.back();
      case Victim::kMetadataLeader:
        break;
    }
    std::string leader;
    EXPECT_TRUE(Await([&] {
      const auto status = cluster_->client().Status({.deadline = std::chrono::seconds(2)});
      if (!status.ok()) return false;
      for (const auto& node : status->metadata()) {
        if (node.leader()) leader = "m" + std::to_string(node.replica_id());
      }
      return !leader.empty();
    }));
    return leader;
  }

  // What the replicas of a shard say about the chunk that the move is about.
  bool SomeReplicaSays(const std::string& shard, uint64_t migration,
                       const std::function<bool(const OwnedChunk&)>& says) {
    for (const std::string& replica : replicas_[shard]) {
      const auto described = Describe(cluster_->Endpoint(replica));
      if (!described.ok()) continue;
      for (const OwnedChunk& chunk : described->ownership().chunks()) {
        if (chunk.move().migration_id() == migration && says(chunk)) return true;
      }
    }
    return false;
  }
  // The move is held at its place, and what comes before it stands.
  bool Held(const Place& place, const Migration& record) {
    if (record.stage() != place.stage) return false;
    const std::string_view at = place.pause_at;
    auto fenced = [](const OwnedChunk& chunk) { return chunk.fence() != 0; };
    if (at == "fencing.complete") return SomeReplicaSays(record.source(), record.id(), fenced);
    auto complete = [](const OwnedChunk& chunk) { return chunk.state() == OwnedChunk::COMPLETE; };
    if (at == "fencing.read_fence") return SomeReplicaSays(record.target(), record.id(), complete);
    auto closed = [](const OwnedChunk& chunk) { return chunk.state() == OwnedChunk::READ_FENCED; };
    if (at == "fencing.commit") {
      return SomeReplicaSays(record.source(), record.id(), closed) &&
             SomeReplicaSays(record.target(), record.id(), complete);
    }
    return true;
  }

  absl::StatusOr<Migration> BeginMove() {
    Migration registered;
    absl::Status last;
    const bool begun = Await(
        [&] {
          const auto chunks = cluster_->client().ListChunks("test.counters");
          if (!chunks.ok()) {
            last = chunks.status();
            return false;
          }
          const auto& chunk = chunks->chunks(0).chunk();
          v1::MoveChunkRequest request;
          request.set_collection("test.counters");
          request.set_key(chunk.range().min());
          request.set_target(chunk.shard() == "s1" ? "s2" : "s1");
          request.set_max_pause_ms(5000);
          const auto answer = cluster_->client().MoveChunk(request);
          last = answer.status();
          if (answer.ok()) registered = answer->migration();
          return answer.ok();
        },
        std::chrono::seconds(30));
    if (!begun) return last;
    return registered;
  }
  // The record, when `condition` holds for it.
  absl::StatusOr<Migration> AwaitRecord(uint64_t id, const std::function<bool(const Migration&)>& condition) {
    Migration record;
    const bool holds = Await(
        [&] {
          const auto shown = cluster_->client().ShowMigration(id);
          if (shown.ok()) record = shown->migration();
          return shown.ok() && condition(record);
        },
        std::chrono::seconds(90));
    if (holds) return record;
    return absl::DeadlineExceededError(record.ShortDebugString());
  }
  static bool Ended(const Migration& record) {
    return record.stage() == Migration::DONE || record.stage() == Migration::ABORTED;
  }

  void ExpectSoundCluster() {
    const absl::Status progress = workload_->AwaitProgress(200);
    EXPECT_TRUE(progress.ok()) << progress;
    const absl::Status verified = workload_->StopAndVerify();
    EXPECT_TRUE(verified.ok()) << verified;
    const CliResult checked = cluster_->Terrane({"check"});
    EXPECT_EQ(checked.exit, 0) << checked.out << checked.err;
  }

  std::unique_ptr<MiniCluster> cluster_;
  std::map<std::string, std::vector<std::string>> replicas_;  // names by shard
  std::string proxy_;
  std::unique_ptr<test::CounterWorkload> workload_;
};

TEST_F(ReplicatedMoveTest, TheLeaderOfTheSourceOnlyFeelsTheFence) {
  const auto registered = BeginMove();
  ASSERT_TRUE(registered.ok()) << registered.status();
  const Roles source = RolesOf(registered->source());
  const auto ended = AwaitRecord(registered->id(), Ended);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->stage(), Migration::DONE) << ended->reason();
  ASSERT_EQ(RolesOf(registered->source()).leader, source.leader) << "the counters are of a leader that stayed";
  const auto leader = Describe(cluster_->Endpoint(source.leader));
  ASSERT_TRUE(leader.ok()) << leader.status();
  EXPECT_EQ(leader->exported().segments(), 0) << leader->exported().ShortDebugString();
  EXPECT_EQ(leader->exported().segment_bytes(), 0);
  EXPECT_EQ(leader->exported().hashed_bytes(), 0);
  EXPECT_EQ(leader->exported().oplog_bytes(), leader->exported().oplog_bytes_behind_fence());
  int64_t segments = 0;
  int64_t hashed = 0;
  for (const std::string& follower : source.followers) {
    const auto described = Describe(cluster_->Endpoint(follower));
    ASSERT_TRUE(described.ok()) << described.status();
    segments += described->exported().segments();
    hashed += described->exported().hashed_bytes();
  }
  EXPECT_GT(segments, 0);
  EXPECT_GT(hashed, 0);
  ExpectSoundCluster();
}

TEST_F(ReplicatedMoveTest, KillsInEveryStageLoseNothingAndEveryMoveEnds) {
  std::map<std::string, int> ended_as;
  for (const Fault& fault : Faults()) {
    SCOPED_TRACE(std::string(fault.place.pause_at) + ", victim " + std::to_string(static_cast<int>(fault.victim)));
    ASSERT_TRUE(test::SetSetting(proxy_, "test.pause_at", fault.place.pause_at).ok());
    const auto registered = BeginMove();
    ASSERT_TRUE(registered.ok()) << registered.status();
    const auto held = AwaitRecord(registered->id(), [&](const Migration& record) { return Held(fault.place, record); });
    ASSERT_TRUE(held.ok()) << held.status();
    const std::string victim = VictimOf(fault.victim, *held);
    ASSERT_FALSE(victim.empty());
    ASSERT_TRUE(cluster_->processes().Kill(victim).ok()) << victim;
    ASSERT_TRUE(test::SetSetting(proxy_, "test.pause_at", "").ok());
    const auto ended = AwaitRecord(registered->id(), Ended);
    const absl::Status restarted = cluster_->processes().StartProcess(victim);
    ASSERT_TRUE(restarted.ok()) << restarted;
    ASSERT_TRUE(ended.ok()) << "did not end without " << victim << ": " << ended.status();
    ++ended_as[Migration::Stage_Name(ended->stage())];
    // The pauses hold the time for which the test has held the move, and the election.
    std::cout << absl::StrFormat("held at %-19s %-15s killed: %s in attempt %d, writes paused %.0f ms, reads %.0f ms",
                                 fault.place.pause_at, NameOf(fault.victim), Migration::Stage_Name(ended->stage()),
                                 ended->attempt(), ended->figures().write_pause_ms(), ended->figures().read_pause_ms())
              << std::endl;
  }
  for (const auto& [stage, count] : ended_as) RecordProperty(stage, count);
  EXPECT_GT(ended_as["DONE"], 0);
  ExpectSoundCluster();
}

}  // namespace
}  // namespace terrane::testing
