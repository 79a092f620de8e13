// Lets bytes through at a rate.
#pragma once

#include <cstdint>
#include <mutex>

#include "common/clock.h"

namespace terrane::replication {

// Thread-safe; never blocks.
class Pace {
 public:
  // What may go at once after a rest.
  static constexpr std::chrono::milliseconds kBurst{100};

  // `bytes_per_second` 0: no limit.
  Pace(uint64_t bytes_per_second, Clock* clock) : rate_(bytes_per_second), clock_(clock) {}
  // Books `bytes` and says how long to wait before they may go. In any time t no more than (t + kBurst) * rate may go,
  // and one booking.
  std::chrono::nanoseconds Book(uint64_t bytes);

 private:
  const uint64_t rate_;
  Clock* const clock_;
  std::mutex mutex_;
  MonotonicTime next_{0};  // when all that was booked has gone
};

}  // namespace terrane::replication
