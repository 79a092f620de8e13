// One run of clients and moves over two shards whose power is cut again and again.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "power_world.h"

namespace terrane::shard {

// A sync that is left out on purpose: the run has to find it.
enum class PlantedMistake {
  kNone,
  kLogFile,     // of the replicated log's files
  kStoreWal,    // of RocksDB's write-ahead log
  kStoreTables  // of its table files: flushes, compactions, segments
};

struct PowerReport {
  std::vector<std::string> findings;  // what is wrong; empty: nothing
  int cuts = 0;
  int cuts_while_starting = 0;
  std::array<int, kMoveStages> cuts_in{};  // by stage of the move
  int moves = 0;
  int aborted = 0;
  int attempts_ended = 0;
  uint64_t acknowledged = 0;
  uint64_t repeated = 0;

  void operator+=(const PowerReport& other);
};

// Ends after `cuts` power cuts, or at the first finding. Threads run freely, so a seed gives the same plans and
// choices, not the same interleaving.
PowerReport RunWithPowerCuts(uint64_t seed, int cuts, PlantedMistake mistake);

}  // namespace terrane::shard
