// The whole system under one seed: Raft groups of shards and of the metadata service, the shards' state machines, the
// metadata state with its coordinator, proxies and clients, in one thread and virtual time. Equal seeds give equal
// runs.
//
// Real: raft::Core; shard::Applier with Ownership, over a store in memory; the export of segments, oplog and hashes;
// fetching of segments, ImportTail, RepairRange, EntryForOutcome; metadata::State; migration::CoordinatorLoop with
// NextStep and all stages; rpc::LeaderTracker; routing::RouteTable; proxy::HoldQueue and Decide. Written anew, because
// the product's have threads: the hosts around them (system_raft.h, system_shard.h, system_import.h,
// system_metadata.h, system_proxy.h).
//
// What is checked is in system_ledger.h. docs/development.md tells how to work with it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace terrane::simulation {

struct SystemOptions {
  uint64_t seed = 1;
  int64_t fault_ms = 2500;  // virtual time before the faults end
  bool moves = true;
  bool faults = true;
  bool trace = false;  // what happens, on stderr
  // The hash after each event is put at the end of `record`; a run that differs from `expect` fails where it does.
  std::vector<uint64_t>* record = nullptr;
  const std::vector<uint64_t>* expect = nullptr;
};

// Named rare paths and how often they were met. A run that never met one has not tested it.
class Probes {
 public:
  // The names that there are; a hit of another one is a mistake of ours.
  static const std::vector<std::string>& Names();
  void Hit(const char* name, uint64_t times = 1) { hits_[name] += times; }
  uint64_t Count(const std::string& name) const;
  void Add(const Probes& other);
  std::vector<std::string> NeverHit() const;
  // A table of all.
  std::string ToString(uint64_t seeds) const;

 private:
  std::map<std::string, uint64_t, std::less<>> hits_;
};

struct SystemResult {
  std::string failure;  // empty: all held, and everything went on when the faults had ended
  Probes probes;
  uint64_t trace_hash = 0;  // of everything that happened
  uint64_t events = 0;
};

SystemResult RunSystemSimulation(const SystemOptions& options);

// How to run this seed again, message by message.
std::string ReplayCommand(const SystemOptions& options);

}  // namespace terrane::simulation
