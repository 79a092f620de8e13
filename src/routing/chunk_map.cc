#include "routing/chunk_map.h"

#include <algorithm>

#include "routing/range_proto.h"

namespace terrane::routing {
namespace {

ChunkRoute FromChunk(const v1::Chunk& chunk) {
  return {FromProto(chunk.range()), CopyId(chunk.copy_id()), Token(chunk.token()), chunk.shard()};
}

ShardEndpoints FromShard(const v1::Shard& shard) {
  ShardEndpoints endpoints;
  for (const auto& replica : shard.replicas()) endpoints.replicas.push_back(replica.endpoint());
  endpoints.leader = shard.leader_endpoint();
  return endpoints;
}

// The routes of `old` that bear a greater token than `fresh` somewhere in their range.
std::vector<ChunkRoute> Ahead(const ChunkRoutes& old, const ChunkRoutes& fresh) {
  std::vector<ChunkRoute> ahead;
  old.ForEach([&](const ChunkRoute& route) {
    for (const ChunkRoute* known : fresh.Overlapping(route.range)) {
      if (known->token < route.token) {
        ahead.push_back(route);
        break;
      }
    }
  });
  return ahead;
}

}  // namespace

const CollectionRoutes* ChunkMap::FindCollection(std::string_view name) const {
  auto it = names_.find(name);
  return it == names_.end() ? nullptr : FindCollection(it->second);
}

const CollectionRoutes* ChunkMap::FindCollection(CollectionId id) const {
  auto it = collections_.find(id);
  return it == collections_.end() ? nullptr : it->second.get();
}

const ChunkRoute* ChunkMap::Find(CollectionId id, std::string_view key) const {
  const CollectionRoutes* collection = FindCollection(id);
  return collection == nullptr ? nullptr : collection->chunks.Find(key);
}

const ShardEndpoints* ChunkMap::FindShard(std::string_view name) const {
  auto it = shards_.find(name);
  return it == shards_.end() ? nullptr : &it->second;
}

std::vector<std::string> ChunkMap::CollectionNames() const {
  std::vector<std::string> names;
  for (const auto& [name, id] : names_) names.push_back(name);
  return names;
}

size_t ChunkMap::chunk_count() const {
  size_t count = 0;
  for (const auto& [id, collection] : collections_) count += collection->chunks.size();
  return count;
}

std::shared_ptr<const ChunkMap> ChunkMap::With(const v1::WatchEvent& event) const {
  if (event.revision() <= revision_.value()) return WithLeaders(event);
  auto next = std::make_shared<ChunkMap>();
  if (!event.snapshot()) *next = *this;
  next->revision_ = Revision(event.revision());

  std::map<CollectionId, std::vector<ChunkRoute>> updates;
  for (const v1::Chunk& chunk : event.chunks())
    updates[CollectionId(chunk.collection_id())].push_back(FromChunk(chunk));

  const auto drop = [&next](CollectionId id) {
    auto it = next->collections_.find(id);
    if (it == next->collections_.end()) return;
    auto name = next->names_.find(it->second->name);
    if (name != next->names_.end() && name->second == id) next->names_.erase(name);
    next->collections_.erase(it);
  };
  for (uint32_t id : event.dropped_collections()) drop(CollectionId(id));
  for (const v1::Collection& message : event.collections()) {
    const CollectionId id(message.id());
    if (message.state() != v1::Collection::READY) {
      drop(id);
      continue;
    }
    auto collection = std::make_shared<CollectionRoutes>();
    if (const CollectionRoutes* known = next->FindCollection(id)) *collection = *known;
    collection->id = id;
    collection->name = message.name();
    collection->shard_key = message.shard_key();
    collection->epoch = message.epoch();
    next->names_[collection->name] = id;
    next->collections_[id] = std::move(collection);
  }
  for (auto& [id, chunks] : updates) {
    const CollectionRoutes* known = next->FindCollection(id);
    if (known == nullptr) continue;  // not visible (any more)
    auto collection = std::make_shared<CollectionRoutes>();
    collection->id = known->id;
    collection->name = known->name;
    collection->shard_key = known->shard_key;
    collection->epoch = known->epoch;
    collection->chunks = known->chunks.With(chunks);
    if (event.snapshot()) {
      if (const CollectionRoutes* before = FindCollection(id)) {
        const std::vector<ChunkRoute> ahead = Ahead(before->chunks, collection->chunks);
        if (!ahead.empty()) collection->chunks = collection->chunks.With(ahead);
      }
    }
    next->collections_[id] = std::move(collection);
  }
  for (const v1::Shard& shard : event.shards()) next->shards_[shard.name()] = FromShard(shard);
  return next;
}

std::shared_ptr<const ChunkMap> ChunkMap::WithLeaders(const v1::WatchEvent& event) const {
  std::shared_ptr<ChunkMap> next;
  for (const v1::Shard& shard : event.shards()) {
    const ShardEndpoints* known = FindShard(shard.name());
    const std::string& leader = shard.leader_endpoint();
    if (known == nullptr || leader.empty() || leader == known->leader) continue;
    // An older event may name somebody who has left.
    if (std::find(known->replicas.begin(), known->replicas.end(), leader) == known->replicas.end()) continue;
    if (next == nullptr) next = std::make_shared<ChunkMap>(*this);
    next->shards_[shard.name()].leader = leader;
  }
  return next;
}

std::shared_ptr<const ChunkMap> ChunkMap::WithLearned(const v1::Route& route) const {
  const CollectionRoutes* known = FindCollection(CollectionId(route.collection_id()));
  if (known == nullptr || route.shard().empty() || route.copy_id() == 0) return nullptr;
  ChunkRoute update{FromProto(route.range()), CopyId(route.copy_id()), Token(route.token()), route.shard()};
  if (update.range.Empty()) return nullptr;
  bool news = false;
  const auto overlapping = known->chunks.Overlapping(update.range);
  for (const ChunkRoute* old : overlapping) news |= old->token < update.token;
  if (!news && !overlapping.empty()) return nullptr;
  auto collection = std::make_shared<CollectionRoutes>(*known);
  collection->chunks = known->chunks.With({std::move(update)});
  auto next = std::make_shared<ChunkMap>(*this);
  next->collections_[known->id] = std::move(collection);
  return next;
}

}  // namespace terrane::routing
