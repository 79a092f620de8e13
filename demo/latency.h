// Latencies of one kind of operation, kept whole: a demo has few enough of them.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>
#include <vector>

namespace terrane::demo {

using DemoClock = std::chrono::steady_clock;

inline double Milliseconds(DemoClock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

// Thread-safe.
class Latencies {
 public:
  void Add(double milliseconds) {
    std::lock_guard lock(mutex_);
    values_.push_back(milliseconds);
  }
  size_t count() const {
    std::lock_guard lock(mutex_);
    return values_.size();
  }
  // Nearest rank; 0 if there is none. `fraction` in (0, 1]; 1 is the maximum.
  double Percentile(double fraction) const {
    std::lock_guard lock(mutex_);
    if (values_.empty()) return 0;
    std::vector<double> sorted = values_;
    std::sort(sorted.begin(), sorted.end());
    const size_t rank = static_cast<size_t>(std::ceil(fraction * static_cast<double>(sorted.size())));
    return sorted[std::clamp<size_t>(rank, 1, sorted.size()) - 1];
  }

 private:
  mutable std::mutex mutex_;
  std::vector<double> values_;
};

}  // namespace terrane::demo
