// The number of one start of a data directory (trap T51): a count that grows by one with each start, and behind it a
// random mark of this start. Last week's copy of a disk, started once, counts on from where it was and may come to the
// very count that the real one has been started with; the mark tells them apart.
#pragma once

#include <cstdint>

namespace terrane {

inline constexpr int kStartMarkBits = 24;

// Which start it is. Numbers of before there were marks are the count itself.
inline uint64_t StartCount(uint64_t start) {
  return start >> kStartMarkBits != 0 ? start >> kStartMarkBits : start;
}

// The number of the next start of a directory whose last one was `last` (0: none).
inline uint64_t NextStart(uint64_t last, uint64_t random) {
  return (StartCount(last) + 1) << kStartMarkBits | (random & ((uint64_t{1} << kStartMarkBits) - 1));
}

// `start` is of an old copy of the directory that is known to have been started with `known`: of an older start, or of
// the same count and not the same start.
inline bool IsOldCopy(uint64_t start, uint64_t known) {
  if (start == known) return false;
  const bool marked = start >> kStartMarkBits != 0 && known >> kStartMarkBits != 0;
  return marked ? StartCount(start) <= StartCount(known) : start < known;
}

}  // namespace terrane
