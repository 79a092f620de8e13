// Entries about ownership: the rules are in Ownership; here stand their effects on oplog, clock and files.
#include <utility>
#include <vector>

#include "common/status.h"
#include "shard/applier.h"
#include "shard/convert.h"
#include "storage/segment.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
using replication::ApplyResult;

namespace {

void Answer(EntryResult outcome, const v1::MoveRef& move, ApplyResult* result) {
  result->status = ToStatus(outcome, FromProto(move));
  result->value = std::move(outcome);
}
void Answer(EntryResult outcome, ApplyResult* result) {
  Answer(std::move(outcome), v1::MoveRef(), result);
}

}  // namespace

absl::Status Applier::ApplyEntry(Position position, v1::ShardEntry* entry, ApplyResult* result) {
  switch (entry->entry_case()) {
    case v1::ShardEntry::kWrite:
      return ApplyWrite(position, entry, result);
    case v1::ShardEntry::kImportBatch:
      return ApplyImportBatch(position, entry, result);
    case v1::ShardEntry::kExpireRetries:
      return ApplyExpireRetries(position, entry, result);
    case v1::ShardEntry::kFence:
      ApplyFence(position, *entry, result);
      break;
    case v1::ShardEntry::kReleaseCopy:
      ApplyRelease(position, *entry, result);
      break;
    case v1::ShardEntry::kComplete:
      ApplyComplete(position, entry->complete(), result);
      break;
    case v1::ShardEntry::kCreateChunk:
      Answer(ownership_.ApplyCreateChunk(entry->create_chunk(), position), result);
      break;
    case v1::ShardEntry::kSplitBegin:
      Answer(ownership_.ApplySplitBegin(entry->split_begin(), position), result);
      break;
    case v1::ShardEntry::kSplit:
      Answer(ownership_.ApplySplit(entry->split(), position), result);
      break;
    case v1::ShardEntry::kSplitEnd:
      Answer(ownership_.ApplySplitEnd(entry->split_end(), position), result);
      break;
    case v1::ShardEntry::kPin:
      Answer(ownership_.ApplyPin(entry->pin(), position), entry->pin().move(), result);
      break;
    case v1::ShardEntry::kFenceReads:
      Answer(ownership_.ApplyFenceReads(entry->fence_reads(), position), entry->fence_reads().move(), result);
      break;
    case v1::ShardEntry::kEndAttempt:
      Answer(ownership_.ApplyEndAttempt(entry->end_attempt(), position), entry->end_attempt().move(), result);
      break;
    case v1::ShardEntry::kPrepareCopy:
      Answer(ownership_.ApplyPrepare(entry->prepare_copy(), position), entry->prepare_copy().move(), result);
      break;
    case v1::ShardEntry::kBeginRangeRepair:
      Answer(ownership_.ApplyBeginRepair(entry->begin_range_repair(), position), entry->begin_range_repair().move(),
             result);
      break;
    case v1::ShardEntry::kOwnCopy:
      if (ownership_.MissesComplete(entry->own_copy())) {
        return replication::NeedsCheckpoint(position, StrCat("entry ", position.value(), " of shard ", options_.shard,
                                                             ": copy ", entry->own_copy().copy_id(),
                                                             " is committed, and its last entry was refused here: this "
                                                             "replica's data differs from that of the others"));
      }
      Answer(ownership_.ApplyOwn(entry->own_copy(), position), entry->own_copy().move(), result);
      break;
    case v1::ShardEntry::kDropCopy:
      Answer(ownership_.ApplyDropCopy(entry->drop_copy(), position), entry->drop_copy().move(), result);
      break;
    case v1::ShardEntry::kRecertify:
      Answer(ownership_.ApplyRecertify(entry->recertify(), position), result);
      break;
    case v1::ShardEntry::kForgetMoves:
      Answer(ownership_.ApplyForgetMoves(entry->forget_moves(), position), result);
      break;
    case v1::ShardEntry::kIngestSegment:  // Apply() gives it to ApplyIngest
    case v1::ShardEntry::ENTRY_NOT_SET:
      return Internal("entry ", position.value(), " came the wrong way");
  }
  return absl::OkStatus();
}

void Applier::ApplyFence(Position position, const v1::ShardEntry& entry, ApplyResult* result) {
  const v1::FenceEntry& fence = entry.fence();
  EntryResult outcome = ownership_.ApplyFence(fence, position);
  if (outcome.outcome == Outcome::kApplied) {
    v1::OplogEntry oplog;
    oplog.set_hybrid_time(entry.hybrid_time());
    oplog.set_collection_id(fence.collection_id());
    oplog.set_copy_id(fence.copy_id());
    v1::FenceRecord* record = oplog.mutable_fence();
    *record->mutable_move() = fence.move();
    *record->mutable_range() = fence.range();
    record->set_token(fence.token());
    *record->mutable_digest() = storage::ToProto(outcome.digest);
    WriteOplog(position, oplog);
  }
  Answer(std::move(outcome), fence.move(), result);
}

void Applier::ApplyRelease(Position position, const v1::ShardEntry& entry, ApplyResult* result) {
  const v1::ReleaseCopy& release = entry.release_copy();
  EntryResult outcome = ownership_.ApplyRelease(release, position);
  if (outcome.outcome == Outcome::kApplied) {
    v1::OplogEntry oplog;
    oplog.set_hybrid_time(entry.hybrid_time());
    oplog.set_collection_id(release.collection_id());
    oplog.set_copy_id(release.copy_id());
    v1::MovedRecord* moved = oplog.mutable_moved();
    *moved->mutable_range() = release.range();
    *moved->mutable_to() = release.to();
    moved->set_complete(release.complete());
    WriteOplog(position, oplog);
  }
  Answer(std::move(outcome), release.move(), result);
}

void Applier::ApplyComplete(Position position, const v1::CompleteEntry& entry, ApplyResult* result) {
  EntryResult outcome = ownership_.ApplyComplete(entry, position);
  // What the new owner writes comes after what the old one wrote, in hybrid time too.
  if (outcome.outcome == Outcome::kApplied) hybrid_->ObserveForeign(entry.source_hybrid_time());
  Answer(std::move(outcome), entry.move(), result);
}

absl::Status Applier::IngestFiles(Position position, CopyId copy, std::span<const storage::SegmentFile> files) {
  absl::Status status = store_->Ingest(files);
  if (options_.provide_files && (absl::IsNotFound(status) || absl::IsDataLoss(status))) {
    status = options_.provide_files(copy, files);
    if (absl::IsNotFound(status)) {
      return replication::NeedsCheckpoint(
          position, StrCat("entry ", position.value(), " of shard ", options_.shard, ": ", MessageOf(status)));
    }
    if (status.ok()) status = store_->Ingest(files);
  }
  return Annotate(status, StrCat("while ingesting the segment of entry ", position.value()));
}

absl::Status Applier::ApplyIngest(Position position, const v1::ShardEntry& entry, ApplyResult* result) {
  const v1::IngestSegment& ingest = entry.ingest_segment();
  EntryResult outcome = ownership_.CheckIngest(ingest);
  if (outcome.outcome == Outcome::kApplied) {
    std::vector<storage::SegmentFile> files;
    std::vector<std::string> names;
    for (const v1::SegmentFile& file : ingest.files()) {
      files.push_back(storage::FromProto(file));
      names.push_back(file.name());
    }
    if (!files.empty()) {
      TERRANE_RETURN_IF_ERROR(IngestFiles(position, CopyId(ingest.copy_id()), files));
      batch_->MarkIngested(names);
    }
    outcome = ownership_.ApplyIngest(ingest, position);
    v1::OplogEntry oplog;
    oplog.set_hybrid_time(entry.hybrid_time());
    oplog.set_copy_id(ingest.copy_id());
    oplog.set_origin(ingest.move().migration_id());
    *oplog.mutable_ingest() = ingest;
    WriteOplog(position, oplog);
  }
  Answer(std::move(outcome), ingest.move(), result);
  return absl::OkStatus();
}

void Applier::WriteOplog(Position position, const v1::OplogEntry& entry) {
  batch_->PutOplog(position, entry.SerializeAsString());
}

}  // namespace terrane::shard
