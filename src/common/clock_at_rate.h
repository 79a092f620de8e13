// For tests: a clock that runs faster or slower than the machine's, as that of another machine may.
#pragma once

#include "common/clock.h"

namespace terrane {

// Monotonic time passes at `rate` of the system's from its construction on; the wall clock is the system's.
// Thread-safe.
class ClockAtRate : public Clock {
 public:
  // REQUIRES: rate > 0
  explicit ClockAtRate(double rate) : rate_(rate), start_(Clock::System()->Now()) {}

  MonotonicTime Now() const override {
    const MonotonicTime passed = Clock::System()->Now() - start_;
    return start_ + MonotonicTime(static_cast<int64_t>(static_cast<double>(passed.count()) * rate_));
  }
  WallTime Wall() const override { return Clock::System()->Wall(); }

 private:
  const double rate_;
  const MonotonicTime start_;
};

}  // namespace terrane
