#include "simulation/raft_simulation.h"

#include <cstdio>

#include "simulation/raft_world.h"

namespace terrane::raft {

SimulationResult RunRaftSimulation(const SimulationOptions& options) {
  return World(options).Run();
}

std::string ReplayCommand(const SimulationOptions& options) {
  std::string command = "./dev simulate --raft --first " + std::to_string(options.seed) + " --seeds 1 --steps " +
                        std::to_string(options.steps_min);
  if (options.nodes != 0) command += " --nodes " + std::to_string(options.nodes);
  return command + " --trace";
}

void SimulationCounts::Add(const SimulationCounts& other) {
  seeds += other.seeds;
  steps += other.steps;
  leader_changes += other.leader_changes;
  crashes += other.crashes;
  crashes_with_loss += other.crashes_with_loss;
  partitions += other.partitions;
  transfers += other.transfers;
  stalls += other.stalls;
  truncations += other.truncations;
  snapshots_installed += other.snapshots_installed;
  configurations += other.configurations;
  configurations_undone += other.configurations_undone;
  stopped_with_no_op_alone += other.stopped_with_no_op_alone;
  stopped_with_older_on_majority += other.stopped_with_older_on_majority;
  acknowledged += other.acknowledged;
  stale_proposals_refused += other.stale_proposals_refused;
  index_reads += other.index_reads;
  lease_reads += other.lease_reads;
  follower_reads += other.follower_reads;
}

std::string SimulationCounts::ToString() const {
  std::string out;
  auto line = [&](const char* name, uint64_t value) {
    char buffer[100];
    std::snprintf(buffer, sizeof(buffer), "%-26s %12llu   %8.2f a seed\n", name, static_cast<unsigned long long>(value),
                  seeds == 0 ? 0.0 : static_cast<double>(value) / static_cast<double>(seeds));
    out += buffer;
  };
  line("steps", steps);
  line("leader changes", leader_changes);
  line("crashes", crashes);
  line("crashes with lost writes", crashes_with_loss);
  line("partitions", partitions);
  line("transfers", transfers);
  line("disk stalls", stalls);
  line("truncations", truncations);
  line("snapshots installed", snapshots_installed);
  line("configurations", configurations);
  line("configurations undone", configurations_undone);
  line("stopped, no-op alone", stopped_with_no_op_alone);
  line("stopped, older on majority", stopped_with_older_on_majority);
  line("acknowledged writes", acknowledged);
  line("stale proposals refused", stale_proposals_refused);
  line("index reads", index_reads);
  line("lease reads", lease_reads);
  line("follower reads", follower_reads);
  return out;
}

}  // namespace terrane::raft
