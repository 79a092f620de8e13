#include "shard/convert.h"

#include <utility>

#include "storage/digest.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

KeyRange FromProto(const v1::KeyRange& range) {
  KeyRange result;
  result.min = range.min();
  if (!range.unbounded()) result.max = range.max();
  return result;
}

v1::KeyRange ToProto(const KeyRange& range) {
  v1::KeyRange result;
  result.set_min(range.min);
  if (range.max) {
    result.set_max(*range.max);
  } else {
    result.set_unbounded(true);
  }
  return result;
}

MoveRef FromProto(const v1::MoveRef& move) {
  return {MigrationId(move.migration_id()), Attempt(move.attempt())};
}

v1::MoveRef ToProto(const MoveRef& move) {
  v1::MoveRef result;
  result.set_migration_id(move.id.value());
  result.set_attempt(move.attempt.value());
  return result;
}

namespace {

ChunkState StateFromProto(v1::OwnedChunk::State state) {
  switch (state) {
    case v1::OwnedChunk::WRITE_FENCED:
      return ChunkState::kWriteFenced;
    case v1::OwnedChunk::READ_FENCED:
      return ChunkState::kReadFenced;
    case v1::OwnedChunk::IMPORTING:
      return ChunkState::kImporting;
    case v1::OwnedChunk::COMPLETE:
      return ChunkState::kComplete;
    case v1::OwnedChunk::RELEASED:
      return ChunkState::kReleased;
    default:
      return ChunkState::kOwned;
  }
}

v1::OwnedChunk::State StateToProto(ChunkState state) {
  switch (state) {
    case ChunkState::kOwned:
      return v1::OwnedChunk::OWNED;
    case ChunkState::kWriteFenced:
      return v1::OwnedChunk::WRITE_FENCED;
    case ChunkState::kReadFenced:
      return v1::OwnedChunk::READ_FENCED;
    case ChunkState::kImporting:
      return v1::OwnedChunk::IMPORTING;
    case ChunkState::kComplete:
      return v1::OwnedChunk::COMPLETE;
    case ChunkState::kReleased:
      return v1::OwnedChunk::RELEASED;
  }
  return v1::OwnedChunk::OWNED;
}

Import ImportFromProto(const v1::Import& import) {
  Import result;
  result.source = import.source();
  result.source_copy = CopyId(import.source_copy());
  result.pin = Position(import.pin());
  result.cursor = Position(import.cursor());
  for (const v1::ImportedSegment& segment : import.segments()) {
    result.segments.push_back({.range = FromProto(segment.range()),
                               .position = Position(segment.position()),
                               .bytes = segment.bytes(),
                               .documents = segment.documents()});
  }
  result.open_range = FromProto(import.open_range());
  result.open_position = Position(import.open_position());
  result.complete = Position(import.complete());
  result.highest_segment_position = Position(import.highest_segment_position());
  return result;
}

v1::Import ImportToProto(const Import& import) {
  v1::Import result;
  result.set_source(import.source);
  result.set_source_copy(import.source_copy.value());
  result.set_pin(import.pin.value());
  result.set_cursor(import.cursor.value());
  for (const ImportedSegment& segment : import.segments) {
    v1::ImportedSegment* added = result.add_segments();
    *added->mutable_range() = ToProto(segment.range);
    added->set_position(segment.position.value());
    added->set_bytes(segment.bytes);
    added->set_documents(segment.documents);
  }
  *result.mutable_open_range() = ToProto(import.open_range);
  result.set_open_position(import.open_position.value());
  result.set_complete(import.complete.value());
  result.set_highest_segment_position(import.highest_segment_position.value());
  return result;
}

}  // namespace

OwnedChunk FromProto(const v1::OwnedChunk& chunk) {
  OwnedChunk result;
  result.collection = CollectionId(chunk.collection_id());
  result.epoch = chunk.epoch();
  result.range = FromProto(chunk.range());
  result.copy = CopyId(chunk.copy_id());
  result.token = Token(chunk.token());
  result.state = StateFromProto(chunk.state());
  result.digest = storage::FromProto(chunk.digest());
  result.move = FromProto(chunk.move());
  result.fence = Position(chunk.fence());
  result.fence_digest = storage::FromProto(chunk.fence_digest());
  result.moved_to = chunk.moved_to();
  result.collection_name = chunk.collection();
  result.shard_key = chunk.shard_key();
  if (chunk.has_side()) {
    result.side = SideSum{.begin = Position(chunk.side().begin()),
                          .at = chunk.side().at(),
                          .sum = storage::FromProto(chunk.side().sum())};
  }
  if (chunk.has_import()) result.import = ImportFromProto(chunk.import());
  return result;
}

v1::OwnedChunk ToProto(const OwnedChunk& chunk) {
  v1::OwnedChunk result;
  result.set_collection_id(chunk.collection.value());
  result.set_epoch(chunk.epoch);
  *result.mutable_range() = ToProto(chunk.range);
  result.set_copy_id(chunk.copy.value());
  result.set_token(chunk.token.value());
  result.set_state(StateToProto(chunk.state));
  *result.mutable_digest() = storage::ToProto(chunk.digest);
  *result.mutable_move() = ToProto(chunk.move);
  result.set_fence(chunk.fence.value());
  *result.mutable_fence_digest() = storage::ToProto(chunk.fence_digest);
  if (chunk.state == ChunkState::kReleased) *result.mutable_moved_to() = chunk.moved_to;
  result.set_collection(chunk.collection_name);
  result.set_shard_key(chunk.shard_key);
  if (chunk.side) {
    v1::SideSum* side = result.mutable_side();
    side->set_begin(chunk.side->begin.value());
    side->set_at(chunk.side->at);
    *side->mutable_sum() = storage::ToProto(chunk.side->sum);
  }
  if (chunk.import) *result.mutable_import() = ImportToProto(*chunk.import);
  return result;
}

}  // namespace terrane::shard
