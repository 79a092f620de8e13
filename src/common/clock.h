// Time as an input. Pure cores get times as arguments; hosts own a Clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace terrane {

// Time since an arbitrary start that never goes back and goes on while the machine sleeps (CLOCK_BOOTTIME).
using MonotonicTime = std::chrono::nanoseconds;
// Milliseconds since the Unix epoch; may jump.
using WallTime = std::chrono::milliseconds;

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonotonicTime Now() const = 0;
  virtual WallTime Wall() const = 0;
  // The clock of this machine; lives for ever.
  static Clock* System();
};

}  // namespace terrane
