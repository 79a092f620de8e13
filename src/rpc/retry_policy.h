// When to try again: growing pauses with jitter, never past a deadline. Pure but for its random numbers.
#pragma once

#include <chrono>
#include <optional>
#include <random>

#include "common/clock.h"

namespace terrane::rpc {

struct RetryPolicy {
  std::chrono::milliseconds first{5};
  std::chrono::milliseconds greatest{200};
  double factor = 2.0;
};

// The pauses of one request. Not thread-safe.
class Backoff {
 public:
  explicit Backoff(RetryPolicy policy = {}) : policy_(policy), next_(policy.first) {}

  // How long to wait before the next attempt: between half of and the whole of a pause that grows each time. nullopt:
  // the deadline would be over, give up.
  std::optional<std::chrono::nanoseconds> Next(MonotonicTime now, MonotonicTime deadline) {
    const double pause = std::chrono::duration<double>(next_).count() * Jitter();
    next_ = std::min(policy_.greatest, std::chrono::milliseconds(static_cast<int64_t>(next_.count() * policy_.factor)));
    const auto wait = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(pause));
    if (now + wait >= deadline) return std::nullopt;
    ++attempts_;
    return wait;
  }
  int attempts() const { return attempts_; }

 private:
  static double Jitter() {
    thread_local std::minstd_rand random(std::random_device{}());
    return std::uniform_real_distribution<double>(0.5, 1.0)(random);
  }
  RetryPolicy policy_;
  std::chrono::milliseconds next_;
  int attempts_ = 0;
};

}  // namespace terrane::rpc
