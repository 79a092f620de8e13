#include "shard/ownership.h"

#include <algorithm>
#include <utility>

#include "common/status.h"
#include "shard/convert.h"
#include "shard/ownership_result.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

std::string_view StateName(ChunkState state) {
  switch (state) {
    case ChunkState::kOwned:
      return "owned";
    case ChunkState::kWriteFenced:
      return "write fenced";
    case ChunkState::kReadFenced:
      return "read fenced";
    case ChunkState::kImporting:
      return "importing";
    case ChunkState::kComplete:
      return "complete";
    case ChunkState::kReleased:
      return "released";
  }
  return "?";
}

std::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kApplied:
      return "applied";
    case Outcome::kAlready:
      return "already";
    case Outcome::kStaleAttempt:
      return "stale attempt";
    case Outcome::kStaleToken:
      return "stale token";
    case Outcome::kNoSuchChunk:
      return "no such chunk";
    case Outcome::kWrongState:
      return "wrong state";
    case Outcome::kConflict:
      return "conflict";
    case Outcome::kNoFence:
      return "no fence";
    case Outcome::kHole:
      return "hole";
    case Outcome::kTooOld:
      return "too old";
    case Outcome::kIncomplete:
      return "incomplete";
    case Outcome::kDigestMismatch:
      return "digest mismatch";
  }
  return "?";
}

bool Import::Covers(const KeyRange& range) const {
  std::string reached = range.min;
  for (const ImportedSegment& segment : segments) {
    if (segment.range.min > reached) return false;
    if (!segment.range.max) return true;
    reached = std::max(reached, *segment.range.max);
  }
  return range.max && reached >= *range.max;
}

OwnedChunk* Ownership::At(CopyId copy, std::string_view key) {
  auto found = copies_.find(copy);
  if (found == copies_.end()) return nullptr;
  auto next = found->second.upper_bound(key);
  if (next == found->second.begin()) return nullptr;
  OwnedChunk* chunk = &std::prev(next)->second;
  return chunk->range.Contains(key) ? chunk : nullptr;
}

const OwnedChunk* Ownership::At(CopyId copy, std::string_view key) const {
  return const_cast<Ownership*>(this)->At(copy, key);
}

OwnedChunk* Ownership::FindExact(CopyId copy, const KeyRange& range) {
  auto found = copies_.find(copy);
  if (found == copies_.end()) return nullptr;
  auto chunk = found->second.find(range.min);
  return chunk != found->second.end() && chunk->second.range == range ? &chunk->second : nullptr;
}

const OwnedChunk* Ownership::Find(CopyId copy, const KeyRange& range) const {
  return const_cast<Ownership*>(this)->FindExact(copy, range);
}

OwnedChunk* Ownership::FindImport(CopyId copy) {
  auto found = copies_.find(copy);
  if (found == copies_.end() || found->second.size() != 1) return nullptr;
  OwnedChunk* chunk = &found->second.begin()->second;
  return chunk->import ? chunk : nullptr;
}

const OwnedChunk* Ownership::FindImport(CopyId copy) const {
  return const_cast<Ownership*>(this)->FindImport(copy);
}

std::vector<const OwnedChunk*> Ownership::OfCopy(CopyId copy) const {
  std::vector<const OwnedChunk*> result;
  if (auto found = copies_.find(copy); found != copies_.end()) {
    for (const auto& [min, chunk] : found->second) result.push_back(&chunk);
  }
  return result;
}

const OwnedChunk* Ownership::FindOwned(CollectionId collection, const KeyRange& range) const {
  for (const auto& [copy, chunks] : copies_) {
    auto found = chunks.find(range.min);
    if (found == chunks.end() || found->second.collection != collection || found->second.range != range) continue;
    switch (found->second.state) {
      case ChunkState::kOwned:
      case ChunkState::kWriteFenced:
      case ChunkState::kReadFenced:
        return &found->second;
      case ChunkState::kImporting:
      case ChunkState::kComplete:
      case ChunkState::kReleased:
        break;
    }
  }
  return nullptr;
}

std::vector<const OwnedChunk*> Ownership::All() const {
  std::vector<const OwnedChunk*> result;
  for (const auto& [copy, chunks] : copies_) {
    for (const auto& [min, chunk] : chunks) result.push_back(&chunk);
  }
  return result;
}

std::optional<Position> Ownership::LeastPin() const {
  std::optional<Position> least;
  for (const Pin& pin : pins_) {
    if (!least || pin.position < *least) least = pin.position;
  }
  return least;
}

bool Ownership::IsDead(const MoveRef& move) const {
  if (move.id.value() != 0 && move.id < dead_below_) return true;
  auto found = dead_.find(move.id);
  return found != dead_.end() && move.attempt <= found->second;
}

void Ownership::MarkDead(const MoveRef& move) {
  if (move.id.value() == 0 || move.id < dead_below_) return;
  Attempt& attempt = dead_[move.id];
  attempt = std::max(attempt, move.attempt);
  structure_changed_ = true;
}

std::optional<MigrationId> Ownership::OpenMoveBelow(MigrationId below) const {
  for (const Pin& pin : pins_) {
    if (pin.move.id < below) return pin.move.id;
  }
  for (const OwnedChunk* chunk : All()) {
    const bool at_work = chunk->state != ChunkState::kOwned && chunk->state != ChunkState::kReleased;
    if (at_work && chunk->move.id < below) return chunk->move.id;
  }
  return std::nullopt;
}

bool Ownership::MayForgetMoves(MigrationId below) const {
  return !dead_.empty() && dead_.begin()->first < below && !OpenMoveBelow(below);
}

EntryResult Ownership::ApplyForgetMoves(const v1::ForgetMoves& entry, Position position) {
  const MigrationId below(entry.below());
  if (below <= dead_below_) return Done(Outcome::kAlready, position);
  // The metadata service forgets what both shards have confirmed the end of. Whoever is not done has not confirmed.
  if (const std::optional<MigrationId> open = OpenMoveBelow(below)) {
    return Refuse(Outcome::kConflict, StrCat("migration ", open->value(), " is at work here, and was to be forgotten"));
  }
  dead_.erase(dead_.begin(), dead_.lower_bound(below));
  dead_below_ = below;
  structure_changed_ = true;
  return Done(Outcome::kApplied, position);
}

void Ownership::AddPin(const MoveRef& move, Position position) {
  pins_.push_back({move, position});
  structure_changed_ = true;
}

void Ownership::Unpin(MigrationId id) {
  if (std::erase_if(pins_, [id](const Pin& pin) { return pin.move.id == id; }) > 0) structure_changed_ = true;
}

void Ownership::Touch(const OwnedChunk& chunk) {
  progress_changed_[{chunk.copy, chunk.range.min}] = true;
}

void Ownership::Replace(OwnedChunk* chunk, std::string_view key, const ChunkDigest& removed, const ChunkDigest& added) {
  chunk->digest -= removed;
  chunk->digest += added;
  if (chunk->side && key < chunk->side->at) {
    chunk->side->sum -= removed;
    chunk->side->sum += added;
  }
  Touch(*chunk);
}

OwnedChunk* Ownership::Insert(OwnedChunk chunk) {
  structure_changed_ = true;
  Touch(chunk);
  std::string min = chunk.range.min;
  Chunks& chunks = copies_[chunk.copy];
  return &chunks.insert_or_assign(std::move(min), std::move(chunk)).first->second;
}

void Ownership::Erase(CopyId copy, const std::string& min) {
  structure_changed_ = true;
  progress_changed_[{copy, min}] = false;
  Chunks& chunks = copies_[copy];
  chunks.erase(min);
  if (chunks.empty()) copies_.erase(copy);
}

OwnedChunk* Ownership::Coalesce(CopyId copy, const KeyRange& range) {
  if (OwnedChunk* exact = FindExact(copy, range)) return exact;
  auto found = copies_.find(copy);
  if (found == copies_.end()) return nullptr;
  OwnedChunk whole;
  std::vector<std::string> parts;
  for (auto part = found->second.find(range.min); part != found->second.end(); ++part) {
    const OwnedChunk& chunk = part->second;
    if (!range.Contains(chunk.range) || chunk.state != ChunkState::kOwned) break;
    if (parts.empty()) {
      whole = chunk;
      whole.side.reset();
    } else {
      if (whole.range.max != chunk.range.min || whole.move != chunk.move) return nullptr;
      whole.range.max = chunk.range.max;
      whole.token = std::max(whole.token, chunk.token);
      whole.digest += chunk.digest;
    }
    parts.push_back(part->first);
  }
  if (parts.empty() || whole.range != range) return nullptr;
  for (const std::string& min : parts) Erase(copy, min);
  return Insert(std::move(whole));
}

EntryResult Ownership::ApplyCreateChunk(const v1::CreateChunk& entry, Position position) {
  OwnedChunk chunk;
  chunk.collection = CollectionId(entry.collection_id());
  chunk.epoch = entry.epoch();
  chunk.range = FromProto(entry.range());
  chunk.copy = CopyId(entry.copy_id());
  chunk.token = Token(entry.token());
  chunk.collection_name = entry.collection();
  chunk.shard_key = entry.shard_key();
  if (chunk.copy.value() == 0 || chunk.range.Empty()) {
    return Refuse(Outcome::kWrongState, StrCat("a chunk needs a copy id and a range that is not empty"));
  }
  for (const auto& [copy, chunks] : copies_) {
    for (const auto& [min, other] : chunks) {
      if (other.collection != chunk.collection || !other.range.Overlaps(chunk.range)) continue;
      // Also if it has been split or has gone on since: the step is done once.
      if (other.copy == chunk.copy) return Done(Outcome::kAlready, position);
      if (other.state != ChunkState::kReleased && other.state != ChunkState::kImporting) {
        return Refuse(Outcome::kConflict, StrCat("copy ", other.copy.value(), " is ", StateName(other.state), " in ",
                                                 other.range.ToString(), " already"));
      }
    }
  }
  // A late repetition: the chunk would have a second owner, with all that it did not hold when it was new.
  if (created_.contains(chunk.collection)) return Done(Outcome::kAlready, position);
  Insert(std::move(chunk));
  return Done(Outcome::kApplied, position);
}

EntryResult Ownership::ApplyDropCopy(const v1::DropCopy& entry, Position position) {
  const CopyId copy(entry.copy_id());
  const MoveRef move = FromProto(entry.move());
  const KeyRange range = FromProto(entry.range());
  std::vector<const OwnedChunk*> parts;
  for (const OwnedChunk* chunk : OfCopy(copy)) {
    if (!chunk->range.Overlaps(range)) continue;
    if (chunk->collection != CollectionId(entry.collection_id()) || !range.Contains(chunk->range)) {
      return Refuse(Outcome::kConflict, StrCat("copy ", copy.value(), " lies in ", chunk->range.ToString(),
                                               " of collection ", chunk->collection.value()));
    }
    // Without a migration the collection is dropped, and its chunks with it.
    const bool unowned = chunk->state == ChunkState::kReleased || chunk->state == ChunkState::kImporting;
    if (move.id.value() != 0 && !(unowned && chunk->move.id == move.id)) {
      return Refuse(Outcome::kWrongState, StrCat("copy ", copy.value(), " is ", StateName(chunk->state)));
    }
    parts.push_back(chunk);
  }
  MarkDead(move);
  if (created_.insert(CollectionId(entry.collection_id())).second) structure_changed_ = true;
  if (parts.empty()) return Done(Outcome::kAlready, position);
  for (const OwnedChunk* chunk : parts) {
    v1::DropCopy dropping;
    dropping.set_collection_id(entry.collection_id());
    dropping.set_copy_id(entry.copy_id());
    *dropping.mutable_range() = ToProto(chunk->range);
    dropping_.push_back(std::move(dropping));
    Unpin(chunk->move.id);
    const std::string min = chunk->range.min;
    Erase(copy, min);
  }
  return Done(Outcome::kApplied, position);
}

void Ownership::ForgetDropping(CopyId copy, const KeyRange& range) {
  const size_t removed = std::erase_if(dropping_, [&](const v1::DropCopy& dropping) {
    return CopyId(dropping.copy_id()) == copy && FromProto(dropping.range()) == range;
  });
  if (removed > 0) structure_changed_ = true;
}

EntryResult Ownership::ApplyRecertify(const v1::Recertify& entry, Position position) {
  OwnedChunk* chunk = FindExact(CopyId(entry.copy_id()), FromProto(entry.range()));
  if (chunk == nullptr) return Refuse(Outcome::kNoSuchChunk, "there is no such chunk");
  // At F the digest has been published; it stays what it was. A copy that is imported is set right by its verification.
  const bool allowed = chunk->state == ChunkState::kOwned || chunk->state == ChunkState::kImporting;
  if (!allowed || chunk->side) {
    return Refuse(Outcome::kWrongState, StrCat("the chunk is ", StateName(chunk->state)));
  }
  chunk->digest += storage::FromProto(entry.difference());
  Touch(*chunk);
  return Done(Outcome::kApplied, position, chunk->digest);
}

}  // namespace terrane::shard
