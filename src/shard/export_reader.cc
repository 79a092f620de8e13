#include "shard/export_reader.h"

#include <algorithm>

#include "common/status.h"
#include "rpc/status.h"
#include "shard/convert.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

RecordCursor::RecordCursor(const storage::ReadView& view, CopyId copy, const KeyRange& range)
    : documents_(view.Documents(copy, range, /*for_scan=*/true)), retries_(view.Retries(copy, range)) {
  Choose();
}

void RecordCursor::Choose() {
  is_document_ = documents_->Valid() && (!retries_->Valid() || documents_->shard_key() <= retries_->shard_key());
}

void RecordCursor::Next() {
  if (is_document_) {
    documents_->Next();
  } else {
    retries_->Next();
  }
  Choose();
}

absl::Status RecordCursor::status() const {
  TERRANE_RETURN_IF_ERROR(documents_->status());
  return retries_->status();
}

absl::Status CheckExport(const Ownership& ownership, const v1::MoveRef& move, CopyId copy, const KeyRange& range) {
  const MoveRef ref = FromProto(move);
  if (ownership.IsDead(ref)) {
    return rpc::WithReason(
        FailedPrecondition("attempt ", ref.attempt.value(), " of migration ", ref.id.value(), " has ended"),
        v1::ErrorDetail::STALE_ATTEMPT);
  }
  // The records of a copy are disjoint and in order: walk along the range.
  std::string reached = range.min;
  for (const OwnedChunk* chunk : ownership.OfCopy(copy)) {
    if (!chunk->range.Contains(reached)) continue;
    if (chunk->state == ChunkState::kImporting) {
      return FailedPrecondition("copy ", copy.value(), " is being imported itself");
    }
    if (!chunk->range.max || (range.max && *range.max <= *chunk->range.max)) return absl::OkStatus();
    reached = *chunk->range.max;
  }
  return FailedPrecondition("copy ", copy.value(), " does not hold all of ", range.ToString(), " here");
}

absl::Status ExportSegment(const storage::ReadView& view, CopyId copy, const KeyRange& range, int64_t max_bytes,
                           int64_t message_bytes, const std::function<bool(v1::SegmentBatch)>& emit) {
  const absl::Status cancelled = MakeStatus(absl::StatusCode::kCancelled, "the export was cancelled");
  const uint64_t position = view.AppliedPosition().value();
  v1::SegmentBatch batch;
  int64_t batch_bytes = 0;
  int64_t total = 0;
  std::string key;  // of the last record
  KeyRange covered = range;
  RecordCursor records(view, copy, range);
  for (; records.Valid(); records.Next()) {
    if (max_bytes > 0 && total >= max_bytes && records.shard_key() != key) {
      covered.max = std::string(records.shard_key());
      break;
    }
    if (total == 0 || records.shard_key() != key) key.assign(records.shard_key());
    v1::Change* change = records.is_document() ? batch.add_documents() : batch.add_retries();
    const std::string_view id = records.id();
    const std::string_view value = records.value();
    change->set_shard_key(key);
    change->set_id(id.data(), id.size());
    if (records.is_document()) {
      change->set_document(value.data(), value.size());
    } else {
      change->set_retry(value.data(), value.size());
    }
    const auto bytes = static_cast<int64_t>(key.size() + id.size() + value.size());
    total += bytes;
    batch_bytes += bytes;
    if (batch_bytes < message_bytes) continue;
    batch.set_position(position);
    if (!emit(std::move(batch))) return cancelled;
    batch = v1::SegmentBatch();
    batch_bytes = 0;
  }
  TERRANE_RETURN_IF_ERROR(records.status());
  batch.set_position(position);
  batch.set_last(true);
  *batch.mutable_covered() = ToProto(covered);
  return emit(std::move(batch)) ? absl::OkStatus() : cancelled;
}

namespace {

// Keeps what is about copy and range; true if anything is left.
bool FilterEntry(const v1::ReadOplogRequest& request, const KeyRange& range, v1::OplogEntry* entry) {
  if (entry->copy_id() != request.copy_id()) return false;
  if (entry->origin() != 0 && entry->origin() == request.move().migration_id()) return false;
  auto* changes = entry->mutable_changes();
  auto outside = [&](const v1::Change& change) { return !range.Contains(change.shard_key()); };
  changes->erase(std::remove_if(changes->begin(), changes->end(), outside), changes->end());
  if (entry->has_fence() && !FromProto(entry->fence().range()).Overlaps(range)) entry->clear_fence();
  entry->clear_moved();
  return !changes->empty() || entry->has_fence() || entry->has_ingest();
}

}  // namespace

absl::Status ExportOplog(const storage::ReadView& view, const v1::ReadOplogRequest& request, int64_t scan_bytes,
                         const std::function<bool()>& enough, v1::OplogBatch* out) {
  const uint64_t applied = view.AppliedPosition().value();
  const uint64_t end = request.up_to() == 0 ? applied : std::min(applied, request.up_to());
  out->set_applied(applied);
  if (out->up_to() >= end) return absl::OkStatus();
  const KeyRange range = FromProto(request.range());
  auto cursor = view.Oplog(Position(out->up_to() + 1));
  if (cursor.status().code() == absl::StatusCode::kOutOfRange) {
    return rpc::WithReason(cursor.status(), v1::ErrorDetail::OPLOG_TRIMMED);
  }
  TERRANE_RETURN_IF_ERROR(cursor.status());
  int64_t bytes = 0;
  int64_t scanned = 0;
  uint64_t reached = end;
  for (; (*cursor)->Valid() && (*cursor)->position().value() <= end; (*cursor)->Next()) {
    const uint64_t position = (*cursor)->position().value();
    // One entry at least is looked at, or the next call would be no further.
    if ((bytes > 0 && bytes >= request.max_bytes()) || (scanned > 0 && (scanned >= scan_bytes || enough()))) {
      reached = position - 1;
      break;
    }
    scanned += static_cast<int64_t>((*cursor)->entry().size());
    v1::OplogEntry entry;
    if (!entry.ParseFromArray((*cursor)->entry().data(), static_cast<int>((*cursor)->entry().size()))) {
      return DataLoss("oplog entry ", position, " cannot be read");
    }
    if (!FilterEntry(request, range, &entry)) continue;
    bytes += static_cast<int64_t>((*cursor)->entry().size());
    const bool fence = entry.has_fence() && entry.fence().move().migration_id() == request.move().migration_id();
    v1::PositionedEntry* positioned = out->add_entries();
    positioned->set_position(position);
    positioned->mutable_entry()->Swap(&entry);
    if (fence) {
      reached = position;
      break;
    }
  }
  TERRANE_RETURN_IF_ERROR((*cursor)->status());
  out->set_up_to(reached);
  return absl::OkStatus();
}

absl::StatusOr<storage::ChunkDigest> HashSubRanges(
    const storage::ReadView& view, CopyId copy, const KeyRange& range, int64_t range_bytes,
    const std::function<bool(const KeyRange&, const storage::ChunkDigest&)>& emit) {
  storage::ChunkDigest total;
  storage::ChunkDigest digest;
  KeyRange part{range.min, std::nullopt};
  int64_t bytes = 0;
  std::string key;
  RecordCursor records(view, copy, range);
  for (; records.Valid(); records.Next()) {
    if (bytes > 0 && records.shard_key() != key) {
      key.assign(records.shard_key());
      if (bytes >= range_bytes) {
        part.max = key;
        if (!emit(part, digest)) return MakeStatus(absl::StatusCode::kCancelled, "the scan was cancelled");
        total += digest;
        digest = {};
        part = {key, std::nullopt};
        bytes = 0;
      }
    } else if (bytes == 0) {
      key.assign(records.shard_key());
    }
    if (records.is_document()) {
      digest.AddDocument(records.shard_key(), records.id(), records.value());
    } else {
      digest.AddRetry(records.shard_key(), records.id(), records.value());
    }
    bytes += static_cast<int64_t>(records.shard_key().size() + records.id().size() + records.value().size());
  }
  TERRANE_RETURN_IF_ERROR(records.status());
  part.max = range.max;
  if (!emit(part, digest)) return MakeStatus(absl::StatusCode::kCancelled, "the scan was cancelled");
  return total + digest;
}

}  // namespace terrane::shard
