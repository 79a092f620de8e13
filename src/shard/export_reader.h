// What the source of a move reads for the target: segments, oplog, hashes. Functions over one ReadView; they block on
// the disk and keep no state.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "common/ids.h"
#include "common/key_range.h"
#include "shard/ownership.h"
#include "storage/read_view.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::shard {

// Documents and retry records of a range side by side, in the order of their shard keys; of one shard key the documents
// come first.
class RecordCursor {
 public:
  RecordCursor(const storage::ReadView& view, CopyId copy, const KeyRange& range);

  bool Valid() const { return documents_->Valid() || retries_->Valid(); }
  absl::Status status() const;
  void Next();

  bool is_document() const { return is_document_; }
  std::string_view shard_key() const { return is_document_ ? documents_->shard_key() : retries_->shard_key(); }
  std::string_view id() const { return is_document_ ? documents_->id() : retries_->id(); }
  // BSON, or a serialized RetryRecord.
  std::string_view value() const { return is_document_ ? documents_->document() : retries_->record(); }

 private:
  void Choose();

  std::unique_ptr<storage::DocumentCursor> documents_;
  std::unique_ptr<storage::RetryCursor> retries_;
  bool is_document_ = false;
};

// Whether this shard may export: STALE_ATTEMPT for a move whose attempt has ended; kFailedPrecondition if the copy does
// not hold all of the range, or is being imported itself.
absl::Status CheckExport(const Ownership& ownership, const terrane::v1::MoveRef& move, CopyId copy,
                         const KeyRange& range);

// Sends the records of `range` in order, in messages of about `message_bytes`, until about `max_bytes` (0: no limit)
// have gone out; the segment ends where a shard key does, so one key with many documents may make it longer (trap T18).
// The last message has `last` and `covered`. `emit` returns false to stop (kCancelled).
absl::Status ExportSegment(const storage::ReadView& view, CopyId copy, const KeyRange& range, int64_t max_bytes,
                           int64_t message_bytes, const std::function<bool(terrane::v1::SegmentBatch)>& emit);

// Appends what the oplog says about copy and range behind out->up_to(), up to request.up_to() (0: all), and moves
// out->up_to() along; stops behind about request.max_bytes() (one entry at least), behind the fence of this very move,
// when it has looked at about `scan_bytes`, whoever they are about, or when `enough` says so. Changes that this move
// brought are left out. kOutOfRange with OPLOG_TRIMMED: the oplog begins later.
absl::Status ExportOplog(const storage::ReadView& view, const terrane::v1::ReadOplogRequest& request,
                         int64_t scan_bytes, const std::function<bool()>& enough, terrane::v1::OplogBatch* out);

// Hashes what is on disk in sub-ranges of about `range_bytes` that together are `range`. Returns the sum.
absl::StatusOr<storage::ChunkDigest> HashSubRanges(
    const storage::ReadView& view, CopyId copy, const KeyRange& range, int64_t range_bytes,
    const std::function<bool(const KeyRange&, const storage::ChunkDigest&)>& emit);

}  // namespace terrane::shard
