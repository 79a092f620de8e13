// Clocks that a test moves.
#pragma once

#include <atomic>
#include <chrono>

#include "common/clock.h"

namespace terrane::testing {

// Stands still unless it is set.
class HandClock final : public Clock {
 public:
  MonotonicTime Now() const override { return now; }
  WallTime Wall() const override { return std::chrono::duration_cast<WallTime>(now.load()); }
  void Advance(MonotonicTime by) { now = now.load() + by; }

  std::atomic<MonotonicTime> now{std::chrono::seconds(100)};
};

// The machine's, moved by so much.
class ShiftedClock final : public Clock {
 public:
  MonotonicTime Now() const override { return System()->Now() + monotonic.load(); }
  WallTime Wall() const override { return System()->Wall() + wall.load(); }

  std::atomic<MonotonicTime> monotonic{MonotonicTime(0)};  // never made less
  std::atomic<WallTime> wall{WallTime(0)};
};

}  // namespace terrane::testing
