// A node of the simulated metadata service: the real State behind a real Raft core; its leader runs the real
// coordinator. Written as src/metadata's node, state machine and services are.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "metadata/state.h"
#include "metadata/watch_hub.h"
#include "migration/coordinator_loop.h"
#include "rpc/leader_tracker.h"
#include "simulation/system_raft.h"

namespace terrane::simulation {

struct SimulatedSystem;
class Proxy;

class MetaNode final : public RaftReplica, public migration::MetadataGateway, public migration::ShardGateway {
 public:
  template <typename R>
  using Reply = std::function<void(absl::StatusOr<R>)>;

  MetaNode(SimulatedSystem* system, RaftGroup* group, std::string name);
  ~MetaNode() override;

  const metadata::State& state() const;
  // What its coordinator waits for.
  std::string DescribeMoves();

  // ---- what it serves; NOT_LEADER if it does not lead ----
  void GetRoutes(Reply<v1::WatchEvent> reply);
  void GetMigration(uint64_t id, Reply<v1::GetMigrationResponse> reply);
  void ShardHeartbeat(Reply<v1::ShardHeartbeatResponse> reply);
  // A command with a request id; an unknown outcome is UNAVAILABLE with OUTCOME_UNKNOWN: ask again.
  void Commit(v1::MetadataCommand command, Reply<v1::CommandResult> reply);
  // Splits the chunk that holds `at`, there: on the shard first, then here.
  void Split(uint32_t collection, std::string at, Reply<v1::CommandResult> reply);
  // Sends deltas behind `from` to the proxy until it is asked again.
  void Watch(Proxy* proxy, uint64_t stream, uint64_t from);

 protected:
  replication::StateMachine* machine() override;
  Position OpenMachine() override;
  void CloseMachine(bool power) override;
  std::shared_ptr<const void> Checkpoint() override;
  absl::Status Install(const std::shared_ptr<const void>& checkpoint) override;
  void FirstApplied(const raft::Entry& entry, const replication::ApplyResult& result) override;
  bool FetchForApply(const raft::Entry&, const absl::Status&, std::function<void()>) override { return false; }

 private:
  class Machine;
  class Loop;
  struct Durable {
    Position applied;
    v1::MetadataState state;
  };
  struct Stream {
    Proxy* proxy = nullptr;
    uint64_t id = 0;
    uint64_t sent = 0;
    std::unique_ptr<metadata::WatchHub::Subscription> subscription;
  };

  void Barrier(std::function<void(absl::Status)> then);
  absl::Status CheckLeader() const;
  void Pump();
  // A new leader begins, or stops, its tasks.
  void LeaderStarts(Term term);
  void LeaderStops();
  void Applied(const std::vector<metadata::Applied>& applied);

  // migration::MetadataGateway
  std::vector<v1::Migration> ActiveMigrations() override;
  std::optional<v1::Migration> FindMigration(MigrationId id) override;
  absl::StatusOr<migration::MoveContext> ContextOf(const v1::Migration& record) override;
  std::string Setting(const std::string& name) override;
  void Propose(Term term, v1::MetadataCommand command,
               std::function<void(absl::StatusOr<v1::CommandResult>)> done) override;
  // migration::ShardGateway
  void Send(const std::string& shard, const migration::StepRequest& request, std::chrono::milliseconds timeout,
            std::function<void(absl::StatusOr<migration::StepAnswer>)> done) override;
  void Describe(const std::string& shard, std::chrono::milliseconds timeout,
                std::function<void(absl::StatusOr<v1::DescribeResponse>)> done) override;
  void Audit(const std::string& shard, const v1::AuditRequest& request, std::chrono::milliseconds timeout,
             std::function<void(absl::StatusOr<v1::AuditResponse>)> done) override;

  SimulatedSystem& system_;
  std::shared_ptr<const Durable> durable_ = std::make_shared<const Durable>();

  // Of this life.
  std::unique_ptr<Machine> machine_;
  std::shared_ptr<migration::LoopHost> loop_host_;
  std::shared_ptr<migration::CoordinatorLoop> coordinator_;
  std::map<std::string, rpc::LeaderTracker> trackers_;  // of shards
  std::map<std::string, Stream> streams_;               // by the proxy's name
  bool pumping_ = false;
  std::set<std::string> splitting_;  // range.min of chunks that are being split
};

}  // namespace terrane::simulation
