// Numbers with units, as people write and read them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace terrane {

// "50ms", "2s", "1m30s", "10m", "1h". A bare number other than 0 is refused: it has no unit. Negative ones too.
absl::StatusOr<std::chrono::milliseconds> ParseDuration(std::string_view text);
// "0", "4096", "64KiB", "16MiB", "1GiB", "512MB" (decimal).
absl::StatusOr<int64_t> ParseBytes(std::string_view text);

// "640,112"
std::string FormatCount(int64_t n);
// "812 B", "66 MB", "0.61 GB": decimal units, at most three digits.
std::string FormatBytes(int64_t bytes);
// "6.1 ms", "1.4 s", "38 min", "2.5 h"
std::string FormatMillis(double ms);

}  // namespace terrane
