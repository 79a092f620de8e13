// The thread on which the state machine lives: applies committed entries, many at once, and runs callbacks.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "raft/types.h"
#include "replication/replicated_log.h"
#include "replication/state_machine.h"

namespace terrane::replication {

// A proposal that is in the log of this replica and not applied yet.
struct PendingProposal {
  Position position;
  Term term;
  std::function<void(ProposeResult)> done;
  std::function<void()> synced;  // until it was called; may be null
};

// Thread-safe.
class ApplyThread {
 public:
  struct Callbacks {
    // Everything up to `position` is applied and answered. On the apply thread.
    std::function<void(Position position)> applied;
    // The state machine cannot go on at `position` without a checkpoint; entries wait until SetApplied.
    std::function<void(Position position, absl::Status why)> needs_checkpoint;
    // The state machine failed; nothing is applied after it.
    std::function<void(absl::Status)> failed;
  };

  ApplyThread(StateMachine* machine, Position applied, uint64_t max_batch_bytes, Callbacks callbacks);
  ~ApplyThread();

  void Start();
  // Entries that follow on all that were pushed before. `proposals` have positions among them, ascending; one whose
  // term is not that of its entry was overwritten.
  void PushCommitted(std::vector<raft::Entry> entries, std::vector<PendingProposal> proposals);
  // Runs on the apply thread, in order with the entries pushed before and after.
  void PushTask(std::function<void()> task);
  // Runs on the apply thread as soon as `position` is applied.
  void WhenApplied(Position position, std::function<void()> task);
  // Runs what was pushed up to now, applies no more, and ends. Tasks that are pushed later, or wait for a position, are
  // run by the caller of Stop. Not from a callback.
  void Stop();
  // After this nothing is applied any more; tasks still run. For a log that has failed.
  void StopApplying();

  // Data of entries that were pushed and are not applied yet.
  uint64_t queued_bytes() const { return queued_bytes_; }
  Position applied() const { return Position(applied_.load(std::memory_order_acquire)); }
  // The state machine was replaced by a state at `position`. From a task only.
  void SetApplied(Position position);

 private:
  struct Item {
    std::vector<raft::Entry> entries;
    std::vector<PendingProposal> proposals;
    std::function<void()> task;  // or this
    uint64_t bytes = 0;          // of entries, as counted in queued_bytes_
  };

  void Run();
  void Apply(std::vector<Item> items);
  void Answer(std::vector<Item>* items, const std::vector<CommittedEntry>& batch, std::vector<ApplyResult>* results);
  void Drop(std::vector<Item> items);
  // What is applied already is dropped from the front of the items.
  void DropApplied(std::vector<Item>* items);
  void RunDue();

  StateMachine* const machine_;
  const uint64_t max_batch_bytes_;
  const Callbacks callbacks_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Item> items_;
  bool stop_ = false;
  std::atomic<bool> no_more_{false};
  bool held_up_ = false;    // apply thread only: a checkpoint is needed
  std::vector<Item> held_;  // entries that wait for it; apply thread only (Stop's caller after its end)
  std::atomic<uint64_t> applied_;
  std::atomic<uint64_t> queued_bytes_{0};
  std::multimap<Position, std::function<void()>> waiting_;  // apply thread only (Stop's caller after its end)
  std::thread thread_;
};

}  // namespace terrane::replication
