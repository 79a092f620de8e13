// A bound of what applications say in milliseconds: greater numbers do not fit into the nanoseconds of our clocks, and
// would end at once.
#pragma once

#include <algorithm>
#include <chrono>

namespace terrane::rpc {

// Less than the year beyond which a deadline counts as none (DeadlineOf in rpc/unary.h).
inline constexpr std::chrono::milliseconds kLongestWait{std::chrono::hours(24 * 30)};

// What is below nothing is nothing.
inline std::chrono::milliseconds BoundedWait(std::chrono::milliseconds wait) {
  return std::clamp(wait, std::chrono::milliseconds(0), kLongestWait);
}

}  // namespace terrane::rpc
