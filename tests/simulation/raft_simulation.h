// Replicas of one Raft group as real cores over a simulated network, disk, clock and state machine. One seed decides
// everything: equal seeds give equal runs.
//
// The clients of the group read a register at a leader, compute the next value from it and propose that, as a shard
// does with a document under its latch; an entry that was computed from a value which is no longer there when it is
// applied is a lost update. They also read through read index and lease.
#pragma once

#include <cstdint>
#include <string>

namespace terrane::raft {

struct SimulationOptions {
  uint64_t seed = 1;
  int nodes = 0;              // founding voters: 3 or 5; 0 leaves it to the seed
  uint64_t steps_min = 2000;  // calls into cores before the faults end
  bool trace = false;         // what happens, on stderr
};

// What a run met: a run that never met something has not tested it.
struct SimulationCounts {
  uint64_t seeds = 0;
  uint64_t steps = 0;
  uint64_t leader_changes = 0;
  uint64_t crashes = 0;
  uint64_t crashes_with_loss = 0;  // of writes that were not synced
  uint64_t partitions = 0;
  uint64_t transfers = 0;
  uint64_t stalls = 0;
  uint64_t truncations = 0;
  uint64_t snapshots_installed = 0;
  uint64_t configurations = 0;            // proposed
  uint64_t configurations_undone = 0;     // removed with their entry
  uint64_t stopped_with_no_op_alone = 0;  // leaders, both halves of figure 8
  uint64_t stopped_with_older_on_majority = 0;
  uint64_t acknowledged = 0;
  uint64_t stale_proposals_refused = 0;
  uint64_t index_reads = 0;
  uint64_t lease_reads = 0;
  uint64_t follower_reads = 0;

  void Add(const SimulationCounts& other);
  // A table: total and average per seed.
  std::string ToString() const;
};

struct SimulationResult {
  std::string failure;  // empty: all invariants held and the group commits again after the faults
  SimulationCounts counts;
};

SimulationResult RunRaftSimulation(const SimulationOptions& options);

// How to run this seed again, for a failure's message.
std::string ReplayCommand(const SimulationOptions& options);

}  // namespace terrane::raft
