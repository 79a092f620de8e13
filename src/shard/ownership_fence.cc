// Source of a move: pin, F, G, release; and the end of an attempt, on both sides.
#include <algorithm>

#include "shard/convert.h"
#include "shard/ownership.h"
#include "shard/ownership_result.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

bool IsFenced(const OwnedChunk& chunk) {
  return chunk.state == ChunkState::kWriteFenced || chunk.state == ChunkState::kReadFenced;
}

// Migration ids grow and a chunk is in one at a time: a greater one means that the other has ended, even if its end
// has not been told here. The other way round the step is late.
bool BelongsToLaterMove(const OwnedChunk& chunk, const MoveRef& move) {
  return chunk.move.id > move.id;
}

EntryResult RefuseOtherMove(const OwnedChunk& chunk) {
  return Refuse(Outcome::kConflict, StrCat("the chunk is in migration ", chunk.move.id.value()));
}

}  // namespace

EntryResult Ownership::ApplyPin(const v1::PinEntry& entry, Position position) {
  const MoveRef move = FromProto(entry.move());
  if (IsDead(move)) return RefuseDead(move);
  for (const Pin& pin : pins_) {
    if (pin.move.id == move.id) return Done(Outcome::kAlready, pin.position);
  }
  const CopyId copy(entry.copy_id());
  const KeyRange range = FromProto(entry.range());
  OwnedChunk* chunk = Coalesce(copy, range);
  if (chunk == nullptr) return RefuseUnknown(copy, range);
  if (chunk->state != ChunkState::kOwned) return RefuseState(*chunk);
  if (BelongsToLaterMove(*chunk, move)) return RefuseOtherMove(*chunk);
  chunk->move = move;
  chunk->side.reset();  // a chunk in a move is not split (trap T42)
  AddPin(move, position);
  return Done(Outcome::kApplied, position);
}

EntryResult Ownership::ApplyFence(const v1::FenceEntry& entry, Position position) {
  const MoveRef move = FromProto(entry.move());
  if (IsDead(move)) return RefuseDead(move);
  const CopyId copy(entry.copy_id());
  const KeyRange range = FromProto(entry.range());
  OwnedChunk* chunk = Coalesce(copy, range);
  if (chunk == nullptr) return RefuseUnknown(copy, range);
  if (BelongsToLaterMove(*chunk, move)) return RefuseOtherMove(*chunk);
  if (IsFenced(*chunk)) {
    if (chunk->move == move) return Done(Outcome::kAlready, chunk->fence, chunk->fence_digest);
    if (chunk->move.id == move.id && chunk->move.attempt > move.attempt) return RefuseDead(move);
    // An older attempt fenced and its end was not told: this fence takes its place.
  } else if (chunk->state != ChunkState::kOwned) {
    return RefuseState(*chunk);
  }
  // A smaller one would let a request's token, which proves the end of an earlier attempt, open this fence (trap T68).
  if (Token(entry.token()) < chunk->token) {
    return Refuse(Outcome::kStaleToken,
                  StrCat("the fence bears token ", entry.token(), ", the chunk has ", chunk->token.value()));
  }
  chunk->state = ChunkState::kWriteFenced;
  chunk->token = Token(entry.token());
  chunk->move = move;
  chunk->fence = position;
  chunk->fence_digest = chunk->digest;
  chunk->side.reset();
  structure_changed_ = true;
  return Done(Outcome::kApplied, position, chunk->fence_digest);
}

EntryResult Ownership::ApplyFenceReads(const v1::FenceReadsEntry& entry, Position position) {
  const MoveRef move = FromProto(entry.move());
  if (IsDead(move)) return RefuseDead(move);
  for (auto& [copy, chunks] : copies_) {
    for (auto& [min, chunk] : chunks) {
      if (!IsFenced(chunk) || chunk.move != move || chunk.fence != Position(entry.fence())) continue;
      if (chunk.state == ChunkState::kReadFenced) return Done(Outcome::kAlready, position);
      chunk.state = ChunkState::kReadFenced;
      structure_changed_ = true;
      return Done(Outcome::kApplied, position);
    }
  }
  return Refuse(Outcome::kNoFence, StrCat("the fence at ", entry.fence(), " of attempt ", move.attempt.value(),
                                          " of migration ", move.id.value(), " does not stand"));
}

EntryResult Ownership::ApplyRelease(const v1::ReleaseCopy& entry, Position position) {
  const MoveRef move = FromProto(entry.move());
  const CopyId copy(entry.copy_id());
  const KeyRange range = FromProto(entry.range());
  OwnedChunk* chunk = FindExact(copy, range);
  if (chunk == nullptr) {
    // Cleaned up already, if the migration has come to its end here.
    return IsDead(move) ? Done(Outcome::kAlready, position) : RefuseUnknown(copy, range);
  }
  if (chunk->state == ChunkState::kReleased) return Done(Outcome::kAlready, position);
  // The commit had this very attempt's F as its precondition; without it something else has happened since.
  if (!IsFenced(*chunk) || chunk->move != move) return RefuseState(*chunk);
  chunk->state = ChunkState::kReleased;
  chunk->moved_to = entry.to();
  chunk->token = std::max(chunk->token, Token(entry.to().token()));
  Unpin(move.id);
  MarkDead(move);
  structure_changed_ = true;
  return Done(Outcome::kApplied, position);
}

EntryResult Ownership::ApplyEndAttempt(const v1::EndAttemptEntry& entry, Position position) {
  const MoveRef move = FromProto(entry.move());
  // Also where there is nothing to undo: a late F, prepare or batch of this attempt finds it dead (traps T13, T63).
  MarkDead(move);
  if (entry.abort()) Unpin(move.id);
  const CopyId copy(entry.copy_id());
  const KeyRange range = FromProto(entry.range());
  OwnedChunk* chunk = FindExact(copy, range);
  // A later migration has taken the chunk over: this word is late, and the tokens are its.
  if (chunk == nullptr || chunk->move.id != move.id) return Done(Outcome::kApplied, position);
  const bool this_attempt = chunk->move.attempt <= move.attempt;  // or an older one, which has ended as well
  switch (chunk->state) {
    case ChunkState::kWriteFenced:
    case ChunkState::kReadFenced:
      if (!this_attempt) break;
      chunk->state = ChunkState::kOwned;
      chunk->fence = {};
      [[fallthrough]];
    case ChunkState::kOwned:
      if (chunk->import) break;  // the target after the commit: nothing of the attempt can be undone
      chunk->token = std::max(chunk->token, Token(entry.token()));
      if (entry.abort()) chunk->move = {};
      break;
    case ChunkState::kComplete:
      if (!this_attempt) break;
      chunk->state = ChunkState::kImporting;
      chunk->import->complete = {};
      Unpin(move.id);
      [[fallthrough]];
    case ChunkState::kImporting: {
      chunk->token = std::max(chunk->token, Token(entry.token()));
      if (!entry.abort()) break;
      v1::DropCopy dropping;
      dropping.set_collection_id(chunk->collection.value());
      dropping.set_copy_id(copy.value());
      *dropping.mutable_range() = ToProto(range);
      dropping_.push_back(std::move(dropping));
      Erase(copy, range.min);
      break;
    }
    case ChunkState::kReleased:
      break;
  }
  structure_changed_ = true;
  return Done(Outcome::kApplied, position);
}

}  // namespace terrane::shard
