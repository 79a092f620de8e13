#include "routing/chunk_routes.h"

#include <algorithm>

namespace terrane::routing {
namespace {

// The first eight bytes, big endian: a < b in prefixes implies a < b in keys.
uint64_t PrefixOf(std::string_view key) {
  uint64_t prefix = 0;
  for (size_t i = 0; i < 8; ++i) prefix = prefix << 8 | (i < key.size() ? static_cast<unsigned char>(key[i]) : 0);
  return prefix;
}

// Bounds compared with +infinity as the greatest.
bool BoundLess(const std::optional<std::string>& a, const std::optional<std::string>& b) {
  if (!a) return false;
  return !b || *a < *b;
}
bool EndsAtOrBefore(const ChunkRoute& route, std::string_view key) {
  return route.range.max && *route.range.max <= key;
}
bool BeginsBehind(const ChunkRoute& route, const KeyRange& range) {
  return range.max && route.range.min >= *range.max;
}

ChunkRoute Part(const ChunkRoute& route, std::string min, std::optional<std::string> max) {
  ChunkRoute part = route;
  part.range = {std::move(min), std::move(max)};
  return part;
}

// Lays `update` over `known` (ascending, disjoint), by the rule of With.
std::vector<ChunkRoute> Overlay(std::vector<const ChunkRoute*> known, const ChunkRoute& update) {
  std::vector<ChunkRoute> result;
  result.reserve(known.size() + 2);
  // [from, end of update) is still to be covered; nullopt: nothing is left.
  std::optional<std::string> from = update.range.min;
  const auto cover_up_to = [&](const std::optional<std::string>& max) {
    if (!from) return;
    if (!max || *from < *max) result.push_back(Part(update, *from, max));
    from.reset();
  };
  for (const ChunkRoute* route : known) {
    if (EndsAtOrBefore(*route, update.range.min)) {
      result.push_back(*route);
    } else if (BeginsBehind(*route, update.range)) {
      cover_up_to(update.range.max);
      result.push_back(*route);
    } else if (route->token > update.token) {
      if (from && *from < route->range.min) result.push_back(Part(update, *from, route->range.min));
      result.push_back(*route);
      from = route->range.max;
      if (!BoundLess(route->range.max, update.range.max)) from.reset();
    } else {
      if (route->range.min < update.range.min) {
        result.push_back(Part(*route, route->range.min, update.range.min));
      }
      if (BoundLess(update.range.max, route->range.max)) {
        cover_up_to(update.range.max);
        result.push_back(Part(*route, *update.range.max, route->range.max));
      }
    }
  }
  cover_up_to(update.range.max);
  return result;
}

}  // namespace

ChunkRoutes::Block::Block(std::vector<ChunkRoute> from) : routes(std::move(from)) {
  prefixes.reserve(routes.size());
  for (const ChunkRoute& route : routes) prefixes.push_back(PrefixOf(route.range.min));
}

size_t ChunkRoutes::BlockOf(std::string_view key) const {
  const uint64_t prefix = PrefixOf(key);
  auto behind = std::upper_bound(blocks_.begin(), blocks_.end(), prefix,
                                 [](uint64_t p, const BlockRef& ref) { return p < ref.prefix; });
  // Equal prefixes: go back to the first minimum that is really <= key.
  while (behind != blocks_.begin() && std::prev(behind)->block->routes.front().range.min > key) --behind;
  return behind == blocks_.begin() ? 0 : behind - blocks_.begin() - 1;
}

const ChunkRoute* ChunkRoutes::Find(std::string_view key) const {
  if (blocks_.empty()) return nullptr;
  const Block& block = *blocks_[BlockOf(key)].block;
  auto behind = std::upper_bound(block.prefixes.begin(), block.prefixes.end(), PrefixOf(key)) - block.prefixes.begin();
  while (behind > 0 && block.routes[behind - 1].range.min > key) --behind;
  if (behind == 0) return nullptr;
  const ChunkRoute& route = block.routes[behind - 1];
  return route.range.Contains(key) ? &route : nullptr;
}

std::vector<const ChunkRoute*> ChunkRoutes::Overlapping(const KeyRange& range) const {
  std::vector<const ChunkRoute*> found;
  if (blocks_.empty() || range.Empty()) return found;
  for (size_t b = BlockOf(range.min); b < blocks_.size(); ++b) {
    for (const ChunkRoute& route : blocks_[b].block->routes) {
      if (EndsAtOrBefore(route, range.min)) continue;
      if (BeginsBehind(route, range)) return found;
      found.push_back(&route);
    }
  }
  return found;
}

ChunkRoutes ChunkRoutes::With(const std::vector<ChunkRoute>& updates) const {
  ChunkRoutes next = *this;
  if (updates.size() > blocks_.size() + 16) {
    next.Rebuild(updates);
  } else {
    for (const ChunkRoute& update : updates) next.Apply(update);
  }
  return next;
}

void ChunkRoutes::Apply(const ChunkRoute& update) {
  if (update.range.Empty()) return;
  if (blocks_.empty()) {
    ReplaceBlocks(0, 0, {update});
    return;
  }
  const size_t first = BlockOf(update.range.min);
  size_t last = first + 1;
  while (last < blocks_.size() && !BeginsBehind(blocks_[last].block->routes.front(), update.range)) ++last;
  std::vector<const ChunkRoute*> known;
  for (size_t b = first; b < last; ++b) {
    for (const ChunkRoute& route : blocks_[b].block->routes) known.push_back(&route);
  }
  ReplaceBlocks(first, last, Overlay(std::move(known), update));
}

// Many updates: one walk over everything instead of an edit of blocks for each.
void ChunkRoutes::Rebuild(std::vector<ChunkRoute> updates) {
  std::erase_if(updates, [](const ChunkRoute& update) { return update.range.Empty(); });
  std::stable_sort(updates.begin(), updates.end(),
                   [](const ChunkRoute& a, const ChunkRoute& b) { return a.range.min < b.range.min; });
  std::vector<ChunkRoute> known;
  known.reserve(size_ + updates.size());
  ForEach([&known](const ChunkRoute& route) { known.push_back(route); });
  std::vector<ChunkRoute> result;
  result.reserve(known.size() + updates.size());
  // `tail` are the known routes that begin before the end of the update in hand, results included.
  size_t next = 0;
  for (const ChunkRoute& update : updates) {
    std::vector<ChunkRoute> tail;
    while (!result.empty() && !EndsAtOrBefore(result.back(), update.range.min)) {
      tail.insert(tail.begin(), std::move(result.back()));
      result.pop_back();
    }
    while (next < known.size() && !BeginsBehind(known[next], update.range)) {
      if (EndsAtOrBefore(known[next], update.range.min)) {
        result.push_back(std::move(known[next]));
      } else {
        tail.push_back(std::move(known[next]));
      }
      ++next;
    }
    std::vector<const ChunkRoute*> pointers;
    for (const ChunkRoute& route : tail) pointers.push_back(&route);
    for (ChunkRoute& route : Overlay(std::move(pointers), update)) result.push_back(std::move(route));
  }
  while (next < known.size()) result.push_back(std::move(known[next++]));
  ReplaceBlocks(0, blocks_.size(), std::move(result));
}

void ChunkRoutes::ReplaceBlocks(size_t first, size_t last, std::vector<ChunkRoute> routes) {
  for (size_t b = first; b < last; ++b) size_ -= blocks_[b].block->routes.size();
  size_ += routes.size();
  std::vector<BlockRef> fresh;
  // A block may grow to twice the size before it is cut, so that edits in one place do not cut it again and again.
  const size_t pieces = routes.size() <= 2 * kBlockRoutes ? 1 : (routes.size() + kBlockRoutes - 1) / kBlockRoutes;
  for (size_t p = 0; p < pieces && !routes.empty(); ++p) {
    const auto begin = routes.begin() + routes.size() * p / pieces;
    const auto end = routes.begin() + routes.size() * (p + 1) / pieces;
    auto block = std::make_shared<const Block>(
        std::vector<ChunkRoute>(std::make_move_iterator(begin), std::make_move_iterator(end)));
    fresh.push_back({block->prefixes.front(), std::move(block)});
  }
  if (fresh.size() == last - first) {
    std::move(fresh.begin(), fresh.end(), blocks_.begin() + first);
    return;
  }
  blocks_.erase(blocks_.begin() + first, blocks_.begin() + last);
  blocks_.insert(blocks_.begin() + first, std::make_move_iterator(fresh.begin()), std::make_move_iterator(fresh.end()));
}

}  // namespace terrane::routing
