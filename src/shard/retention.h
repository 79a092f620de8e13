// What a shard forgets: oplog that nobody needs, retry records that have expired.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>

#include "shard/core.h"

namespace terrane::shard {

struct RetentionOptions {
  std::chrono::milliseconds oplog_age{std::chrono::hours(1)};
  uint64_t oplog_bytes = 1 << 30;
  // Trimming leaves a mark in the store each time, so it waits until it is worth one: by either measure.
  uint64_t trim_at_least = 1000;  // positions
  double trim_at_least_bytes = 64 << 20;
  // Retry records of a chunk that are looked at in one step.
  size_t retries_per_step = 20000;
};

// One thread; reads from the disk and, for retries, waits for the log.
class Retention {
 public:
  Retention(const Core* core, RetentionOptions options) : core_(core), options_(options) {}

  // Allows the applier to trim what is older than the age or makes the oplog larger than it may be. Pins hold it there.
  void TrimOplog();

  // Looks at some more records of the chunks that are owned here and logs the removal of those that have expired at
  // `now`, which somebody must have compared with other clocks (trap T44). Only the leader does; a copy that follows
  // gets it by the stream (trap T23). Returns how many were removed. Cheap where nothing can have expired yet.
  size_t ExpireRetries(WallTime now);
  // Whether the last ExpireRetries stopped in the middle of a chunk. Each write leaves a record: where many are
  // written, one step at a time would fall behind for ever.
  bool HasMoreToExpire() const;

 private:
  // A walk over the records of a chunk, again and again.
  struct Walk {
    std::string resume;       // where the first record stands that it has not seen (PlaceOf); "": from the beginning
    int64_t next_ms = 0;      // wall clock: nothing has expired before
    int64_t earliest_ms = 0;  // of the records that this round has seen and left
  };

  Position OldestYoungerThan(int64_t wall_ms) const;
  size_t ExpireIn(const OwnedChunk& chunk, int64_t now_ms);
  size_t Remove(const OwnedChunk& chunk, int64_t now_ms, terrane::v1::ExpireRetries* found);

  const Core* const core_;
  const RetentionOptions options_;
  std::map<std::pair<CopyId, std::string>, Walk> walks_;  // by copy and range.min
};

}  // namespace terrane::shard
