#include "routing/route_table.h"

namespace terrane::routing {

bool RouteTable::Apply(const v1::WatchEvent& event) {
  std::lock_guard lock(writing_);
  return Publish(Get()->With(event));
}

bool RouteTable::Learn(const v1::Route& route) {
  std::lock_guard lock(writing_);
  return Publish(Get()->WithLearned(route));
}

void RouteTable::AddListener(std::function<void(const std::shared_ptr<const ChunkMap>&)> listener) {
  std::lock_guard lock(writing_);
  listeners_.push_back(std::move(listener));
}

bool RouteTable::Publish(std::shared_ptr<const ChunkMap> next) {
  if (next == nullptr) return false;
  map_.store(next, std::memory_order_release);
  for (const auto& listener : listeners_) listener(next);
  return true;
}

}  // namespace terrane::routing
