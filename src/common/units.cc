#include "common/units.h"

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "common/status.h"

namespace terrane {

absl::StatusOr<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  absl::Duration duration;
  if (!absl::ParseDuration(ToAbsl(text), &duration) || duration < absl::ZeroDuration() ||
      duration == absl::InfiniteDuration()) {
    return InvalidArgument("\"", text, "\" is not a duration (write 50ms, 2s, 10m or 1h)");
  }
  return std::chrono::milliseconds(absl::ToInt64Milliseconds(duration));
}

absl::StatusOr<int64_t> ParseBytes(std::string_view text) {
  struct Unit {
    std::string_view name;
    int64_t factor;
  };
  static constexpr Unit kUnits[] = {{"KiB", 1 << 10},  {"MiB", 1 << 20},      {"GiB", 1 << 30}, {"KB", 1'000},
                                    {"MB", 1'000'000}, {"GB", 1'000'000'000}, {"B", 1},         {"", 1}};
  for (const Unit& unit : kUnits) {
    if (!text.ends_with(unit.name)) continue;
    int64_t n = 0;
    if (!absl::SimpleAtoi(ToAbsl(text.substr(0, text.size() - unit.name.size())), &n) || n < 0 ||
        n > INT64_MAX / unit.factor) {
      break;
    }
    return n * unit.factor;
  }
  return InvalidArgument("\"", text, "\" is not a size (write 4096, 64KiB, 16MiB or 1GiB)");
}

std::string FormatCount(int64_t n) {
  const std::string digits = std::to_string(n);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    const size_t behind = digits.size() - i;
    if (i > 0 && digits[i - 1] != '-' && behind % 3 == 0) text.push_back(',');
    text.push_back(digits[i]);
  }
  return text;
}

namespace {

// Three digits at most: 0.61, 8.2, 66.
std::string ThreeDigits(double x) {
  if (x >= 9.95) return absl::StrFormat("%.0f", x);
  if (x >= 0.995) return absl::StrFormat("%.1f", x);
  return absl::StrFormat("%.2f", x);
}

}  // namespace

std::string FormatBytes(int64_t bytes) {
  const double size = std::abs(static_cast<double>(bytes));
  const char* sign = bytes < 0 ? "-" : "";
  if (size < 1000) return absl::StrFormat("%d B", bytes);
  if (size < 1e6) return absl::StrFormat("%s%s KB", sign, ThreeDigits(size / 1e3));
  if (size < 0.6e9) return absl::StrFormat("%s%s MB", sign, ThreeDigits(size / 1e6));
  if (size < 0.6e12) return absl::StrFormat("%s%s GB", sign, ThreeDigits(size / 1e9));
  return absl::StrFormat("%s%s TB", sign, ThreeDigits(size / 1e12));
}

std::string FormatMillis(double ms) {
  if (ms == 0) return "0 ms";
  if (ms < 1000) return absl::StrFormat("%s ms", ThreeDigits(ms));
  if (ms < 120'000) return absl::StrFormat("%s s", ThreeDigits(ms / 1e3));
  if (ms < 7'200'000) return absl::StrFormat("%s min", ThreeDigits(ms / 60e3));
  return absl::StrFormat("%s h", ThreeDigits(ms / 3600e3));
}

}  // namespace terrane
