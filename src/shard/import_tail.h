// Follows the source's oplog: reads it from the cursor on, leaves out what the segments hold already, and proposes the
// rest with the source's positions, so that each change takes effect exactly once, whoever crashes.
#pragma once

#include <chrono>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shard/import_host.h"
#include "shard/import_source.h"
#include "shard/ownership.h"
#include "terrane/v1/shard.pb.h"
#include "terrane/v1/shard_log.pb.h"

namespace terrane::shard {

// One thread. After an error of any method call Refresh before the next one.
class ImportTail {
 public:
  // Both outlive it.
  ImportTail(const ImportHost* host, ImportSource* source) : host_(host), source_(source) {}

  // Goes on from the record of a copy whose segments are all in. Forgets what was read but not applied.
  void Refresh(const OwnedChunk& chunk, const MoveRef& move);

  // Reads what is there, waits up to `wait` if there is nothing, and applies it. kCancelled: interrupted.
  absl::Status Poll(std::chrono::milliseconds wait);
  // Until the record's cursor is exactly at `position`, which is not before read_to().
  absl::Status To(Position position);
  // Takes the rest up to the fence and proposes it and K together, so that both go out with one sync; waits for K.
  // DATA_LOSS with DIGEST_MISMATCH: source and target differ. kUnavailable: the step is not of the attempt that was
  // refreshed for.
  absl::StatusOr<EntryResult> Complete(const terrane::v1::CompleteStep& step);

  // Everything of the source up to here is applied or concerns nobody here.
  Position read_to() const { return read_to_; }
  Position source_applied() const { return source_applied_; }
  // While there is something to apply.
  double entries_per_s() const { return entries_per_s_; }

 private:
  absl::Status Read(std::chrono::milliseconds wait, Position up_to, bool interruptible, bool from_leader = false);
  // The entry that brings the record's cursor to read_to_.
  terrane::v1::ShardEntry TakeBatch();
  absl::Status Apply();
  absl::Status LearnFenceTime(Position fence);

  const ImportHost* const host_;
  ImportSource* const source_;
  MoveRef move_;
  CopyId copy_;
  KeyRange range_;
  std::optional<Import> import_;

  Position cursor_;   // of the record
  Position read_to_;  // >= cursor_
  Position source_applied_;
  terrane::v1::ImportBatch pending_;  // what lies between
  size_t pending_bytes_ = 0;
  Position fence_position_;  // of the last fence that was read, and its hybrid time
  uint64_t fence_time_ = 0;
  double entries_per_s_ = 0;
};

}  // namespace terrane::shard
