// A replica of a Raft group of the simulated system: the host of a real core, as src/replication is for real processes.
// Persists, syncs, applies, sends, fetches checkpoints; a crash loses what was not synced.
#pragma once

#include <any>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "raft/core.h"
#include "raft/invariants.h"
#include "replication/replicated_log.h"
#include "simulation/raft_disk.h"
#include "simulation/raft_ledger.h"
#include "simulation/system_world.h"

namespace terrane::simulation {

class RaftReplica;

// What a group is made of, and the ledger that knows all that its replicas ever did.
struct RaftGroup {
  std::string name;
  std::vector<RaftReplica*> replicas;  // replica i has id i + 1
  raft::RaftLedger ledger;
  raft::Configuration founders;
  uint64_t cut_permille = 500;  // how often the log is cut when the state was made durable
  Position applied;             // greatest anywhere: what is applied for the first time is seen by the system's ledger
};

class RaftReplica : public Process {
 public:
  using ProposeDone = std::function<void(replication::ProposeResult)>;

  RaftReplica(World* world, RaftGroup* group, std::string name);
  // Before the first Boot: founders of the group.
  void Format();

  RaftGroup& group() const { return group_; }
  raft::Core* core() { return core_ ? &*core_ : nullptr; }
  const raft::Core* core() const { return core_ ? &*core_ : nullptr; }

  // ---- as replication::ReplicatedLog ----
  void Propose(Term term, std::string data, ProposeDone done);
  // May read, latch and propose in `term()`.
  bool Serving() const;
  Term term() const { return core_->term(); }
  bool HasLease() const;
  // OK once a read that began before this call is linearizable here.
  void ReadIndex(std::function<void(absl::Status)> done);
  // Name of the replica that leads, as far as known; "".
  std::string LeaderHint() const;
  void Transfer();

  // Makes the state durable and perhaps cuts the log.
  void SyncData(bool cut, uint64_t slack);
  void SlowDisk(Time until) { disk_slow_until_ = until; }
  bool DiskIsBusy() const { return disk_.HasPending(); }

  void OnKill() override;
  void OnBoot() override;

 protected:
  // ---- what a group replicates ----
  // Of the present life.
  virtual replication::StateMachine* machine() = 0;
  // Makes the machine of a new life from what survived; returns what it has applied.
  virtual Position OpenMachine() = 0;
  // This life is over. `power`: of what is not durable a prefix survives, else nothing.
  virtual void CloseMachine(bool power) = 0;
  // The state now, for a peer; and a peer's, in place of ours. Not durable before MakeDurable.
  virtual std::shared_ptr<const void> Checkpoint() = 0;
  virtual absl::Status Install(const std::shared_ptr<const void>& checkpoint) = 0;
  // Applied for the first time in the group, with what came of it.
  virtual void FirstApplied(const raft::Entry& entry, const replication::ApplyResult& result) = 0;
  // Apply stopped at `entry`, because something must be fetched first; calls `again`, later, when it is here. False: it
  // is an error.
  virtual bool FetchForApply(const raft::Entry& entry, const absl::Status& status, std::function<void()> again) = 0;
  // Now and then.
  virtual void Upkeep() {}

 private:
  struct Pending {
    Position position;
    Term term;
    ProposeDone done;
  };
  // An entry to apply, with its proposal if it is of here; or something to be run between entries.
  struct Item {
    std::optional<raft::Entry> entry;
    std::optional<Pending> proposal;
    std::function<void()> task;
  };
  struct Fetched {
    std::shared_ptr<const void> state;
    Position applied;
    Term term;
    raft::Configuration configuration;
  };

  void AfterStep();
  void ScheduleUpkeep();
  void TakeReady();
  void ScheduleTick();
  void Post(const raft::Message& message);
  void Deliver(const raft::Message& message);
  void Fetch(const raft::Message& message);
  void FetchedCheckpoint(raft::Message message, const absl::StatusOr<Fetched>& fetched);
  void StartDisk();
  void DiskDone(uint64_t writes);
  void PushTask(std::function<void()> task);
  void ScheduleApply();
  void ApplySome();
  void ApplyEntries(size_t count);
  void NoteRole(const raft::RoleChange& role);
  void FlushPending();
  void AnnounceLeader();
  void Check(const char* broken);
  RaftReplica* Find(raft::ReplicaId id) { return group_.replicas[id.value() - 1]; }

  RaftGroup& group_;
  const raft::ReplicaId id_;
  raft::SimulatedDisk disk_;
  Time disk_slow_until_{0};

  // Of this life.
  std::optional<raft::Core> core_;
  raft::InvariantChecker checker_;
  std::deque<Item> items_;
  bool apply_scheduled_ = false;
  bool apply_waits_ = false;  // for a fetch
  bool disk_busy_ = false;
  bool installing_ = false;  // a checkpoint that was installed is not in the log yet
  Time tick_at_{Time::max()};
  std::deque<Pending> pending_;
  std::optional<Term> leading_term_;
  std::optional<Term> served_term_;
  std::map<uint64_t, std::function<void(absl::Status)>> reads_;
  std::multimap<Position, std::function<void()>> when_applied_;
  uint64_t next_read_ = 0;
  std::optional<Fetched> fetched_;
  bool fetching_ = false;
  Position seen_commit_;
  Term led_term_;
};

}  // namespace terrane::simulation
