// The present ChunkMap of a process: readers take it without waiting for writers.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "routing/chunk_map.h"

namespace terrane::routing {

class RouteTable {
 public:
  RouteTable() : map_(std::make_shared<const ChunkMap>()) {}

  // Never waits for a delta that is being applied. Never null.
  std::shared_ptr<const ChunkMap> Get() const { return map_.load(std::memory_order_acquire); }

  // Each returns whether something changed, after the new map was published and the listeners were told.
  bool Apply(const v1::WatchEvent& event);
  bool Learn(const v1::Route& route);

  // Called after each change, on the thread that made it, one at a time; must not change the table. For the start of a
  // process only.
  void AddListener(std::function<void(const std::shared_ptr<const ChunkMap>&)> listener);

 private:
  bool Publish(std::shared_ptr<const ChunkMap> next);

  std::mutex writing_;
  std::vector<std::function<void(const std::shared_ptr<const ChunkMap>&)>> listeners_;
  std::atomic<std::shared_ptr<const ChunkMap>> map_;
};

}  // namespace terrane::routing
