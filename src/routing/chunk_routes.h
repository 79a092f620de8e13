// Who owns which keys of one collection: sorted, disjoint routes in blocks that versions share.
//
// Immutable; a change makes a new version that shares all untouched blocks with the old one, so that readers are never
// blocked and a delta costs microseconds however many chunks there are. Pure, thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/ids.h"
#include "common/key_range.h"

namespace terrane::routing {

// What a proxy knows of one chunk, or of the part of it that nobody has contradicted.
struct ChunkRoute {
  KeyRange range;
  CopyId copy;
  Token token;
  ShardName shard;
  friend bool operator==(const ChunkRoute&, const ChunkRoute&) = default;
};

class ChunkRoutes {
 public:
  ChunkRoutes() = default;

  // The route that holds the key; nullptr: nothing is known. Valid as long as this version.
  const ChunkRoute* Find(std::string_view key) const;
  // The routes that overlap the range, ascending. There may be gaps.
  std::vector<const ChunkRoute*> Overlapping(const KeyRange& range) const;
  // Calls fn(const ChunkRoute&) in ascending order.
  template <typename Fn>
  void ForEach(Fn fn) const {
    for (const BlockRef& ref : blocks_) {
      for (const ChunkRoute& route : ref.block->routes) fn(route);
    }
  }
  size_t size() const { return size_; }

  // The next version: each update replaces what was known in its range, but never a greater token (trap T06): there the
  // known route stays, and the update holds in the rest of its range. Parts of old routes beyond an update stay.
  ChunkRoutes With(const std::vector<ChunkRoute>& updates) const;

 private:
  // Routes of a block are ascending and disjoint, and a block is never empty.
  static constexpr size_t kBlockRoutes = 256;
  struct Block {
    explicit Block(std::vector<ChunkRoute> routes);
    std::vector<uint64_t> prefixes;  // of the minima, for comparing without touching the strings
    std::vector<ChunkRoute> routes;
  };
  struct BlockRef {
    uint64_t prefix;  // of the first minimum
    std::shared_ptr<const Block> block;
  };

  // Index of the last block whose first minimum is <= key; 0 if there is none. There must be blocks.
  size_t BlockOf(std::string_view key) const;
  void Apply(const ChunkRoute& update);
  void Rebuild(std::vector<ChunkRoute> updates);
  void ReplaceBlocks(size_t first, size_t last, std::vector<ChunkRoute> routes);

  std::vector<BlockRef> blocks_;
  size_t size_ = 0;
};

}  // namespace terrane::routing
