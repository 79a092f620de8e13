// What the parts of a shard server share. Owned by ShardServer (or a test); plain pointers that outlive their users.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/executor.h"
#include "common/histogram.h"
#include "shard/applier.h"
#include "shard/early_writes.h"
#include "shard/latches.h"
#include "shard/proposer.h"
#include "storage/store.h"

namespace terrane::shard {

// What was asked of this replica since its start; for statistics.
struct OperationCounts {
  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> writes{0};
  Histogram foreground_us;  // how long requests for documents took, of late
};

struct Core {
  std::string shard;  // own name
  Clock* clock = Clock::System();
  storage::Store* store = nullptr;
  Applier* applier = nullptr;
  Proposer* proposer = nullptr;
  Latches* latches = nullptr;
  EarlyWrites* early_writes = nullptr;
  Executor* executor = nullptr;  // for requests
  OperationCounts* counts = nullptr;
  // A request knew more than the shard: somebody should ask the metadata service now. Must not block.
  std::function<void()> ask_metadata;
  // The disk has no room for a write of so many bytes: whether another replica may take it, so that the client should
  // look for another leader (space_watch.h). Null: none. Must not block.
  std::function<bool(uint64_t needed)> hand_on_for_space;
  // How long a retry record is kept.
  std::chrono::milliseconds retry_lifetime{std::chrono::minutes(30)};
};

// What an operation may know of its call.
struct CallState {
  std::optional<MonotonicTime> deadline;
  std::function<bool()> cancelled;  // null: cannot be

  // kDeadlineExceeded or kCancelled when nobody waits for the answer any more. Asked before work, and within long work.
  absl::Status Check(const Clock& clock) const {
    if (cancelled && cancelled()) return absl::CancelledError("the call was cancelled");
    if (deadline && clock.Now() >= *deadline) return absl::DeadlineExceededError("the deadline has passed");
    return absl::OkStatus();
  }
};

// Ends an operation; exactly once, on any thread.
using DoneCallback = std::function<void(absl::Status)>;

}  // namespace terrane::shard
