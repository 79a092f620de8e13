// Entries that change documents and retry records.
#include <utility>

#include "common/status.h"
#include "shard/applier.h"
#include "shard/convert.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
using replication::ApplyResult;

absl::Status Applier::ApplyWrite(Position position, v1::ShardEntry* entry, ApplyResult* result) {
  v1::WriteEntry* write = entry->mutable_write();
  const CopyId copy(write->copy_id());
  keys_.clear();
  for (const v1::Change& change : write->changes()) keys_.push_back(change.shard_key());
  const Verdict verdict =
      ownership_.AdmitWrite({CollectionId(write->collection_id()), copy, Token(write->token())}, keys_);
  if (!verdict.serves()) {
    result->status = ToStatus(verdict, options_.shard);
    return absl::OkStatus();
  }
  OwnedChunk* chunk = nullptr;
  for (const v1::Change& change : write->changes()) {
    if (chunk == nullptr || !chunk->range.Contains(change.shard_key())) chunk = ownership_.At(copy, change.shard_key());
    TERRANE_RETURN_IF_ERROR(WriteChange(chunk, change));
  }
  v1::OplogEntry oplog;
  oplog.set_hybrid_time(entry->hybrid_time());
  oplog.set_collection_id(write->collection_id());
  oplog.set_copy_id(write->copy_id());
  oplog.mutable_changes()->Swap(write->mutable_changes());
  WriteOplog(position, oplog);
  return absl::OkStatus();
}

absl::Status Applier::ApplyImportBatch(Position position, v1::ShardEntry* entry, ApplyResult* result) {
  v1::ImportBatch* import = entry->mutable_import_batch();
  EntryResult outcome = ownership_.CheckImportBatch(*import);
  outcome.position = position;
  if (outcome.outcome == Outcome::kApplied) {
    OwnedChunk* chunk = nullptr;
    v1::OplogEntry oplog;
    for (v1::Change& change : *import->mutable_changes()) {
      if (chunk == nullptr) chunk = ownership_.At(CopyId(import->copy_id()), change.shard_key());
      const Import& state = *chunk->import;
      // The repair brings the open range to its position, which no batch of the tail passes: whatever the tail knows of
      // it is older (trap T14).
      const bool in_open_range = import->repair_position() == 0 && state.open_position.value() != 0 &&
                                 state.open_range.Contains(change.shard_key());
      if (in_open_range) continue;
      TERRANE_RETURN_IF_ERROR(WriteChange(chunk, change));
      oplog.add_changes()->Swap(&change);
    }
    if (chunk != nullptr && oplog.changes_size() > 0) {
      oplog.set_hybrid_time(entry->hybrid_time());
      oplog.set_collection_id(chunk->collection.value());
      oplog.set_copy_id(import->copy_id());
      oplog.set_origin(import->move().migration_id());
      WriteOplog(position, oplog);
    }
    ownership_.FinishImportBatch(*import);
    hybrid_->ObserveForeign(import->hybrid_time());
  }
  result->status = ToStatus(outcome, FromProto(import->move()));
  result->value = std::move(outcome);
  return absl::OkStatus();
}

absl::Status Applier::ApplyExpireRetries(Position position, v1::ShardEntry* entry, ApplyResult* result) {
  v1::ExpireRetries* expire = entry->mutable_expire_retries();
  const CopyId copy(expire->copy_id());
  v1::OplogEntry oplog;
  for (v1::Change& change : *expire->mutable_removed()) {
    OwnedChunk* chunk = ownership_.At(copy, change.shard_key());
    // The owner decides, and not behind a fence: the digest at F has been published.
    if (chunk == nullptr || chunk->state != ChunkState::kOwned) continue;
    v1::RetryRecord asked;
    if (!asked.ParseFromString(change.retry())) continue;
    TERRANE_ASSIGN_OR_RETURN(const auto stored, batch_->GetRetry(copy, change.shard_key(), change.id(),
                                                                 asked.id().session(), asked.id().statement()));
    v1::RetryRecord record;
    if (!stored || !record.ParseFromString(*stored) || record.expires_ms() >= expire->before_ms()) continue;
    change.clear_document();
    change.clear_deleted();
    change.set_retry_removed(true);
    TERRANE_RETURN_IF_ERROR(WriteChange(chunk, change));
    oplog.set_collection_id(chunk->collection.value());
    oplog.add_changes()->Swap(&change);
  }
  if (oplog.changes_size() > 0) {
    oplog.set_hybrid_time(entry->hybrid_time());
    oplog.set_copy_id(expire->copy_id());
    WriteOplog(position, oplog);
  }
  result->value = EntryResult{.outcome = Outcome::kApplied, .position = position, .digest = {}, .why = {}};
  return absl::OkStatus();
}

absl::Status Applier::WriteChange(OwnedChunk* chunk, const v1::Change& change) {
  const CopyId copy = chunk->copy;
  ChunkDigest removed;
  ChunkDigest added;
  const bool writes = change.deleted() || !change.document().empty();
  if (writes) {
    TERRANE_ASSIGN_OR_RETURN(const auto old, batch_->GetDocument(copy, change.shard_key(), change.id()));
    if (old) removed.SubtractDocument(change.shard_key(), change.id(), *old);
    if (!change.deleted()) {
      added.AddDocument(change.shard_key(), change.id(), change.document());
      batch_->PutDocument(copy, change.shard_key(), change.id(), change.document());
    } else if (old) {
      batch_->DeleteDocument(copy, change.shard_key(), change.id());
    }
  }
  if (!change.retry().empty()) TERRANE_RETURN_IF_ERROR(WriteRetry(copy, change, &removed, &added));
  // `removed` counts downwards already.
  added += removed;
  ownership_.Replace(chunk, change.shard_key(), {}, added);
  return absl::OkStatus();
}

absl::Status Applier::WriteRetry(CopyId copy, const v1::Change& change, ChunkDigest* removed, ChunkDigest* added) {
  v1::RetryRecord record;
  // No damage of this directory: Apply().
  if (!record.ParseFromString(change.retry())) {
    return FailedPrecondition("the log of shard ", options_.shard,
                              " holds a retry record that this program cannot read; start a newer version of it");
  }
  const std::string& session = record.id().session();
  const int64_t statement = record.id().statement();
  TERRANE_ASSIGN_OR_RETURN(const auto old, batch_->GetRetry(copy, change.shard_key(), change.id(), session, statement));
  if (old) removed->SubtractRetry(change.shard_key(), change.id(), *old);
  if (!change.retry_removed()) {
    added->AddRetry(change.shard_key(), change.id(), change.retry());
    batch_->PutRetry(copy, change.shard_key(), change.id(), session, statement, change.retry());
  } else if (old) {
    batch_->DeleteRetry(copy, change.shard_key(), change.id(), session, statement);
  }
  return absl::OkStatus();
}

}  // namespace terrane::shard
