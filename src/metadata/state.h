// The state of the metadata service: collections, chunks with their owners and tokens, shards, migrations, settings.
//
// Pure: no thread, clock or disk. Apply is the only way to change it; the same commands in the same order make the same
// state on every node. Every command bears its own precondition (compare-and-set on token, stage and attempt), so that
// what comes late or twice is refused. Not thread-safe; the host (state_machine.h) guards it.
//
// Invariants, checked by invariants.h:
//   M1  The chunks of a collection tile the key space: no gap, no overlap.
//   M2  The token of a key never goes back (trap T06); one token of one key never names two owners.
//   M3  A copy id is handed out once; a copy is named as an owner only by CreateCollection or the commit of its move.
//   M4  A chunk is in at most one migration, and that record names the chunk's range, owner, copy and token as long as
//       the move is not committed.
//   M5  Ids of collections, copies and migrations only grow; everything handed out is below the next one.
//   M6  A record of a migration goes only after it ended, and its id is below `dead_below` from then on (trap T64).
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "terrane/v1/metadata.pb.h"
#include "terrane/v1/metadata_state.pb.h"

namespace terrane::metadata {

// Idempotency ids that are remembered; a resend comes within seconds.
inline constexpr size_t kRememberedRequests = 4096;
inline constexpr int64_t kDefaultMaxPauseMs = 2000;

// What one command did.
struct Applied {
  v1::CommandResult result;
  // What proxies are to be told, with the new revision; nothing set but the revision: nothing.
  v1::WatchEvent delta;
  std::vector<uint64_t> migrations;   // records that are new, changed or gone
  std::vector<uint32_t> collections;  // likewise
  bool settings = false;              // a setting changed
  bool HasRoutes() const {
    return delta.collections_size() + delta.dropped_collections_size() + delta.chunks_size() + delta.shards_size() > 0;
  }
};

class State {
 public:
  using Chunks = std::map<std::string, v1::Chunk, std::less<>>;  // by range.min
  struct CollectionEntry {
    v1::Collection record;
    Chunks chunks;  // M1
  };

  State() = default;
  State(State&&) = default;
  State& operator=(State&&) = default;

  // Never fails as a whole: a refused command answers with a code, and changes nothing. The revision grows by one with
  // each command that changes something.
  Applied Apply(const v1::MetadataCommand& command);

  // ---- reading; pointers hold until the next Apply ----
  Revision revision() const { return Revision(revision_); }
  const std::string& cluster() const { return cluster_; }
  uint64_t dead_below() const { return dead_below_; }
  // By name; only one that is not being dropped.
  const CollectionEntry* FindCollection(std::string_view name) const;
  const CollectionEntry* FindCollection(CollectionId id) const;
  const std::map<uint32_t, CollectionEntry>& collections() const { return collections_; }
  // The chunk that contains the key; null if the collection is unknown.
  const v1::Chunk* FindChunk(CollectionId collection, std::string_view key) const;
  const v1::Shard* FindShard(std::string_view name) const;
  const std::map<std::string, v1::Shard, std::less<>>& shards() const { return shards_; }
  const v1::Migration* FindMigration(uint64_t id) const;
  const std::map<uint64_t, v1::Migration>& migrations() const { return migrations_; }
  std::string Setting(std::string_view name) const;
  const std::map<std::string, std::string, std::less<>>& settings() const { return settings_; }
  // All routes of visible collections, as one event.
  v1::WatchEvent Routes() const;
  size_t chunk_count() const;
  // How many each shard owns; none: not in it.
  std::map<std::string, int64_t> ChunksOfShards() const;

  // ---- whole ----
  v1::MetadataState ToProto() const;
  // kDataLoss: it breaks an invariant, which the message names.
  static absl::StatusOr<State> FromProto(const v1::MetadataState& proto);

 private:
  friend class Transition;

  uint64_t revision_ = 0;
  uint32_t next_collection_id_ = 1;
  uint32_t next_copy_id_ = 1;
  uint64_t next_migration_id_ = 1;
  uint64_t dead_below_ = 1;
  std::string cluster_;
  std::map<uint32_t, CollectionEntry> collections_;
  std::map<std::string, uint32_t, std::less<>> names_;  // of collections that are not being dropped
  std::map<std::string, v1::Shard, std::less<>> shards_;
  std::map<uint64_t, v1::Migration> migrations_;
  std::map<std::string, std::string, std::less<>> settings_;
  std::unordered_map<std::string, std::string> requests_;  // id -> serialized CommandResult
  std::deque<std::string> request_order_;                  // oldest first
};

}  // namespace terrane::metadata
