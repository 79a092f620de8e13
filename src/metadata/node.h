// One node of the metadata service: the replicated state, and what its services and tasks need of it. The frontends
// (collection_frontend.h, chunk_frontend.h) validate and propose through it, the backends make reality follow.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/clock.h"
#include "metadata/shard_registry.h"
#include "metadata/state_machine.h"
#include "migration/metadata_gateway.h"
#include "migration/shard_gateway.h"
#include "replication/replicated_log.h"
#include "rpc/channel.h"

namespace terrane::metadata {

// The status that a result stands for, with its ErrorDetail.
absl::Status ToStatus(const v1::CommandResult& result);

// Thread-safe.
class Node : public migration::MetadataGateway {
 public:
  struct Options {
    Clock* clock = Clock::System();
    ReplicaId replica{1};
    std::vector<replication::Member> members;  // addresses are those of the services too
  };

  // `machine` outlives it.
  Node(Options options, MetadataStateMachine* machine);
  ~Node() override;
  // Once. The log's threads may be running already: whoever needs the log waits for it.
  void SetLog(replication::ReplicatedLog* log) {
    log_ = log;
    log_.notify_all();
  }
  // Where this node really listens, once that is known (its member may say port 0).
  void SetAddress(std::string address);
  std::string AddressOf(const replication::Member& member) const;
  // For steps on shards. Once, before anything else is called.
  void SetShards(migration::ShardGateway* shards) { shards_ = shards; }

  MetadataStateMachine& machine() { return *machine_; }
  ShardRegistry& registry() { return registry_; }
  migration::ShardGateway& shards() { return *shards_; }
  replication::ReplicatedLog& log() const {
    log_.wait(nullptr);
    return *log_;
  }
  Clock* clock() const { return options_.clock; }
  const Options& options() const { return options_; }

  template <typename Fn>
  auto Read(Fn fn) const {
    return machine_->Read(std::move(fn));
  }

  // ---- blocking: for workers ----
  // OK if everything that was acknowledged anywhere before the call is applied here. kUnavailable with NOT_LEADER and
  // who leads, if it is not this node.
  absl::Status Barrier(MonotonicTime deadline);
  // Proposes and waits until it is applied. The result's refusal becomes the status.
  //   kUnavailable with NOT_LEADER     nothing happened
  //   kUnavailable, OUTCOME_UNKNOWN    it may be applied some day; the same command with the same request_id again
  //                                    answers as the first time. Without a request_id: kAborted.
  absl::StatusOr<v1::CommandResult> Commit(v1::MetadataCommand command, MonotonicTime deadline);

  // kUnavailable with NOT_LEADER unless this node leads and is ready. Cheap, not linearizable.
  absl::Status CheckLeader() const;

  // Endpoints of a shard's replicas, leader first.
  std::vector<std::string> Endpoints(const std::string& shard) const;

  // ---- migration::MetadataGateway ----
  std::vector<v1::Migration> ActiveMigrations() override;
  std::optional<v1::Migration> FindMigration(MigrationId id) override;
  absl::StatusOr<migration::MoveContext> ContextOf(const v1::Migration& record) override;
  std::string Setting(const std::string& name) override;
  void Propose(Term term, v1::MetadataCommand command,
               std::function<void(absl::StatusOr<v1::CommandResult>)> done) override;

 private:
  const Options options_;
  MetadataStateMachine* const machine_;
  std::atomic<replication::ReplicatedLog*> log_ = nullptr;
  migration::ShardGateway* shards_ = nullptr;
  ShardRegistry registry_;
  mutable std::mutex address_mutex_;
  std::string address_;  // empty: as the member says
};

}  // namespace terrane::metadata
