// Fetches a checkpoint, over as many streams and from as many peers as it takes.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "replication/checkpoint_stream.h"
#include "replication/file_system.h"
#include "replication/transport.h"

namespace terrane::replication {

// One thread at a time. What a call has fetched in part stays, and the next one goes on with it.
class CheckpointFetch {
 public:
  struct Options {
    Transport* transport = nullptr;
    FileSystem* file_system = nullptr;
    Clock* clock = Clock::System();
    std::filesystem::path directory;  // made and emptied as needed
    // A peer that was good for something and does not answer any more is waited for that long before another is asked.
    std::chrono::milliseconds patience{10'000};
  };
  explicit CheckpointFetch(Options options) : options_(std::move(options)) {}

  // Returns a checkpoint at `at_least` or later, whole, checked and synced, in the directory, from the first of `peers`
  // that has one. A stream that breaks is gone on with at once; if that brings nothing, the call returns why, and the
  // next one goes on there while the peer may come back. Blocks.
  //   kResourceExhausted   the disk has no room for it; names disk, free and needed bytes
  //   kCancelled           soon after `*cancelled` becomes true
  absl::StatusOr<Checkpoint> Run(Position at_least, const std::vector<ReplicaId>& peers,
                                 const std::atomic<bool>* cancelled);
  // Removes what is there.
  absl::Status Discard();

  uint64_t received() const { return received_; }

 private:
  absl::Status FetchFrom(ReplicaId peer, Position at_least, const std::atomic<bool>* cancelled);
  absl::Status CheckSpace(uint64_t bytes) const;

  const Options options_;
  std::optional<CheckpointSink> sink_;  // something is there, in part
  ReplicaId from_;                      // where it comes from
  MonotonicTime progress_{0};           // when the last of it came
  std::atomic<uint64_t> received_{0};   // data, over all
};

}  // namespace terrane::replication
