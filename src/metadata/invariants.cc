#include "metadata/invariants.h"

#include <map>
#include <set>

#include "common/strings.h"
#include "migration/ranges.h"
#include "migration/stages.h"

namespace terrane::metadata {
namespace {

using migration::FromProto;
using migration::Stage;
using migration::StageOf;
using ChunkMap = std::map<uint32_t, std::map<std::string, const v1::Chunk*>>;

ChunkMap ByCollection(const v1::MetadataState& state) {
  ChunkMap chunks;
  for (const auto& chunk : state.chunks()) chunks[chunk.collection_id()].emplace(chunk.range().min(), &chunk);
  return chunks;
}

void CheckTiling(const v1::MetadataState& state, std::vector<std::string>* broken) {
  ChunkMap chunks = ByCollection(state);
  std::set<uint32_t> known;
  size_t counted = 0;
  for (const auto& collection : state.collections()) {
    known.insert(collection.id());
    std::string reached;
    bool unbounded = false;
    for (const auto& [min, chunk] : chunks[collection.id()]) {
      ++counted;
      if (unbounded || min < reached) {
        broken->push_back(StrCat("M1: chunk ", FromProto(chunk->range()).ToString(), " of ", collection.name(),
                                 " overlaps the one before"));
      } else if (min > reached) {
        broken->push_back(
            StrCat("M1: a gap before chunk ", FromProto(chunk->range()).ToString(), " of ", collection.name()));
      }
      if (FromProto(chunk->range()).Empty()) broken->push_back(StrCat("M1: an empty chunk in ", collection.name()));
      unbounded = chunk->range().unbounded();
      reached = chunk->range().max();
    }
    if (!unbounded) broken->push_back(StrCat("M1: a gap at the end of ", collection.name()));
  }
  if (counted != static_cast<size_t>(state.chunks_size())) {
    broken->push_back("M1: two chunks begin at one key, or a chunk's collection is unknown");
  }
}

void CheckCopies(const v1::MetadataState& state, std::vector<std::string>* broken) {
  std::map<uint32_t, std::pair<uint32_t, std::string>> owner;  // copy -> collection, shard
  for (const auto& chunk : state.chunks()) {
    if (chunk.copy_id() == 0 || chunk.copy_id() >= state.next_copy_id()) {
      broken->push_back(StrCat("M5: copy ", chunk.copy_id(), " was never handed out"));
    }
    auto [known, fresh] = owner.try_emplace(chunk.copy_id(), chunk.collection_id(), chunk.shard());
    if (!fresh && known->second != std::make_pair(chunk.collection_id(), chunk.shard())) {
      broken->push_back(StrCat("M3: copy ", chunk.copy_id(), " is on two shards or in two collections"));
    }
  }
  std::set<uint32_t> targets;
  for (const auto& record : state.migrations()) {
    if (!targets.insert(record.target_copy()).second || record.target_copy() >= state.next_copy_id()) {
      broken->push_back(
          StrCat("M3: copy ", record.target_copy(), " of migration ", record.id(), " was handed out twice or never"));
    }
    if (migration::BeforeCommit(StageOf(record)) && owner.contains(record.target_copy())) {
      broken->push_back(
          StrCat("M3: copy ", record.target_copy(), " is an owner before migration ", record.id(), " is committed"));
    }
  }
}

// Its chunk must still point at it.
bool HoldsChunk(Stage stage) {
  return migration::BeforeCommit(stage) || stage == Stage::kAborting || stage == Stage::kCommitted ||
         stage == Stage::kReversible || stage == Stage::kRollingBack;
}

void CheckMigrations(const v1::MetadataState& state, std::vector<std::string>* broken) {
  std::map<uint64_t, const v1::Migration*> records;
  for (const auto& record : state.migrations()) {
    records[record.id()] = &record;
    if (record.id() >= state.next_migration_id())
      broken->push_back(StrCat("M5: migration ", record.id(), " was never handed out"));
    if (record.id() < state.dead_below())
      broken->push_back(StrCat("M6: migration ", record.id(), " is dead and has a record"));
    if (!migration::IsKnownStage(record.stage()))
      broken->push_back(StrCat("M4: migration ", record.id(), " is in an unknown stage"));
  }
  std::set<uint64_t> holding;
  for (const auto& chunk : state.chunks()) {
    if (chunk.migration_id() == 0) continue;
    auto found = records.find(chunk.migration_id());
    if (found == records.end()) {
      broken->push_back(StrCat("M4: a chunk is in migration ", chunk.migration_id(), ", which has no record"));
      continue;
    }
    const v1::Migration& record = *found->second;
    const Stage stage = StageOf(record);
    const bool source_owns = migration::BeforeCommit(stage) || stage == Stage::kAborting;
    if (!holding.insert(record.id()).second || !HoldsChunk(stage) || record.collection_id() != chunk.collection_id() ||
        !migration::SameRange(record.range(), chunk.range()) ||
        chunk.copy_id() != (source_owns ? record.source_copy() : record.target_copy()) ||
        chunk.shard() != (source_owns ? record.source() : record.target()) ||
        chunk.token() != record.token() + (source_owns ? 0 : 1)) {
      broken->push_back(StrCat("M4: migration ", record.id(), " in ", migration::NameOf(stage), " and its chunk ",
                               FromProto(chunk.range()).ToString(), " contradict each other"));
    }
  }
  for (const auto& [id, record] : records) {
    if (HoldsChunk(StageOf(*record)) && !holding.contains(id)) {
      broken->push_back(StrCat("M4: the chunk of migration ", id, " does not know of it"));
    }
  }
}

}  // namespace

std::vector<std::string> CheckInvariants(const v1::MetadataState& state) {
  std::vector<std::string> broken;
  CheckTiling(state, &broken);
  CheckCopies(state, &broken);
  CheckMigrations(state, &broken);
  for (const auto& collection : state.collections()) {
    if (collection.id() >= state.next_collection_id()) {
      broken.push_back(StrCat("M5: collection ", collection.id(), " was never handed out"));
    }
  }
  return broken;
}

std::vector<std::string> CheckHistory(const v1::MetadataState& before, const v1::MetadataState& after) {
  std::vector<std::string> broken;
  if (after.revision() < before.revision() || after.next_copy_id() < before.next_copy_id() ||
      after.next_collection_id() < before.next_collection_id() ||
      after.next_migration_id() < before.next_migration_id() || after.dead_below() < before.dead_below()) {
    broken.push_back("M5: the revision or a next id went back");
  }
  ChunkMap old_chunks = ByCollection(before);
  for (const auto& chunk : after.chunks()) {
    for (const auto& [min, old] : old_chunks[chunk.collection_id()]) {
      if (!FromProto(old->range()).Overlaps(FromProto(chunk.range()))) continue;
      if (chunk.token() < old->token()) {
        broken.push_back(StrCat("M2: the token of ", FromProto(chunk.range()).ToString(), " went back from ",
                                old->token(), " to ", chunk.token()));
      }
      if (chunk.token() == old->token() && (chunk.shard() != old->shard() || chunk.copy_id() != old->copy_id())) {
        broken.push_back(StrCat("M2: token ", chunk.token(), " of ", FromProto(chunk.range()).ToString(),
                                " names two owners: ", old->shard(), " and ", chunk.shard()));
      }
    }
  }
  std::set<uint64_t> kept;
  for (const auto& record : after.migrations()) kept.insert(record.id());
  for (const auto& record : before.migrations()) {
    if (kept.contains(record.id())) continue;
    if (!migration::IsEnded(StageOf(record)) || record.id() >= after.dead_below()) {
      broken.push_back(StrCat("M6: the record of migration ", record.id(), " went too early"));
    }
  }
  return broken;
}

}  // namespace terrane::metadata
