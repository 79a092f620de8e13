#include "support/shard_faults.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "common/status.h"
#include "support/await.h"

namespace terrane::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using terrane::v1::Migration;

constexpr milliseconds kSlowSync{100};
constexpr milliseconds kBetweenTransfers{300};

absl::Status Late(std::string_view what) {
  return absl::DeadlineExceededError(StrCat(what, " within a minute"));
}

absl::StatusOr<terrane::v1::Shard> Find(MiniCluster& cluster, std::string_view shard) {
  TERRANE_ASSIGN_OR_RETURN(const auto list, cluster.client().ListShards({.deadline = seconds(2)}));
  for (const terrane::v1::Shard& one : list.shards()) {
    if (one.name() == shard) return one;
  }
  return NotFound("shard ", shard);
}

std::set<std::string> ReplicasOf(MiniCluster& cluster, std::string_view shard) {
  std::set<std::string> names;
  for (const tools::ProcessInfo& info : cluster.processes().Processes()) {
    if (info.process.shard == shard) names.insert(info.process.name);
  }
  return names;
}

class Kill : public ShardFault {
 public:
  explicit Kill(FaultPlace place) : p_(std::move(place)) {}
  absl::Status Begin() override { return p_.cluster->processes().Kill(p_.victim); }
  absl::Status Stop() override { return p_.cluster->processes().StartProcess(p_.victim); }
  absl::Status Settle() override { return AwaitUpToDate(*p_.cluster, p_.shard, p_.victim); }

 private:
  const FaultPlace p_;
};

class Pause : public ShardFault {
 public:
  explicit Pause(FaultPlace place) : p_(std::move(place)) {}
  absl::Status Begin() override { return p_.cluster->processes().Pause(p_.victim); }
  absl::Status Stop() override { return p_.cluster->processes().Resume(p_.victim); }
  absl::Status Settle() override { return AwaitUpToDate(*p_.cluster, p_.shard, p_.victim); }

 private:
  const FaultPlace p_;
};

class Partition : public ShardFault {
 public:
  explicit Partition(FaultPlace place) : p_(std::move(place)) {}
  absl::Status Begin() override {
    std::set<std::string> others = ReplicasOf(*p_.cluster, p_.shard);
    others.erase(p_.victim);
    p_.cluster->network().Isolate(p_.victim, others);
    return absl::OkStatus();
  }
  absl::Status Stop() override {
    p_.cluster->network().Heal();
    return absl::OkStatus();
  }
  absl::Status Settle() override { return AwaitUpToDate(*p_.cluster, p_.shard, p_.victim); }

 private:
  const FaultPlace p_;
};

class SlowDisk : public ShardFault {
 public:
  explicit SlowDisk(FaultPlace place) : p_(std::move(place)) {}
  absl::Status Begin() override {
    p_.cluster->disk(p_.victim).Slow(kSlowSync);
    return absl::OkStatus();
  }
  absl::Status Stop() override {
    p_.cluster->disk(p_.victim).Heal();
    return absl::OkStatus();
  }
  absl::Status Settle() override { return AwaitUpToDate(*p_.cluster, p_.shard, p_.victim); }

 private:
  const FaultPlace p_;
};

// Does something again and again in a thread of its own.
class Repeated : public ShardFault {
 public:
  ~Repeated() override { Join(); }
  absl::Status Begin() final {
    thread_ = std::thread([this] {
      while (!stop_) {
        const absl::StatusOr<bool> done = Round();
        if (!done.ok()) {
          std::lock_guard lock(mutex_);
          failure_ = done.status();
          return;
        }
        if (*done) ++rounds_;
      }
    });
    return absl::OkStatus();
  }
  absl::Status Stop() final {
    stop_ = true;
    return absl::OkStatus();
  }
  absl::Status Settle() final {
    Join();
    std::lock_guard lock(mutex_);
    TERRANE_RETURN_IF_ERROR(failure_);
    return Restore();
  }
  int64_t rounds() const final { return rounds_; }

 protected:
  explicit Repeated(FaultPlace place) : p_(std::move(place)) {}
  // Whether it was done; an error is one that must not be.
  virtual absl::StatusOr<bool> Round() = 0;
  virtual absl::Status Restore() { return absl::OkStatus(); }
  bool stopped() const { return stop_; }

  const FaultPlace p_;

 private:
  void Join() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }

  std::atomic<bool> stop_{false};
  std::atomic<int64_t> rounds_{0};
  std::mutex mutex_;  // guards failure_
  absl::Status failure_;
  std::thread thread_;
};

class Membership : public Repeated {
 public:
  explicit Membership(FaultPlace place) : Repeated(std::move(place)) {}

 private:
  absl::StatusOr<bool> Round() override {
    TERRANE_ASSIGN_OR_RETURN(const tools::ProcessInfo added, p_.cluster->processes().AddReplica(p_.shard));
    added_ = added.process;
    while (!Change(v1::ADD).ok()) {
      if (stopped()) return false;  // Restore takes it away
    }
    while (!IsVoter()) {
      if (stopped()) return false;
      std::this_thread::sleep_for(milliseconds(20));  // between two looks
    }
    TERRANE_RETURN_IF_ERROR(Restore());
    return true;
  }
  absl::Status Restore() override {
    if (!added_) return absl::OkStatus();
    absl::Status last;
    const bool removed = Await(
        [&] {
          last = Change(v1::REMOVE);
          return last.ok() || absl::IsNotFound(last);
        },
        seconds(60));
    if (!removed) return Annotate(last, StrCat("cannot remove ", added_->name));
    TERRANE_RETURN_IF_ERROR(p_.cluster->processes().ForgetReplica(added_->name).status());
    // A local cluster gives no name twice while the directory of the one that bore it is there.
    std::filesystem::remove_all(p_.cluster->directory() / added_->name);
    added_.reset();
    return absl::OkStatus();
  }
  absl::Status Change(v1::ReplicaChange change) {
    v1::ChangeReplicaRequest request;
    request.set_shard(p_.shard);
    request.set_change(change);
    request.set_replica_id(added_->replica);
    request.set_endpoint(added_->endpoint);
    return p_.cluster->client().ChangeReplica(request, {.deadline = seconds(5)}).status();
  }
  bool IsVoter() const {
    const auto shard = Find(*p_.cluster, p_.shard);
    if (!shard.ok()) return false;
    return std::any_of(
        shard->statistics().replicas().begin(), shard->statistics().replicas().end(),
        [&](const auto& replica) { return replica.replica_id() == added_->replica && !replica.learner(); });
  }

  std::optional<tools::ClusterProcess> added_;
};

class Transfer : public Repeated {
 public:
  explicit Transfer(FaultPlace place) : Repeated(std::move(place)) {}

 private:
  absl::StatusOr<bool> Round() override {
    std::this_thread::sleep_for(kBetweenTransfers);
    v1::StepDownRequest request;
    request.set_shard(p_.shard);
    const std::string leader = LeaderOf(*p_.cluster, p_.shard);
    const std::set<std::string> replicas = ReplicasOf(*p_.cluster, p_.shard);
    auto next = replicas.upper_bound(leader);
    for (size_t i = 0; i < replicas.size(); ++i) {
      if (next == replicas.end()) next = replicas.begin();
      if (std::find(p_.avoid.begin(), p_.avoid.end(), *next) == p_.avoid.end()) break;
      ++next;
    }
    TERRANE_ASSIGN_OR_RETURN(const tools::ProcessInfo info, p_.cluster->processes().Process(*next));
    request.set_to(info.process.replica);
    return p_.cluster->client().StepDown(request, {.deadline = seconds(5)}).ok();
  }
};

class Move : public Repeated {
 public:
  explicit Move(FaultPlace place) : Repeated(std::move(place)) {}

 private:
  absl::StatusOr<bool> Round() override {
    TERRANE_ASSIGN_OR_RETURN(const std::string owner, Owner());
    return MoveTo(owner == p_.shard ? p_.other_shard : p_.shard);
  }
  absl::Status Restore() override {
    const auto limit = std::chrono::steady_clock::now() + seconds(60);
    while (std::chrono::steady_clock::now() < limit) {
      TERRANE_ASSIGN_OR_RETURN(const std::string owner, Owner());
      if (owner == p_.shard) return absl::OkStatus();
      TERRANE_RETURN_IF_ERROR(MoveTo(p_.shard).status());
    }
    return Late("the chunk is not back");
  }
  absl::StatusOr<std::string> Owner() {
    TERRANE_ASSIGN_OR_RETURN(const auto chunks,
                             p_.cluster->client().ListChunks(p_.collection, {.deadline = seconds(30)}));
    return chunks.chunks(0).chunk().shard();
  }
  // Every move has to end by itself. Whether it ended done.
  absl::StatusOr<bool> MoveTo(const std::string& target) {
    v1::MoveChunkRequest request;
    request.set_collection(p_.collection);
    request.set_target(target);
    request.set_max_pause_ms(5'000);
    const auto begun = p_.cluster->client().MoveChunk(request, {.deadline = seconds(30)});
    if (absl::IsFailedPrecondition(begun.status())) return false;  // the one before is not quite over
    TERRANE_RETURN_IF_ERROR(begun.status());
    Migration::Stage stage = Migration::PLANNED;
    const bool ended = Await(
        [&] {
          const auto shown = p_.cluster->client().ShowMigration(begun->migration().id(), {.deadline = seconds(2)});
          if (shown.ok()) stage = shown->migration().stage();
          return stage == Migration::DONE || stage == Migration::ABORTED;
        },
        seconds(60));
    if (!ended)
      return Late(StrCat("move ", begun->migration().id(), " in stage ", Migration::Stage_Name(stage), " did not end"));
    return stage == Migration::DONE;
  }
};

class CheckpointFetch : public Repeated {
 public:
  explicit CheckpointFetch(FaultPlace place) : Repeated(std::move(place)) {}

 private:
  absl::StatusOr<bool> Round() override {
    TERRANE_RETURN_IF_ERROR(p_.cluster->processes().Kill(p_.victim));
    std::filesystem::remove_all(p_.cluster->directory() / p_.victim / "data");
    TERRANE_RETURN_IF_ERROR(p_.cluster->processes().StartProcess(p_.victim));
    TERRANE_RETURN_IF_ERROR(AwaitUpToDate(*p_.cluster, p_.shard, p_.victim));
    return true;
  }
};

}  // namespace

std::string_view NameOf(FaultKind kind) {
  switch (kind) {
    case FaultKind::kKill:
      return "kill";
    case FaultKind::kPause:
      return "pause";
    case FaultKind::kPartition:
      return "partition";
    case FaultKind::kSlowDisk:
      return "slow disk";
    case FaultKind::kMembership:
      return "membership change";
    case FaultKind::kTransfer:
      return "transfer";
    case FaultKind::kMove:
      return "move";
    case FaultKind::kCheckpointFetch:
      return "checkpoint fetch";
  }
  return "";
}

bool HasVictim(FaultKind kind) {
  return kind != FaultKind::kMembership && kind != FaultKind::kTransfer && kind != FaultKind::kMove;
}

std::unique_ptr<ShardFault> MakeShardFault(FaultKind kind, FaultPlace place) {
  switch (kind) {
    case FaultKind::kKill:
      return std::make_unique<Kill>(std::move(place));
    case FaultKind::kPause:
      return std::make_unique<Pause>(std::move(place));
    case FaultKind::kPartition:
      return std::make_unique<Partition>(std::move(place));
    case FaultKind::kSlowDisk:
      return std::make_unique<SlowDisk>(std::move(place));
    case FaultKind::kMembership:
      return std::make_unique<Membership>(std::move(place));
    case FaultKind::kTransfer:
      return std::make_unique<Transfer>(std::move(place));
    case FaultKind::kMove:
      return std::make_unique<Move>(std::move(place));
    case FaultKind::kCheckpointFetch:
      return std::make_unique<CheckpointFetch>(std::move(place));
  }
  return nullptr;
}

std::string LeaderOf(MiniCluster& cluster, std::string_view shard) {
  const auto found = Find(cluster, shard);
  if (!found.ok()) return "";
  for (const std::string& replica : ReplicasOf(cluster, shard)) {
    if (cluster.Endpoint(replica) == found->leader_endpoint()) return replica;
  }
  return "";
}

absl::Status AwaitUpToDate(MiniCluster& cluster, std::string_view shard, std::string_view replica) {
  TERRANE_ASSIGN_OR_RETURN(const tools::ProcessInfo info, cluster.processes().Process(replica));
  // What the leader has applied, as it says in a heartbeat of its own of after the begin.
  uint64_t goal = 0;
  std::optional<int64_t> first_heartbeat;
  const bool there = Await(
      [&] {
        const auto found = Find(cluster, shard);
        if (!found.ok()) return false;
        if (!first_heartbeat) first_heartbeat = found->last_heartbeat_ms();
        if (found->last_heartbeat_ms() == *first_heartbeat) return false;
        const v1::ReplicaStatus* own = nullptr;
        uint64_t leader = 0;
        for (const auto& status : found->statistics().replicas()) {
          if (status.leader()) leader = status.applied();
          if (status.replica_id() == info.process.replica) own = &status;
        }
        if (goal == 0) goal = leader;
        return goal > 0 && own != nullptr && !own->learner() && own->silent_ms() < 500 && own->applied() >= goal;
      },
      seconds(60));
  return there ? absl::OkStatus() : Late(StrCat(replica, " is not up to date"));
}

}  // namespace terrane::testing
