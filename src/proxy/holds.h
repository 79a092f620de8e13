// The hold queue with a lock, a timer and workers: where requests wait for the end of a switch.
#pragma once

#include <atomic>
#include <mutex>
#include <string_view>
#include <vector>

#include "common/executor.h"
#include "common/timer.h"
#include "proxy/hold_queue.h"
#include "routing/route_table.h"

namespace terrane::proxy {

// Thread-safe. Resume functions run on the executor.
class Holds {
 public:
  // Both must outlive it and be stopped (timer first) before it goes.
  Holds(HoldLimits limits, Executor* executor, Timer* timer)
      : executor_(executor), timer_(timer), ask_every_(limits.probe_every), queue_(limits) {}

  // See HoldQueue. `on_long_hold` below is called while a hold is older than 200 ms, once in `limits.probe_every`.
  HoldQueue::Answer OnFenced(CollectionId collection, const routing::ChunkRoute& refused, SwitchAttempt attempt,
                             const routing::RouteTable& table, std::string_view key, HoldQueue::Request& request);
  HoldQueue::Answer Join(CollectionId collection, const routing::ChunkRoute& route, HoldQueue::Request& request);
  void OnRoutes(const routing::ChunkMap& map);
  // Ends all holds with UNAVAILABLE; later ones end at once.
  void Stop();

  // For the start of a process.
  void OnLongHold(std::function<void()> fn) { on_long_hold_ = std::move(fn); }

  size_t held_requests() const;

 private:
  void Tick();
  void Run(std::vector<HoldQueue::Resumed> resumed);

  Executor* const executor_;
  Timer* const timer_;
  std::function<void()> on_long_hold_;
  // A refresh is a whole map from the very leader that has to commit the switch (trap T35).
  const std::chrono::milliseconds ask_every_;
  mutable std::mutex mutex_;
  HoldQueue queue_;
  MonotonicTime asked_{};
  bool ticking_ = false;
  bool stopped_ = false;
  std::atomic<bool> open_{false};  // spares the lock while nothing is held
};

}  // namespace terrane::proxy
