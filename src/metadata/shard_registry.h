// What the leader of the metadata service hears from shards: who leads them, how they are. In memory only; a new leader
// knows again within a second.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "common/clock.h"
#include "terrane/v1/metadata.pb.h"

namespace terrane::metadata {

// A shard that has not been heard of for longer is reported as a problem.
inline constexpr std::chrono::seconds kShardSilence(3);

// Thread-safe.
class ShardRegistry {
 public:
  explicit ShardRegistry(Clock* clock) : clock_(clock), listening_since_(clock->Now()) {}

  struct Report {
    std::string leader_endpoint;
    v1::ShardStatistics statistics;
    MonotonicTime heard{0};
    WallTime heard_wall{0};
  };

  // The shard has just registered: a heartbeat is to be expected from now on.
  void Registered(const std::string& shard);
  // True: the shard's leader is another one than before.
  bool Heard(const v1::ShardHeartbeatRequest& heartbeat);
  std::optional<Report> Find(const std::string& shard) const;
  // Since when nothing was heard of it: its last heartbeat, or, without one, its registration here or the moment when
  // this node began to listen.
  MonotonicTime SilentSince(const std::string& shard) const;
  // Fills in what is not replicated.
  void Decorate(v1::Shard* shard) const;
  // The same for people. Of a shard that has been silent for kShardSilence nobody is known to lead, and what was heard
  // is of then: its replicas were heard of (silent_ms) so much longer ago, also the one that led.
  void Describe(v1::Shard* shard) const;
  // Others led until now, or will lead: what was heard is of no use any more, and shards have time to be heard of.
  void Clear();

 private:
  Clock* const clock_;
  mutable std::mutex mutex_;
  std::map<std::string, Report> reports_;
  std::map<std::string, MonotonicTime> registered_;
  MonotonicTime listening_since_;
};

}  // namespace terrane::metadata
