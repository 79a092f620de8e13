// How much of a disk is kept free for what must go on when it is full.
#pragma once

#include <algorithm>
#include <cstdint>

namespace terrane {

// Unless a setting says otherwise: a share of the disk, but no more than a database ever needs at once, and no less
// than it needs to put aside what it has in memory; of a tiny disk a quarter.
constexpr uint64_t DefaultDiskReserve(uint64_t total_bytes) {
  constexpr uint64_t kGreatest = uint64_t{1} << 30;
  constexpr uint64_t kLeast = uint64_t{256} << 20;
  return std::clamp(total_bytes / 50, std::min(kLeast, total_bytes / 4), kGreatest);
}

}  // namespace terrane
