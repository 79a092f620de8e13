#include "simulation/system_simulation.h"

#include <algorithm>
#include <cstdio>

#include "simulation/system.h"

namespace terrane::simulation {

SystemResult RunSystemSimulation(const SystemOptions& options) {
  return SimulatedSystem(options).Run();
}

std::string ReplayCommand(const SystemOptions& options) {
  return StrCat("./dev simulate --seed ", options.seed, " --trace");
}

const std::vector<std::string>& Probes::Names() {
  static const std::vector<std::string> names = {
      "write acknowledged",
      "read answered",
      "read under the lease",
      "read by read index",
      "client tries again",
      "a retry found its record",
      "write refused at apply",
      "leader elected",
      "leadership transfer",
      "proposal of an older term refused",
      "proposal with unknown outcome",
      "log truncated",
      "log cut",
      "checkpoint installed",
      "stalled disk",
      "crash with writes of the log lost",
      "replica killed",
      "partition",
      "process stopped for a while",
      "a promise to a leader is forgotten",
      "wall clock jumped",
      "fault aimed at a step of a move",
      "a replica is dead for ever",
      "move begun",
      "abort asked for",
      "ended moves forgotten",
      "ended moves forgotten by a shard",
      "F",
      "G",
      "K",
      "F with an old token refused",
      "G without its fence refused",
      "K refused: cursor elsewhere",
      "K was proposed and its leader lost office",
      "a fence met a leader change",
      "K met a leader change",
      "end of attempt after K",
      "commit outcome unknown",
      "attempt ended, at a shard",
      "move ended by abort, at a shard",
      "move committed",
      "move committed after an ended attempt",
      "step of an ended attempt refused",
      "a shard asked what became of a switch",
      "served by proof",
      "segment refused at apply because of its position",
      "segment that is in already",
      "segment file fetched at apply",
      "segment damaged on its way",
      "batch of the tail refused: a hole",
      "batch of the tail that is in already",
      "range repaired",
      "repair refused because of its position",
      "an open range is begun again",
      "a follower exported",
      "chunk split",
      "split that nobody finished is ended",
      "stale route",
      "request ahead of its shard",
      "request refused by a fence",
      "refusal by a fence that is over",
      "route learned from a refusal",
      "proxy held a request",
      "proxy held and released by a commit",
      "proxy held and released by the end of an attempt",
      "hold expired",
  };
  return names;
}

uint64_t Probes::Count(const std::string& name) const {
  auto found = hits_.find(name);
  return found == hits_.end() ? 0 : found->second;
}

void Probes::Add(const Probes& other) {
  for (const auto& [name, count] : other.hits_) hits_[name] += count;
}

std::vector<std::string> Probes::NeverHit() const {
  std::vector<std::string> never;
  for (const std::string& name : Names()) {
    if (Count(name) == 0) never.push_back(name);
  }
  return never;
}

std::string Probes::ToString(uint64_t seeds) const {
  std::string out;
  auto line = [&](const std::string& name) {
    char buffer[120];
    const uint64_t count = Count(name);
    std::snprintf(buffer, sizeof(buffer), "%-52s %10llu   %9.3f a seed\n", name.c_str(),
                  static_cast<unsigned long long>(count), static_cast<double>(count) / static_cast<double>(seeds));
    out += buffer;
  };
  for (const std::string& name : Names()) line(name);
  for (const auto& [name, count] : hits_) {
    if (std::find(Names().begin(), Names().end(), name) == Names().end()) line("(not in the list) " + name);
  }
  return out;
}

}  // namespace terrane::simulation
