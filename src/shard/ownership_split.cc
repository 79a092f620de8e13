// Splits with exact digests while writes go on.
//
//   SplitBegin at p0      every write below `at` also goes into the side sum
//   (the leader hashes [min, at) from a snapshot at S >= p0 and reads side(S) from the same snapshot)
//   (and [at, max): it goes on only if both together are what the running digest says)
//   Split{base = scan(S) - side(S)}   left = base + side, right = total - left
#include <utility>

#include "shard/convert.h"
#include "shard/ownership.h"
#include "shard/ownership_result.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

EntryResult Ownership::ApplySplitBegin(const v1::SplitBegin& entry, Position position) {
  const KeyRange range = FromProto(entry.range());
  const OwnedChunk* owned = FindOwned(CollectionId(entry.collection_id()), range);
  if (owned == nullptr) {
    return Refuse(Outcome::kNoSuchChunk, StrCat("there is no chunk ", range.ToString(), " here"));
  }
  OwnedChunk* chunk = FindExact(owned->copy, range);
  if (chunk->state != ChunkState::kOwned) return RefuseState(*chunk);
  if (chunk->move.id.value() != 0) {
    return Refuse(Outcome::kConflict, StrCat("the chunk is in migration ", chunk->move.id.value()));
  }
  if (entry.at() <= range.min || !range.Contains(entry.at())) {
    return Refuse(Outcome::kConflict, "the split point does not lie inside of the chunk");
  }
  if (chunk->side) {
    EntryResult refused = Refuse(Outcome::kConflict, StrCat("a split began at ", chunk->side->begin.value()));
    refused.position = chunk->side->begin;
    return refused;
  }
  chunk->side = SideSum{.begin = position, .at = entry.at(), .sum = {}};
  Touch(*chunk);
  structure_changed_ = true;
  return Done(Outcome::kApplied, position);
}

EntryResult Ownership::ApplySplit(const v1::SplitChunkEntry& entry, Position position) {
  const CollectionId collection(entry.collection_id());
  const KeyRange range = FromProto(entry.range());
  const OwnedChunk* owned = FindOwned(collection, range);
  if (owned == nullptr) {
    const bool split = FindOwned(collection, {range.min, entry.at()}) && FindOwned(collection, {entry.at(), range.max});
    if (split) return Done(Outcome::kAlready, position);
    return Refuse(Outcome::kNoSuchChunk, StrCat("there is no chunk ", range.ToString(), " here"));
  }
  // A fence or a pin has ended the side sum, so this also refuses what is not plainly owned.
  if (!owned->side || owned->side->begin != Position(entry.begin()) || owned->side->at != entry.at()) {
    return Refuse(Outcome::kConflict, StrCat("no split that began at ", entry.begin(), " is under way"));
  }
  OwnedChunk left = *owned;
  left.side.reset();
  OwnedChunk right = left;
  left.range.max = entry.at();
  right.range.min = entry.at();
  left.digest = storage::FromProto(entry.base());
  left.digest += owned->side->sum;
  right.digest -= left.digest;
  Erase(owned->copy, range.min);
  Insert(std::move(left));
  Insert(std::move(right));
  return Done(Outcome::kApplied, position);
}

EntryResult Ownership::ApplySplitEnd(const v1::SplitEnd& entry, Position position) {
  const OwnedChunk* owned = FindOwned(CollectionId(entry.collection_id()), FromProto(entry.range()));
  if (owned == nullptr || !owned->side || owned->side->begin != Position(entry.begin())) {
    return Done(Outcome::kAlready, position);
  }
  FindExact(owned->copy, owned->range)->side.reset();
  structure_changed_ = true;
  return Done(Outcome::kApplied, position);
}

}  // namespace terrane::shard
