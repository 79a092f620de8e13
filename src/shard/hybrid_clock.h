// Hybrid logical time: physical milliseconds << 16 | logical. Monotone along a shard's log, close to the wall clock.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <mutex>

#include "common/clock.h"

namespace terrane::shard {

// Thread-safe; never blocks.
class HybridClock {
 public:
  // What another machine says is believed up to so far ahead of the own wall clock.
  static constexpr std::chrono::milliseconds kMaxAhead{500};

  explicit HybridClock(const Clock* clock) : clock_(clock) {}

  // Greater than every time given out or taken over before.
  uint64_t Next() {
    std::lock_guard lock(mutex_);
    last_ = std::max(last_ + 1, Physical());
    return last_;
  }
  // The wall clock, or the log's time where that is ahead: never before what a leader with a faster clock has written.
  WallTime Wall() {
    std::lock_guard lock(mutex_);
    return std::max(clock_->Wall(), WallTime(last_ >> 16));
  }
  // A time from the own log: taken over whatever it is, because it stands there.
  void ObserveOwn(uint64_t time) {
    std::lock_guard lock(mutex_);
    last_ = std::max(last_, time);
  }
  // A time from another shard. False: too far ahead to be believed, and not taken over.
  bool ObserveForeign(uint64_t time) {
    std::lock_guard lock(mutex_);
    if ((time >> 16) > static_cast<uint64_t>((clock_->Wall() + kMaxAhead).count())) return false;
    last_ = std::max(last_, time);
    return true;
  }

 private:
  uint64_t Physical() const { return static_cast<uint64_t>(clock_->Wall().count()) << 16; }

  const Clock* const clock_;
  std::mutex mutex_;
  uint64_t last_ = 0;
};

}  // namespace terrane::shard
