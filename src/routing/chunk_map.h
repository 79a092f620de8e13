// Everything that a router knows at one revision of the metadata service: collections, their routes, shards.
//
// Immutable; versions share what did not change. Pure, thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/ids.h"
#include "routing/chunk_routes.h"
#include "terrane/v1/metadata.pb.h"

namespace terrane::routing {

struct CollectionRoutes {
  CollectionId id;
  std::string name;
  std::string shard_key;  // BSON
  uint64_t epoch = 0;
  ChunkRoutes chunks;
};

struct ShardEndpoints {
  std::vector<std::string> replicas;
  std::string leader;  // as last heard; may be empty
};

class ChunkMap {
 public:
  // Nothing is known, revision 0.
  ChunkMap() = default;

  Revision revision() const { return revision_; }

  // nullptr: no such collection. Valid as long as the map.
  const CollectionRoutes* FindCollection(std::string_view name) const;
  const CollectionRoutes* FindCollection(CollectionId id) const;
  // nullptr: nothing is known of that key.
  const ChunkRoute* Find(CollectionId id, std::string_view key) const;
  const ShardEndpoints* FindShard(std::string_view name) const;

  std::vector<std::string> CollectionNames() const;
  const std::map<std::string, ShardEndpoints, std::less<>>& shards() const { return shards_; }
  size_t chunk_count() const;

  // The next version. An event of a revision that is known already tells nothing new but who leads the shards, which
  // belongs to no revision; nullptr: not even that. A snapshot replaces all, but a route learned from a rejection that
  // bears a greater token than the snapshot's stays.
  std::shared_ptr<const ChunkMap> With(const v1::WatchEvent& event) const;
  // The next version with one route that a shard told of; nullptr if that is nothing new (the collection is unknown, or
  // the key's token is not less). The revision stays.
  std::shared_ptr<const ChunkMap> WithLearned(const v1::Route& route) const;

 private:
  // Of an event that is no newer than this.
  std::shared_ptr<const ChunkMap> WithLeaders(const v1::WatchEvent& event) const;

  Revision revision_;
  std::map<CollectionId, std::shared_ptr<const CollectionRoutes>> collections_;
  std::map<std::string, CollectionId, std::less<>> names_;
  std::map<std::string, ShardEndpoints, std::less<>> shards_;
};

}  // namespace terrane::routing
