// The pure part of the audit.
#include <map>
#include <set>

#include "common/status.h"
#include "metadata/check.h"
#include "metadata/invariants.h"
#include "migration/ranges.h"
#include "migration/stages.h"

namespace terrane::metadata {
namespace {

using migration::Stage;

std::string Range(const v1::KeyRange& range) {
  return migration::FromProto(range).ToString();
}

bool Serves(v1::OwnedChunk::State state) {
  return state == v1::OwnedChunk::OWNED || state == v1::OwnedChunk::WRITE_FENCED ||
         state == v1::OwnedChunk::READ_FENCED;
}

class Comparison {
 public:
  Comparison(const v1::MetadataState& state, const ShardReports& reports, const std::string& only)
      : state_(state), reports_(reports), only_(only) {
    for (const auto& collection : state.collections()) names_[collection.id()] = &collection;
    for (const auto& record : state.migrations()) records_[record.id()] = &record;
    for (const auto& chunk : state.chunks()) chunks_[chunk.copy_id()].push_back(&chunk);
  }

  std::vector<std::string> Run() {
    found_ = CheckInvariants(state_);
    for (const auto& [name, report] : reports_) {
      if (!report.ok()) found_.push_back(StrCat("shard ", name, " could not be asked: ", MessageOf(report.status())));
    }
    for (const auto& chunk : state_.chunks()) CheckChunk(chunk);
    for (const auto& [name, report] : reports_) {
      if (report.ok()) CheckShard(name, *report);
    }
    return std::move(found_);
  }

 private:
  bool Skips(uint32_t collection) const {
    auto found = names_.find(collection);
    if (found == names_.end()) return !only_.empty();
    return found->second->state() != v1::Collection::READY || (!only_.empty() && found->second->name() != only_);
  }
  std::string Name(uint32_t collection) const {
    auto found = names_.find(collection);
    return found == names_.end() ? StrCat("collection ", collection) : found->second->name();
  }

  // The map says that this shard owns it: does the shard?
  void CheckChunk(const v1::Chunk& chunk) {
    if (Skips(chunk.collection_id())) return;
    const std::string where = StrCat(Name(chunk.collection_id()), " ", Range(chunk.range()));
    auto report = reports_.find(chunk.shard());
    if (report == reports_.end()) {
      found_.push_back(StrCat("chunk ", where, " belongs to shard ", chunk.shard(), ", which is not registered"));
      return;
    }
    if (!report->second.ok()) return;  // said already
    const auto parts = PartsOf(*report->second, chunk.copy_id(), chunk.range());
    if (parts.empty()) {
      found_.push_back(StrCat("chunk ", where, " belongs to shard ", chunk.shard(), " (copy ", chunk.copy_id(),
                              "), which has no such chunk"));
    }
    for (const v1::OwnedChunk* part : parts) CheckPart(chunk, *part);
  }

  void CheckPart(const v1::Chunk& chunk, const v1::OwnedChunk& owned) {
    const std::string where = StrCat(Name(chunk.collection_id()), " ", Range(owned.range()));
    if (!Serves(owned.state())) {
      // COMPLETE serves by proof; the coordinator is about to tell it.
      const bool by_proof = owned.state() == v1::OwnedChunk::COMPLETE && chunk.migration_id() != 0;
      if (!by_proof) {
        found_.push_back(StrCat("shard ", chunk.shard(), " should serve chunk ", where, ", but holds it as ",
                                v1::OwnedChunk::State_Name(owned.state())));
      }
      return;
    }
    if (owned.state() != v1::OwnedChunk::OWNED && chunk.migration_id() == 0) {
      found_.push_back(StrCat("chunk ", where, " is fenced on shard ", chunk.shard(), ", but in no move"));
    }
    // A token that the shard has not heard of yet is learned with the first request; one beyond the map's was never
    // given out.
    if (owned.token() > chunk.token()) {
      found_.push_back(StrCat("chunk ", where, " has token ", chunk.token(), " in the map, and ", owned.token(),
                              " on shard ", chunk.shard()));
    }
    if (owned.token() < chunk.token() && chunk.migration_id() == 0 && owned.state() != v1::OwnedChunk::OWNED) {
      found_.push_back(StrCat("chunk ", where, " is fenced on shard ", chunk.shard(), " under token ", owned.token(),
                              ", the map says ", chunk.token()));
    }
  }

  // What the shard has: does the map agree?
  void CheckShard(const std::string& name, const v1::DescribeResponse& report) {
    std::set<uint32_t> accounted;
    for (const auto& owned : report.ownership().chunks()) {
      accounted.insert(owned.copy_id());
      if (Skips(owned.collection_id())) continue;
      if (Serves(owned.state()) && !Owns(name, owned)) {
        found_.push_back(StrCat("shard ", name, " serves ", Name(owned.collection_id()), " ", Range(owned.range()),
                                " as copy ", owned.copy_id(),
                                ", which the map does not know as an owner: two owners are possible"));
      } else if (!Serves(owned.state()) && !InMove(owned.copy_id())) {
        found_.push_back(StrCat("shard ", name, " holds copy ", owned.copy_id(), " of ", Name(owned.collection_id()),
                                " ", Range(owned.range()), " as ", v1::OwnedChunk::State_Name(owned.state()),
                                ", and no move needs it"));
      }
    }
    if (!only_.empty()) return;
    for (const auto& dropping : report.ownership().dropping()) accounted.insert(dropping.copy_id());
    for (uint32_t copy : report.copies_on_disk()) {
      if (!accounted.contains(copy)) {
        found_.push_back(StrCat("shard ", name, " has data of copy ", copy, ", which nobody owns"));
      }
    }
  }

  bool Owns(const std::string& shard, const v1::OwnedChunk& owned) const {
    auto found = chunks_.find(owned.copy_id());
    if (found != chunks_.end()) {
      for (const v1::Chunk* chunk : found->second) {
        if (chunk->shard() == shard &&
            migration::FromProto(chunk->range()).Contains(migration::FromProto(owned.range()))) {
          return true;
        }
      }
    }
    // A source that is fenced or has not heard of the commit yet.
    for (const auto& [id, record] : records_) {
      if (record->source_copy() == owned.copy_id() && record->source() == shard &&
          migration::StageOf(*record) == Stage::kCommitted && owned.state() != v1::OwnedChunk::OWNED) {
        return true;
      }
    }
    return false;
  }

  bool InMove(uint32_t copy) const {
    for (const auto& [id, record] : records_) {
      if (migration::IsEnded(migration::StageOf(*record))) continue;
      if (record->source_copy() == copy || record->target_copy() == copy) return true;
    }
    return false;
  }

  const v1::MetadataState& state_;
  const ShardReports& reports_;
  const std::string& only_;
  std::map<uint32_t, const v1::Collection*> names_;
  std::map<uint64_t, const v1::Migration*> records_;
  std::map<uint32_t, std::vector<const v1::Chunk*>> chunks_;  // by copy
  std::vector<std::string> found_;
};

}  // namespace

std::vector<std::string> CompareMapWithShards(const v1::MetadataState& state, const ShardReports& reports,
                                              const std::string& collection) {
  return Comparison(state, reports, collection).Run();
}

}  // namespace terrane::metadata
