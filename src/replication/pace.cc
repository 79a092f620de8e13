#include "replication/pace.h"

#include <algorithm>

namespace terrane::replication {

std::chrono::nanoseconds Pace::Book(uint64_t bytes) {
  if (rate_ == 0) return std::chrono::nanoseconds(0);
  std::lock_guard lock(mutex_);
  const MonotonicTime now = clock_->Now();
  next_ = std::max(next_, now - MonotonicTime(kBurst));
  const std::chrono::nanoseconds wait = std::max(next_ - now, MonotonicTime(0));
  next_ += std::chrono::duration_cast<MonotonicTime>(
      std::chrono::duration<double>(static_cast<double>(bytes) / static_cast<double>(rate_)));
  return wait;
}

}  // namespace terrane::replication
