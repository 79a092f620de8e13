// What a shard tells the metadata service about itself with each heartbeat.
#pragma once

#include <chrono>
#include <mutex>

#include "shard/core.h"
#include "terrane/v1/metadata_state.pb.h"

namespace terrane::shard {

// Thread-safe; reads a few records from the disk.
class StatisticsCollector {
 public:
  explicit StatisticsCollector(const Core* core) : core_(core), since_(core->clock->Now()) {}

  // Rates and percentiles are those since the last call but at least a second ago.
  terrane::v1::ShardStatistics Collect();

 private:
  void AddReplicas(terrane::v1::ShardStatistics* statistics) const;
  void AddOplog(terrane::v1::ShardStatistics* statistics) const;
  void AddRates(terrane::v1::ShardStatistics* statistics);

  const Core* const core_;
  std::mutex mutex_;
  MonotonicTime since_;
  uint64_t reads_ = 0;
  uint64_t writes_ = 0;
  double reads_per_second_ = 0;
  double writes_per_second_ = 0;
  double p99_ms_ = 0;
};

}  // namespace terrane::shard
