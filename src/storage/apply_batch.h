// Everything that a run of log entries changes, written in one atomic step together with the applied position.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "common/key_range.h"
#include "storage/read_view.h"

namespace terrane::storage {

// Reads go to the batch first, then to the disk (trap T70: the "old" document is the one that the entry before left,
// not the one before the batch). Only one batch of a store at a time, on one thread: the apply thread. Must not outlive
// the store. Errors of reads are of the disk: the process should end.
class ApplyBatch {
 public:
  virtual ~ApplyBatch() = default;

  virtual absl::StatusOr<std::optional<std::string>> GetDocument(CopyId copy, std::string_view shard_key,
                                                                 std::string_view id) = 0;
  virtual void PutDocument(CopyId copy, std::string_view shard_key, std::string_view id, std::string_view document) = 0;
  virtual void DeleteDocument(CopyId copy, std::string_view shard_key, std::string_view id) = 0;
  // Sees the batch as it is when the cursor is made; do not change the batch while one is open.
  virtual std::unique_ptr<DocumentCursor> Documents(CopyId copy, const KeyRange& range) = 0;

  // Records are serialized RetryRecords. Put and Delete keep both orders.
  virtual absl::StatusOr<std::optional<std::string>> GetRetry(CopyId copy, std::string_view shard_key,
                                                              std::string_view id, std::string_view session,
                                                              int64_t statement) = 0;
  virtual absl::StatusOr<std::vector<FoundRetry>> FindRetry(std::span<const CopyId> copies, std::string_view session,
                                                            int64_t statement) = 0;
  virtual void PutRetry(CopyId copy, std::string_view shard_key, std::string_view id, std::string_view session,
                        int64_t statement, std::string_view record) = 0;
  virtual void DeleteRetry(CopyId copy, std::string_view shard_key, std::string_view id, std::string_view session,
                           int64_t statement) = 0;
  // All retry records of the range, in key order; as for Documents().
  virtual std::unique_ptr<RetryCursor> Retries(CopyId copy, const KeyRange& range) = 0;

  virtual void PutIndexEntry(CopyId copy, uint32_t index, std::string_view values, std::string_view shard_key,
                             std::string_view id) = 0;
  virtual void DeleteIndexEntry(CopyId copy, uint32_t index, std::string_view values, std::string_view shard_key,
                                std::string_view id) = 0;

  // `entry` is a serialized OplogEntry.
  virtual void PutOplog(Position position, std::string_view entry) = 0;

  // Names beginning with '_' belong to the store.
  virtual absl::StatusOr<std::optional<std::string>> GetState(std::string_view name) = 0;
  virtual void PutState(std::string_view name, std::string_view value) = 0;
  virtual void DeleteState(std::string_view name) = 0;

  // The segment files of Store::Ingest whose effect (digest, progress) this batch records, at the position that it is
  // committed with. From then on they are kept (Store::KeptSegmentFiles), over restarts too, until they are forgotten.
  virtual void MarkIngested(std::span<const std::string> names) = 0;

  // Bytes collected so far; commit before it grows beyond some tens of MB.
  virtual size_t SizeBytes() const = 0;

  // Writes everything and the applied position in one step, to the WAL without sync: after a power cut a prefix of the
  // commits survives. The batch is empty afterwards and may be used again. `applied` must not be smaller than the
  // store's.
  virtual absl::Status Commit(Position applied) = 0;
};

}  // namespace terrane::storage
