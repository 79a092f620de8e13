// How entries get into the shard's log: with a hybrid time that grows along it.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/ids.h"
#include "replication/replicated_log.h"
#include "shard/applier.h"
#include "shard/hybrid_clock.h"
#include "shard/ownership.h"
#include "terrane/v1/shard_log.pb.h"

namespace terrane::shard {

// Thread-safe.
class Proposer {
 public:
  // Whom to name in NOT_LEADER; may be null, and may return "".
  using LeaderEndpoint = std::function<std::string()>;

  // `hybrid` and `applier` outlive it.
  Proposer(HybridClock* hybrid, const Applier* applier, LeaderEndpoint leader_endpoint)
      : hybrid_(hybrid), applier_(applier), leader_endpoint_(std::move(leader_endpoint)) {}

  // The log is opened with the state machine, and perhaps after the services: until then nobody leads.
  void SetLog(replication::ReplicatedLog* log) { log_.store(log); }

  // While false, nobody leads here: a shard of one asks the metadata service before it serves (trap T51).
  void SetAdmitted(bool admitted) { admitted_ = admitted; }

  // The term to propose in, if this replica may read, latch and propose now; else NOT_LEADER.
  absl::StatusOr<Term> ServingTerm() const;
  // Null until SetLog; not null where ServingTerm() was OK.
  replication::ReplicatedLog* log() const { return log_.load(std::memory_order_acquire); }

  // HybridClock::Wall of the log.
  WallTime LogWall() { return hybrid_->Wall(); }

  // `done` as for ReplicatedLog::Propose: once, on the apply thread. `entry.hybrid_time` is set here.
  // `synced` as there too, for a write that is certain not to be refused when its turn comes: the gate serves all its
  // keys now, and no entry is ahead of it and not applied that may change what the gate says (a fence, or a write that
  // brings a greater token). For any other it is not called.
  void Propose(Term term, terrane::v1::ShardEntry entry, std::function<void(replication::ProposeResult)> done,
               std::function<void()> synced = nullptr);

  // An ownership entry, in the present term; `done` once, on the apply thread or right here, with what came of it (also
  // a refusal) or the error of the log as StatusOf() gives it. Does not block.
  void Propose(terrane::v1::ShardEntry entry, std::function<void(absl::StatusOr<EntryResult>)> done);

  // The same; blocks until it is applied or the time is over
  // (kDeadlineExceeded: it may still be applied). Not on the apply thread.
  absl::StatusOr<EntryResult> ProposeAndWait(terrane::v1::ShardEntry entry, std::chrono::nanoseconds timeout);

  // The error of a proposal for its caller: kNotInLog is NOT_LEADER (also when too much waits here: it may be sent
  // again after a pause), kUnknown is OUTCOME_UNKNOWN.
  absl::Status StatusOf(const replication::ProposeResult& result) const;

 private:
  absl::Status NotInLog(const absl::Status& why) const;
  // Whether the gate, as of what is applied, serves all keys of the write, and its token is the recorded one: then it
  // changes nothing of what the gate says, whatever is ahead of it, for a recorded token never goes back.
  bool Serves(const terrane::v1::WriteEntry& write) const;

  HybridClock* const hybrid_;
  const Applier* const applier_;
  const LeaderEndpoint leader_endpoint_;
  std::atomic<replication::ReplicatedLog*> log_{nullptr};
  std::atomic<bool> admitted_{true};
  std::mutex order_;  // from taking a time to the log's queue
  // Entries that may change what the gate says and were proposed and not applied or refused yet. Grows only under
  // order_; falls after the ownership is published. A leader of a new term has applied all of older ones.
  std::atomic<int64_t> gate_changes_{0};
};

}  // namespace terrane::shard
