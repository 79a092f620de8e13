// A disk for one core in tests: what was synced survives a crash, what was only written may or may not.
#pragma once

#include <deque>
#include <utility>
#include <vector>

#include "raft/core.h"

namespace terrane::raft {

class SimulatedDisk {
 public:
  struct Write {
    uint64_t sequence = 0;
    std::optional<SnapshotReference> snapshot;
    std::optional<Position> truncate_from;
    std::vector<Entry> entries;
    std::optional<HardState> hard_state;
    std::vector<Message> messages;  // may go when it is synced
  };

  void Format(RestoredState state) { durable_ = std::move(state); }

  // Takes what a Ready wants persisted. REQUIRES: ready->sequence != 0.
  void Submit(Ready* ready) {
    pending_.push_back({ready->sequence, std::move(ready->snapshot), ready->truncate_from, std::move(ready->entries),
                        ready->hard_state, std::move(ready->messages_after_persist)});
  }
  bool HasPending() const { return !pending_.empty(); }
  size_t pending() const { return pending_.size(); }
  const Write& OldestPending() const { return pending_.front(); }

  // Syncs the oldest write and returns it.
  Write SyncOldest() {
    Write write = std::move(pending_.front());
    pending_.pop_front();
    Apply(write);
    return write;
  }

  // Power cut: of what was not synced, the first `kept` writes happen to have reached the platter.
  void Crash(size_t kept) {
    for (; kept > 0 && !pending_.empty(); --kept) SyncOldest();
    pending_.clear();
  }

  // Cuts the log up to an index that is synced.
  void Cut(const SnapshotReference& snapshot) {
    while (durable_.snapshot.index < snapshot.index) {
      durable_.snapshot.index = durable_.snapshot.index + 1;
      durable_.entries.erase(durable_.entries.begin());
    }
    durable_.snapshot = snapshot;
  }

  Position last() const { return durable_.snapshot.index + durable_.entries.size(); }
  Position base() const { return durable_.snapshot.index; }
  // What a start finds, for a state machine that is durable at `applied`.
  RestoredState Restore(Position applied) const {
    RestoredState state = durable_;
    state.applied = applied;
    return state;
  }

 private:
  void Apply(const Write& write) {
    if (write.snapshot) {
      durable_.snapshot = *write.snapshot;
      durable_.entries.clear();
    }
    if (write.truncate_from) {
      durable_.entries.resize(write.truncate_from->value() - durable_.snapshot.index.value() - 1);
    }
    durable_.entries.insert(durable_.entries.end(), write.entries.begin(), write.entries.end());
    if (write.hard_state) durable_.hard_state = *write.hard_state;
  }

  RestoredState durable_;
  std::deque<Write> pending_;
};

}  // namespace terrane::raft
