// Target of a move: the copy from Prepare to Own.
#include <algorithm>
#include <utility>

#include "shard/convert.h"
#include "shard/ownership.h"
#include "shard/ownership_result.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

// Why an entry of an import may not take effect on this copy; nullopt if it may.
std::optional<EntryResult> RefuseImport(const OwnedChunk* chunk, CopyId copy, const MoveRef& move) {
  if (chunk == nullptr) return Refuse(Outcome::kNoSuchChunk, StrCat("copy ", copy.value(), " is not prepared here"));
  if (chunk->move.id != move.id) {
    return Refuse(Outcome::kConflict, StrCat("copy ", copy.value(), " belongs to migration ", chunk->move.id.value()));
  }
  // Entries for a copy that is complete, or an owner already, have no effect.
  if (chunk->state != ChunkState::kImporting) return RefuseState(*chunk);
  return std::nullopt;
}

// Puts `replacement` over what the segments said about its range.
void PutSegment(std::vector<ImportedSegment>* segments, const ImportedSegment& replacement) {
  std::vector<ImportedSegment> result;
  for (ImportedSegment& segment : *segments) {
    if (!segment.range.Overlaps(replacement.range)) {
      result.push_back(std::move(segment));
      continue;
    }
    if (segment.range.min < replacement.range.min) {
      ImportedSegment left = segment;
      left.range.max = replacement.range.min;
      result.push_back(std::move(left));
    }
    if (replacement.range.max && (!segment.range.max || *segment.range.max > *replacement.range.max)) {
      ImportedSegment right = segment;
      right.range.min = *replacement.range.max;
      result.push_back(std::move(right));
    }
  }
  result.push_back(replacement);
  std::sort(result.begin(), result.end(), [](const auto& a, const auto& b) { return a.range.min < b.range.min; });
  *segments = std::move(result);
}

}  // namespace

EntryResult Ownership::ApplyPrepare(const v1::PrepareCopy& entry, Position position) {
  const MoveRef move = FromProto(entry.move());
  if (IsDead(move)) return RefuseDead(move);
  const CopyId copy(entry.copy_id());
  if (auto found = copies_.find(copy); found != copies_.end()) {
    OwnedChunk* chunk = &found->second.begin()->second;
    if (chunk->move.id != move.id) {
      return Refuse(Outcome::kConflict,
                    StrCat("copy ", copy.value(), " is in use by migration ", chunk->move.id.value()));
    }
    if (chunk->state == ChunkState::kImporting && chunk->move.attempt < move.attempt) {
      chunk->move = move;
      chunk->token = std::max(chunk->token, Token(entry.token()));
      structure_changed_ = true;
    }
    return Done(Outcome::kAlready, position);
  }
  if (copy.value() == 0 || entry.pin() == 0 || FromProto(entry.range()).Empty()) {
    return Refuse(Outcome::kWrongState, "a copy is prepared with its id, a range and the position of the source's pin");
  }
  OwnedChunk chunk;
  chunk.collection = CollectionId(entry.collection_id());
  chunk.epoch = entry.epoch();
  chunk.range = FromProto(entry.range());
  chunk.copy = copy;
  chunk.token = Token(entry.token());
  chunk.state = ChunkState::kImporting;
  chunk.move = move;
  chunk.collection_name = entry.collection();
  chunk.shard_key = entry.shard_key();
  chunk.import.emplace();
  chunk.import->source = entry.source();
  chunk.import->source_copy = CopyId(entry.source_copy());
  chunk.import->pin = Position(entry.pin());
  Insert(std::move(chunk));
  return Done(Outcome::kApplied, position);
}

EntryResult Ownership::CheckIngest(const v1::IngestSegment& entry) const {
  const MoveRef move = FromProto(entry.move());
  if (IsDead(move)) return RefuseDead(move);
  const OwnedChunk* chunk = FindImport(CopyId(entry.copy_id()));
  if (auto refused = RefuseImport(chunk, CopyId(entry.copy_id()), move)) return *refused;
  const KeyRange range = FromProto(entry.range());
  const Position reflects(entry.source_position());
  if (range.Empty() || !chunk->range.Contains(range)) {
    return Refuse(Outcome::kConflict, StrCat("segment ", range.ToString(), " is not in ", chunk->range.ToString()));
  }
  for (const ImportedSegment& segment : chunk->import->segments) {
    if (segment.range == range) return Done(Outcome::kAlready, {});
    if (segment.range.Overlaps(range)) {
      return Refuse(Outcome::kConflict, StrCat("segment ", range.ToString(), " overlaps ", segment.range.ToString()));
    }
  }
  // A replica from before the pin has not all that the tail will not bring (trap T58).
  if (reflects < chunk->import->pin) {
    return Refuse(Outcome::kTooOld,
                  StrCat("the segment reflects ", reflects.value(), ", the pin is at ", chunk->import->pin.value()));
  }
  // What the tail has deleted would come back (trap T57).
  if (reflects < chunk->import->cursor) {
    return Refuse(Outcome::kTooOld, StrCat("the segment reflects ", reflects.value(), ", the tail is at ",
                                           chunk->import->cursor.value()));
  }
  return Done(Outcome::kApplied, {});
}

EntryResult Ownership::ApplyIngest(const v1::IngestSegment& entry, Position position) {
  EntryResult result = CheckIngest(entry);
  result.position = position;
  if (result.outcome != Outcome::kApplied) return result;
  OwnedChunk* chunk = FindImport(CopyId(entry.copy_id()));
  const ChunkDigest digest = storage::FromProto(entry.digest());
  int64_t bytes = 0;
  for (const v1::SegmentFile& file : entry.files()) bytes += file.bytes();
  PutSegment(&chunk->import->segments, {.range = FromProto(entry.range()),
                                        .position = Position(entry.source_position()),
                                        .bytes = bytes,
                                        .documents = digest.documents.count});
  chunk->import->highest_segment_position =
      std::max(chunk->import->highest_segment_position, Position(entry.source_position()));
  chunk->digest += digest;
  Touch(*chunk);
  structure_changed_ = true;
  return result;
}

EntryResult Ownership::CheckImportBatch(const v1::ImportBatch& entry) const {
  const MoveRef move = FromProto(entry.move());
  if (IsDead(move)) return RefuseDead(move);
  const OwnedChunk* chunk = FindImport(CopyId(entry.copy_id()));
  if (auto refused = RefuseImport(chunk, CopyId(entry.copy_id()), move)) return *refused;
  const Import& import = *chunk->import;
  const bool repair = entry.repair_position() != 0;
  const KeyRange bounds = repair ? FromProto(entry.repair_range()) : chunk->range;
  for (const v1::Change& change : entry.changes()) {
    if (!bounds.Contains(change.shard_key())) {
      return Refuse(Outcome::kConflict, StrCat("a change lies outside of ", bounds.ToString()));
    }
  }
  if (repair) {
    if (import.open_position != Position(entry.repair_position()) || import.open_range != bounds) {
      return Refuse(Outcome::kConflict,
                    StrCat("range ", bounds.ToString(), " is not open for ", entry.repair_position()));
    }
    return Done(Outcome::kApplied, {});
  }
  if (!import.Covers(chunk->range)) return Refuse(Outcome::kIncomplete, "the tail begins when the last segment is in");
  if (Position(entry.to_position()) <= import.Cursor()) return Done(Outcome::kAlready, {});
  if (Position(entry.from_position()) != import.Cursor()) {
    return Refuse(Outcome::kHole, StrCat("the batch begins behind ", entry.from_position(), ", the cursor is at ",
                                         import.Cursor().value()));
  }
  if (import.open_position.value() != 0 && Position(entry.to_position()) > import.open_position) {
    return Refuse(Outcome::kIncomplete, StrCat("range ", import.open_range.ToString(), " is open at ",
                                               import.open_position.value(), ": the tail waits there"));
  }
  return Done(Outcome::kApplied, {});
}

void Ownership::FinishImportBatch(const v1::ImportBatch& entry) {
  OwnedChunk* chunk = FindImport(CopyId(entry.copy_id()));
  Import& import = *chunk->import;
  if (entry.repair_position() == 0) {
    import.cursor = Position(entry.to_position());
    Touch(*chunk);
    return;
  }
  if (!entry.repair_last()) return;
  PutSegment(&import.segments, {.range = import.open_range, .position = import.open_position});
  import.highest_segment_position = std::max(import.highest_segment_position, import.open_position);
  import.open_range = {};
  import.open_position = {};
  structure_changed_ = true;
}

EntryResult Ownership::ApplyBeginRepair(const v1::BeginRangeRepair& entry, Position position) {
  const MoveRef move = FromProto(entry.move());
  if (IsDead(move)) return RefuseDead(move);
  OwnedChunk* chunk = FindImport(CopyId(entry.copy_id()));
  if (auto refused = RefuseImport(chunk, CopyId(entry.copy_id()), move)) return *refused;
  Import& import = *chunk->import;
  const KeyRange range = FromProto(entry.range());
  const Position reflects(entry.source_position());
  if (range.Empty() || !chunk->range.Contains(range)) {
    return Refuse(Outcome::kConflict, StrCat(range.ToString(), " is not in ", chunk->range.ToString()));
  }
  if (!import.Covers(chunk->range)) return Refuse(Outcome::kIncomplete, "segments are missing");
  if (reflects < import.Cursor()) {
    return Refuse(Outcome::kTooOld,
                  StrCat("the range would reflect ", reflects.value(), ", the tail is at ", import.Cursor().value()));
  }
  if (import.open_position.value() != 0) {
    if (import.open_range != range) {
      return Refuse(Outcome::kConflict, StrCat("range ", import.open_range.ToString(), " is open"));
    }
    // Half of it may reflect the old position: it is begun again, never given up (trap T73).
    if (reflects == import.open_position) return Done(Outcome::kAlready, position);
    if (reflects < import.open_position) {
      return Refuse(Outcome::kTooOld, StrCat("the range is open at ", import.open_position.value()));
    }
  }
  import.open_range = range;
  import.open_position = reflects;
  structure_changed_ = true;
  return Done(Outcome::kApplied, position);
}

EntryResult Ownership::ApplyComplete(const v1::CompleteEntry& entry, Position position) {
  const MoveRef move = FromProto(entry.move());
  if (IsDead(move)) return RefuseDead(move);
  const CopyId copy(entry.copy_id());
  OwnedChunk* chunk = FindImport(copy);
  if (chunk != nullptr && chunk->move.id == move.id && chunk->state == ChunkState::kComplete &&
      chunk->fence == Position(entry.fence())) {
    return Done(Outcome::kAlready, chunk->import->complete, chunk->fence_digest);
  }
  if (auto refused = RefuseImport(chunk, copy, move)) return *refused;
  Import& import = *chunk->import;
  if (Token(entry.token()) < chunk->token) {
    return Refuse(Outcome::kStaleToken,
                  StrCat("K bears token ", entry.token(), ", the copy has recorded ", chunk->token.value()));
  }
  if (!import.Covers(chunk->range)) return Refuse(Outcome::kIncomplete, "segments are missing");
  if (import.open_position.value() != 0) {
    return Refuse(Outcome::kIncomplete, StrCat("range ", import.open_range.ToString(), " is open"));
  }
  if (import.Cursor() != Position(entry.fence())) {
    return Refuse(Outcome::kHole,
                  StrCat("the fence is at ", entry.fence(), ", the cursor at ", import.Cursor().value()));
  }
  if (chunk->digest != storage::FromProto(entry.digest())) {
    EntryResult refused = Refuse(Outcome::kDigestMismatch, "source and target differ at the fence");
    refused.digest = chunk->digest;
    return refused;
  }
  chunk->state = ChunkState::kComplete;
  chunk->token = Token(entry.token());
  chunk->move = move;
  chunk->fence = Position(entry.fence());
  chunk->fence_digest = chunk->digest;
  import.complete = position;
  AddPin(move, position);
  structure_changed_ = true;
  return Done(Outcome::kApplied, position, chunk->digest);
}

bool Ownership::MissesComplete(const v1::OwnCopy& entry) const {
  const MoveRef move = FromProto(entry.move());
  const OwnedChunk* chunk = FindImport(CopyId(entry.copy_id()));
  return chunk != nullptr && chunk->state == ChunkState::kImporting && chunk->move.id == move.id && !IsDead(move);
}

EntryResult Ownership::CheckOwn(const v1::OwnCopy& entry) const {
  const MoveRef move = FromProto(entry.move());
  const OwnedChunk* chunk = FindImport(CopyId(entry.copy_id()));
  if (MissesComplete(entry)) return RefuseState(*chunk);
  // The end of the attempt that K was of may stand in the log before this entry; then it must find it dead.
  if (chunk != nullptr && chunk->state == ChunkState::kComplete && chunk->move.id == move.id && chunk->move != move) {
    return Refuse(Outcome::kConflict,
                  StrCat("copy ", chunk->copy.value(), " is complete by attempt ", chunk->move.attempt.value()));
  }
  return Done(Outcome::kAlready, {});
}

EntryResult Ownership::ApplyOwn(const v1::OwnCopy& entry, Position position) {
  const MoveRef move = FromProto(entry.move());
  const CopyId copy(entry.copy_id());
  const std::vector<const OwnedChunk*> parts = OfCopy(copy);
  if (parts.empty()) {
    // It has been owned, released and dropped since.
    return IsDead(move) ? Done(Outcome::kAlready, position)
                        : Refuse(Outcome::kNoSuchChunk, StrCat("copy ", copy.value(), " is not here"));
  }
  OwnedChunk* chunk = At(copy, parts.front()->range.min);
  Outcome outcome = Outcome::kAlready;
  if (parts.size() == 1 && chunk->move.id == move.id) {
    switch (chunk->state) {
      case ChunkState::kImporting:
        return RefuseState(*chunk);
      case ChunkState::kComplete:
        chunk->state = ChunkState::kOwned;
        outcome = Outcome::kApplied;
        [[fallthrough]];
      case ChunkState::kOwned:  // learned by proof before
        chunk->token = std::max(chunk->token, Token(entry.token()));
        chunk->fence = {};
        chunk->move = {};
        chunk->import.reset();
        structure_changed_ = true;
        break;
      case ChunkState::kWriteFenced:
      case ChunkState::kReadFenced:
      case ChunkState::kReleased:
        break;
    }
  }
  Unpin(move.id);
  MarkDead(move);
  return Done(outcome, position);
}

}  // namespace terrane::shard
