// The gate: what a request or a write entry may touch.
#include <utility>

#include "shard/convert.h"
#include "shard/ownership.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

v1::Route OwnRoute(const OwnedChunk& chunk) {
  v1::Route route;
  route.set_collection_id(chunk.collection.value());
  *route.mutable_range() = ToProto(chunk.range);
  route.set_copy_id(chunk.copy.value());
  route.set_token(chunk.token.value());
  return route;
}

Verdict Stale(std::optional<v1::Route> owner) {
  return {.kind = Verdict::Kind::kStaleRoute, .owner = std::move(owner), .move = {}};
}
Verdict Of(Verdict::Kind kind) {
  return {.kind = kind, .owner = {}, .move = {}};
}

}  // namespace

// A route of this shard for the key, or where a released copy went; the greatest token wins.
std::optional<v1::Route> Ownership::KnownOwner(CollectionId collection, std::string_view key) const {
  std::optional<v1::Route> best;
  for (const auto& [copy, chunks] : copies_) {
    const OwnedChunk* chunk = At(copy, key);
    if (chunk == nullptr || chunk->collection != collection) continue;
    std::optional<v1::Route> route;
    switch (chunk->state) {
      case ChunkState::kOwned:
      case ChunkState::kWriteFenced:
      case ChunkState::kReadFenced:
        route = OwnRoute(*chunk);
        break;
      case ChunkState::kReleased:
        route = chunk->moved_to;
        break;
      case ChunkState::kImporting:  // says nothing about an owner before the commit
      case ChunkState::kComplete:
        break;
    }
    if (route && (!best || route->token() > best->token())) best = std::move(route);
  }
  return best;
}

Verdict Ownership::CheckChunk(const RequestRoute& route, const OwnedChunk& chunk, bool write) const {
  const bool proof = route.token > chunk.token;  // and it names this very copy
  switch (chunk.state) {
    case ChunkState::kOwned:
      if (proof) return Of(Verdict::Kind::kServeByProof);
      if (route.token < chunk.token) return Stale(OwnRoute(chunk));
      return Of(Verdict::Kind::kServe);
    case ChunkState::kWriteFenced:
    case ChunkState::kReadFenced:
      if (proof) return Of(Verdict::Kind::kServeByProof);  // the attempt that fenced has ended
      if (route.token < chunk.token) return Stale(OwnRoute(chunk));
      if (!write && chunk.state == ChunkState::kWriteFenced) return Of(Verdict::Kind::kServe);  // trap T10
      return {.kind = Verdict::Kind::kFenced, .owner = {}, .move = chunk.move};
    case ChunkState::kComplete:
      if (proof) return Of(Verdict::Kind::kServeByProof);  // committed
      return Stale(std::nullopt);
    case ChunkState::kImporting:
      // No commit without K, so nobody can know a greater token of this copy; if somebody does, ask.
      return proof ? Of(Verdict::Kind::kAhead) : Stale(std::nullopt);
    case ChunkState::kReleased:
      if (route.token > Token(chunk.moved_to.token())) return Of(Verdict::Kind::kAhead);
      return Stale(chunk.moved_to);
  }
  return Of(Verdict::Kind::kAhead);
}

Verdict Ownership::CheckKey(const RequestRoute& route, std::string_view key, bool write) const {
  const OwnedChunk* chunk = At(route.copy, key);
  if (chunk != nullptr && chunk->collection == route.collection) return CheckChunk(route, *chunk, write);
  std::optional<v1::Route> owner = KnownOwner(route.collection, key);
  // Never names an owner that the request knows to be outdated.
  if (owner && Token(owner->token()) <= route.token) return Of(Verdict::Kind::kAhead);
  return Stale(std::move(owner));
}

Verdict Ownership::Check(const RequestRoute& route, const KeyRange& range, bool write) const {
  Verdict result;
  std::string reached = range.min;
  for (;;) {
    Verdict verdict = CheckKey(route, reached, write);
    if (!verdict.serves()) return verdict;
    if (verdict.kind == Verdict::Kind::kServeByProof) result = std::move(verdict);
    const OwnedChunk* chunk = At(route.copy, reached);
    if (!chunk->range.max || (range.max && *chunk->range.max >= *range.max)) return result;
    reached = *chunk->range.max;
  }
}

Verdict Ownership::AdmitWrite(const RequestRoute& route, std::span<const std::string_view> keys) {
  Verdict result;
  const OwnedChunk* last = nullptr;
  std::vector<OwnedChunk*> proven;
  for (std::string_view key : keys) {
    if (last != nullptr && last->range.Contains(key)) continue;
    Verdict verdict = CheckKey(route, key, true);
    if (!verdict.serves()) return verdict;
    OwnedChunk* chunk = At(route.copy, key);
    if (verdict.kind == Verdict::Kind::kServeByProof) {
      proven.push_back(chunk);
      result = std::move(verdict);
    }
    last = chunk;
  }
  for (OwnedChunk* chunk : proven) {
    chunk->state = ChunkState::kOwned;
    chunk->token = route.token;
    chunk->fence = {};
    structure_changed_ = true;
  }
  return result;
}

}  // namespace terrane::shard
