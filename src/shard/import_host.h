// What an import needs of the shard that it runs in.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "shard/ownership.h"
#include "shard/peer_replicas.h"
#include "storage/store.h"
#include "terrane/v1/shard_log.pb.h"

namespace terrane::shard {

struct ImportHost {
  storage::Store* store = nullptr;
  // As last published: states, attempts and import progress are current. Thread-safe, never blocks.
  std::function<std::shared_ptr<const Ownership>()> ownership;
  // Puts an entry into the shard's log; `done` exactly once, on any thread: what came of it at apply, or why it did not
  // get there (or nobody knows). Does not block. Entries of one thread keep their order.
  std::function<void(terrane::v1::ShardEntry, std::function<void(absl::StatusOr<EntryResult>)> done)> propose;
  Clock* clock = Clock::System();
  // Replaces blocking, for hosts without threads: returns when `ready` is true or the time is over, and then what it
  // says. nullptr: the calling thread blocks.
  std::function<bool(const std::function<bool()>& ready, std::chrono::nanoseconds timeout)> await;
  // For looking at the other replicas' copies; each call makes one. Null: a shard of one.
  std::function<std::unique_ptr<PeerReplicas>()> peers;
  // Returns when a majority of the voters holds the files (SegmentFiles::HoldOnMajority). Null: a shard of one.
  std::function<absl::Status(const MoveRef&, CopyId, std::span<const storage::SegmentFile>,
                             const std::function<bool()>& cancelled)>
      hold;
};

struct Core;
ImportHost MakeImportHost(const Core* core);

// Proposes and waits. kDeadlineExceeded: it may still be applied. Refusals come as errors, as ToStatus() makes them; an
// entry that had taken effect before is fine.
absl::StatusOr<EntryResult> ProposeImportEntry(const ImportHost& host, terrane::v1::ShardEntry entry,
                                               const MoveRef& move);

// Starts now, is waited for later; for entries that follow each other closely.
class PendingEntry {
 public:
  PendingEntry(const ImportHost& host, terrane::v1::ShardEntry entry, const MoveRef& move);
  absl::StatusOr<EntryResult> Wait();

 private:
  struct State;
  bool AwaitResult();

  std::shared_ptr<State> state_;
  MoveRef move_;
  std::function<bool(const std::function<bool()>&, std::chrono::nanoseconds)> await_;
};

}  // namespace terrane::shard
