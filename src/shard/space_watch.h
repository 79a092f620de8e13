// A leader whose disk is below its reserve hands leadership on to a replica that has space: one full disk takes one
// replica out, not the shard. Only when no voter that answers has space are writes refused (RESOURCE_EXHAUSTED).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "shard/peer_replicas.h"
#include "shard/periodic.h"
#include "storage/store.h"

namespace terrane::shard {

// Thread-safe.
class SpaceWatch {
 public:
  struct Options {
    std::function<bool()> leads;                       // on any thread, as the next one
    std::function<std::vector<PeerReplica>()> others;  // without this one
    std::function<absl::StatusOr<storage::DiskUsage>()> disk;
    std::function<absl::StatusOr<uint64_t>(const PeerReplica&)> free_bytes;  // of its disk; may block
    std::function<absl::Status(ReplicaId)> hand_on;                          // does not block
    Clock* clock = Clock::System();
    std::chrono::milliseconds interval{1000};
  };

  // Calls on a thread of its own, but where it says otherwise.
  explicit SpaceWatch(Options options);
  ~SpaceWatch() { Stop(); }

  // The disk has no room for a write of so many bytes. True: another replica has, or is being asked; the write should
  // look for another leader. False: of late none had. Does not block.
  bool MayHandOn(uint64_t needed);
  // Waits for the round under way. Idempotent.
  void Stop() { loop_->Stop(); }

 private:
  void Run();
  bool HandOn(const storage::DiskUsage& usage, uint64_t needed);

  const Options options_;
  std::mutex mutex_;
  std::optional<uint64_t> needed_;           // by a write that had no room since the last round
  std::optional<MonotonicTime> nobody_had_;  // when that was found last
  std::unique_ptr<Periodic> loop_;           // last: it calls Run
};

}  // namespace terrane::shard
