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
  // Retry records looked at in one step.
  size_t retries_per_step = 20000;
};

// One thread; reads from the disk and, for retries, waits for the log.
class Retention {
 public:
  Retention(const Core* core, RetentionOptions options) : core_(core), options_(options) {}

  // Allows the applier to trim what is older than the age or makes the oplog larger than it may be. Pins hold it there.
  void TrimOplog();

  // Looks at some more records of the chunks that are owned here and logs the removal of expired ones. Only the leader
  // does; a copy that follows gets it by the stream (trap T23). Returns how many were removed.
  size_t ExpireRetries();

 private:
  Position OldestYoungerThan(int64_t wall_ms) const;
  size_t ExpireIn(const OwnedChunk& chunk, int64_t now_ms);

  const Core* const core_;
  const RetentionOptions options_;
  // Where the next look at a chunk begins: shard key by (copy, range.min).
  std::map<std::pair<CopyId, std::string>, std::string> resume_;
};

}  // namespace terrane::shard
