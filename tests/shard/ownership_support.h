// A short notation for ownership tests: one chunk [b, m) of collection 1, copy 10 on the source and 20 on the target,
// in migration 7.
#pragma once

#include <string>
#include <string_view>

#include "shard/convert.h"
#include "shard/ownership.h"

namespace terrane::shard {

inline constexpr CollectionId kCollection{1};
inline constexpr CopyId kSourceCopy{10};
inline constexpr CopyId kTargetCopy{20};
inline constexpr MoveRef kMove{MigrationId(7), Attempt(1)};
inline constexpr MoveRef kSecondAttempt{MigrationId(7), Attempt(2)};
inline constexpr Token kToken{5};

inline const KeyRange& Range() {
  static const KeyRange range{"b", "m"};
  return range;
}

template <typename Entry>
Entry Step(const MoveRef& move) {
  Entry entry;
  *entry.mutable_move() = ToProto(move);
  return entry;
}

inline terrane::v1::CreateChunk Create(KeyRange range = Range(), CopyId copy = kSourceCopy, Token token = kToken) {
  terrane::v1::CreateChunk entry;
  entry.set_collection_id(kCollection.value());
  *entry.mutable_range() = ToProto(range);
  entry.set_copy_id(copy.value());
  entry.set_token(token.value());
  return entry;
}

template <typename Entry>
Entry OnSource(const MoveRef& move) {
  Entry entry = Step<Entry>(move);
  entry.set_collection_id(kCollection.value());
  *entry.mutable_range() = ToProto(Range());
  entry.set_copy_id(kSourceCopy.value());
  return entry;
}
inline terrane::v1::PinEntry PinStep(MoveRef move = kMove) {
  return OnSource<terrane::v1::PinEntry>(move);
}
inline terrane::v1::FenceEntry Fence(MoveRef move = kMove, Token token = kToken) {
  auto entry = OnSource<terrane::v1::FenceEntry>(move);
  entry.set_token(token.value());
  return entry;
}
inline terrane::v1::FenceReadsEntry FenceReads(Position fence, MoveRef move = kMove) {
  auto entry = Step<terrane::v1::FenceReadsEntry>(move);
  entry.set_collection_id(kCollection.value());
  *entry.mutable_range() = ToProto(Range());
  entry.set_fence(fence.value());
  return entry;
}
inline terrane::v1::EndAttemptEntry End(MoveRef move = kMove, Token token = Token(6), bool abort = false,
                                        CopyId copy = kSourceCopy) {
  auto entry = OnSource<terrane::v1::EndAttemptEntry>(move);
  entry.set_token(token.value());
  entry.set_abort(abort);
  entry.set_copy_id(copy.value());
  return entry;
}
inline terrane::v1::ReleaseCopy Release(MoveRef move = kMove) {
  auto entry = OnSource<terrane::v1::ReleaseCopy>(move);
  entry.mutable_to()->set_shard("other");
  entry.mutable_to()->set_copy_id(kTargetCopy.value());
  entry.mutable_to()->set_token(6);
  return entry;
}
inline terrane::v1::DropCopy Drop(CopyId copy, MoveRef move = kMove) {
  terrane::v1::DropCopy entry = Step<terrane::v1::DropCopy>(move);
  entry.set_collection_id(kCollection.value());
  entry.set_copy_id(copy.value());
  *entry.mutable_range() = ToProto(Range());
  return entry;
}
inline terrane::v1::PrepareCopy Prepare(MoveRef move = kMove, CopyId copy = kTargetCopy, Position pin = Position(100)) {
  auto entry = Step<terrane::v1::PrepareCopy>(move);
  entry.set_collection_id(kCollection.value());
  *entry.mutable_range() = ToProto(Range());
  entry.set_copy_id(copy.value());
  entry.set_token(kToken.value());
  entry.set_source("other");
  entry.set_source_copy(kSourceCopy.value());
  entry.set_pin(pin.value());
  return entry;
}
inline terrane::v1::IngestSegment Segment(Position reflects, KeyRange range = Range(), MoveRef move = kMove,
                                          const ChunkDigest& digest = {}) {
  auto entry = Step<terrane::v1::IngestSegment>(move);
  entry.set_copy_id(kTargetCopy.value());
  *entry.mutable_range() = ToProto(range);
  entry.set_source_position(reflects.value());
  *entry.mutable_digest() = storage::ToProto(digest);
  return entry;
}
inline terrane::v1::ImportBatch Batch(Position from, Position to, MoveRef move = kMove) {
  auto entry = Step<terrane::v1::ImportBatch>(move);
  entry.set_copy_id(kTargetCopy.value());
  entry.set_from_position(from.value());
  entry.set_to_position(to.value());
  return entry;
}
inline terrane::v1::BeginRangeRepair Repair(KeyRange range, Position reflects, MoveRef move = kMove) {
  auto entry = Step<terrane::v1::BeginRangeRepair>(move);
  entry.set_copy_id(kTargetCopy.value());
  *entry.mutable_range() = ToProto(range);
  entry.set_source_position(reflects.value());
  return entry;
}
inline terrane::v1::CompleteEntry Complete(Position fence, MoveRef move = kMove, Token token = kToken,
                                           const ChunkDigest& digest = {}) {
  auto entry = Step<terrane::v1::CompleteEntry>(move);
  entry.set_copy_id(kTargetCopy.value());
  entry.set_fence(fence.value());
  entry.set_token(token.value());
  *entry.mutable_digest() = storage::ToProto(digest);
  return entry;
}
inline terrane::v1::OwnCopy Own(MoveRef move = kMove, Token token = Token(6)) {
  auto entry = Step<terrane::v1::OwnCopy>(move);
  entry.set_copy_id(kTargetCopy.value());
  entry.set_token(token.value());
  return entry;
}

inline RequestRoute To(CopyId copy, Token token) {
  return {kCollection, copy, token};
}

inline ChunkDigest DigestOf(std::string_view key, std::string_view document) {
  ChunkDigest digest;
  digest.AddDocument(key, "id", document);
  return digest;
}

// A target that has all it needs for K at fence 120.
inline Ownership CaughtUpTarget() {
  Ownership target;
  target.ApplyPrepare(Prepare(), Position(1));
  target.ApplyIngest(Segment(Position(110)), Position(2));
  target.FinishImportBatch(Batch(Position(100), Position(120)));
  return target;
}

// The state of the only record of the copy; nullopt if there is none.
inline std::optional<ChunkState> StateOf(const Ownership& ownership, CopyId copy) {
  auto chunks = ownership.OfCopy(copy);
  if (chunks.size() != 1) return std::nullopt;
  return chunks[0]->state;
}

}  // namespace terrane::shard
