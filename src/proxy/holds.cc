#include "proxy/holds.h"

#include "common/status.h"

namespace terrane::proxy {
namespace {

constexpr std::chrono::milliseconds kTick{10};
constexpr std::chrono::milliseconds kLong{200};

}  // namespace

HoldQueue::Answer Holds::OnFenced(CollectionId collection, const routing::ChunkRoute& refused, SwitchAttempt attempt,
                                  const routing::RouteTable& table, std::string_view key, HoldQueue::Request& request) {
  bool start_ticking = false;
  HoldQueue::Answer answer;
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return HoldQueue::Answer::kRefused;
    // Under the lock: a route that is published from here on finds the hold (trap T69).
    const auto map = table.Get();
    const routing::ChunkRoute* cached = map->Find(collection, key);
    answer = queue_.OnFenced(collection, refused, attempt, cached, request, Clock::System()->Now());
    open_ = queue_.open();
    if (queue_.open() && !ticking_) start_ticking = ticking_ = true;
  }
  if (start_ticking) timer_->After(kTick, [this] { Tick(); });
  return answer;
}

HoldQueue::Answer Holds::Join(CollectionId collection, const routing::ChunkRoute& route, HoldQueue::Request& request) {
  if (!open_.load(std::memory_order_relaxed)) return HoldQueue::Answer::kNoHold;
  std::lock_guard lock(mutex_);
  return queue_.Join(collection, route, request);
}

void Holds::OnRoutes(const routing::ChunkMap& map) {
  // With the lock even if nothing seems held: see OnFenced.
  std::vector<HoldQueue::Resumed> resumed;
  {
    std::lock_guard lock(mutex_);
    resumed =
        queue_.OnRoutes([&map](CollectionId collection, std::string_view key) { return map.Find(collection, key); });
    open_ = queue_.open();
  }
  Run(std::move(resumed));
}

void Holds::Stop() {
  std::vector<HoldQueue::Resumed> resumed;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    resumed = queue_.Clear(Unavailable("the proxy is shutting down"));
    open_ = false;
  }
  Run(std::move(resumed));
}

size_t Holds::held_requests() const {
  std::lock_guard lock(mutex_);
  return queue_.requests();
}

void Holds::Tick() {
  std::vector<HoldQueue::Resumed> resumed;
  bool again;
  bool is_long;
  {
    std::lock_guard lock(mutex_);
    const MonotonicTime now = Clock::System()->Now();
    resumed = queue_.OnTime(now);
    again = ticking_ = queue_.open() && !stopped_;
    open_ = queue_.open();
    is_long = again && now - *queue_.oldest() > kLong && now - asked_ >= ask_every_;
    if (is_long) asked_ = now;
  }
  Run(std::move(resumed));
  if (is_long && on_long_hold_) on_long_hold_();
  if (again) timer_->After(kTick, [this] { Tick(); });
}

void Holds::Run(std::vector<HoldQueue::Resumed> resumed) {
  if (resumed.empty()) return;
  // Never here: this may be a listener of the route table, with its lock.
  auto work = [resumed = std::move(resumed)] {
    for (const auto& [resume, status] : resumed) resume(status);
  };
  if (!executor_->Post(work)) timer_->After(std::chrono::nanoseconds(0), work);
}

}  // namespace terrane::proxy
