// Waiting for a condition, not for a while.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

namespace terrane::testing {

#ifdef TERRANE_SANITIZED
inline constexpr int kSlowness = 5;
#else
inline constexpr int kSlowness = 1;
#endif

// True as soon as `condition` is; false after `limit`.
inline bool Await(const std::function<bool()>& condition, std::chrono::milliseconds limit = std::chrono::seconds(10)) {
  const auto deadline = std::chrono::steady_clock::now() + limit * kSlowness;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace terrane::testing
