// Faults and upkeep of one shard of a mini cluster, each of which lasts from Begin to Stop, so that two can be laid
// over each other.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "support/mini_cluster.h"

namespace terrane::testing {

enum class FaultKind {
  kKill,             // the victim is killed, and down until the end
  kPause,            // the victim is stopped, and goes on at the end
  kPartition,        // nothing passes between the victim and the other replicas
  kSlowDisk,         // each sync of the victim takes longer
  kMembership,       // replicas are added and removed, one after the other
  kTransfer,         // leadership is handed on, again and again
  kMove,             // a chunk moves to another shard and back
  kCheckpointFetch,  // the victim is wiped, and fetches its data from its peers; again when it has it
};
inline constexpr std::array kFaultKinds = {FaultKind::kKill,     FaultKind::kPause,          FaultKind::kPartition,
                                           FaultKind::kSlowDisk, FaultKind::kMembership,     FaultKind::kTransfer,
                                           FaultKind::kMove,     FaultKind::kCheckpointFetch};
std::string_view NameOf(FaultKind kind);
// Whether it happens to one replica.
bool HasVictim(FaultKind kind);

struct FaultPlace {
  MiniCluster* cluster = nullptr;  // started with .network, .disk_faults
  std::string shard;               // the one it happens to
  std::string other_shard;         // where a chunk goes and comes back from
  std::string collection;          // whose only chunk moves
  std::string victim;              // name of the process, if HasVictim
  // Replicas that something else has in its hands: leadership is not handed to them.
  std::vector<std::string> avoid;
};

// Two objects in two threads do not disturb each other. Of one object: one thread.
class ShardFault {
 public:
  virtual ~ShardFault() = default;  // after Settle
  // Returns when it is under way.
  virtual absl::Status Begin() = 0;
  // Its cause is gone: nothing new is begun.
  virtual absl::Status Stop() = 0;
  // Returns when what was begun is done: the victim has all data again, the chunk is on its shard, the replicas are
  // those of before.
  virtual absl::Status Settle() = 0;
  // How many changes, transfers, moves or fetches were done so far; one that lasts counts none.
  virtual int64_t rounds() const { return 0; }
};
std::unique_ptr<ShardFault> MakeShardFault(FaultKind kind, FaultPlace place);

// Replica of the shard that leads, as the metadata service knows; "" if it does not.
std::string LeaderOf(MiniCluster& cluster, std::string_view shard);
// Blocks until the replica votes and has applied what the leader had when this began. kDeadlineExceeded after a minute.
absl::Status AwaitUpToDate(MiniCluster& cluster, std::string_view shard, std::string_view replica);

}  // namespace terrane::testing
