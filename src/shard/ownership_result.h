// Short words for what the ownership_*.cc files return. Private to them.
#pragma once

#include <string>
#include <utility>

#include "common/strings.h"
#include "shard/ownership.h"

namespace terrane::shard {

inline EntryResult Refuse(Outcome outcome, std::string why) {
  return {.outcome = outcome, .position = {}, .digest = {}, .why = std::move(why)};
}
inline EntryResult Done(Outcome outcome, Position position, ChunkDigest digest = {}) {
  return {.outcome = outcome, .position = position, .digest = digest, .why = {}};
}
inline EntryResult RefuseDead(const MoveRef& move) {
  return Refuse(Outcome::kStaleAttempt,
                StrCat("attempt ", move.attempt.value(), " of migration ", move.id.value(), " has ended"));
}
inline EntryResult RefuseUnknown(CopyId copy, const KeyRange& range) {
  return Refuse(Outcome::kNoSuchChunk, StrCat("copy ", copy.value(), " has no chunk ", range.ToString(), " here"));
}
inline EntryResult RefuseState(const OwnedChunk& chunk) {
  return Refuse(Outcome::kWrongState, StrCat("copy ", chunk.copy.value(), " is ", StateName(chunk.state)));
}

}  // namespace terrane::shard
