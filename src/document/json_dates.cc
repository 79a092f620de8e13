#include "document/json_dates.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_format.h"

namespace terrane::document {
namespace {

// Takes fixed pieces from the front of a text.
class Pieces {
 public:
  explicit Pieces(std::string_view text) : rest_(text) {}

  bool Take(char c) {
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  // Exactly n digits; -1 if there are fewer.
  int Digits(size_t n) {
    if (rest_.size() < n) return -1;
    int value = 0;
    for (char c : rest_.substr(0, n)) {
      if (c < '0' || c > '9') return -1;
      value = value * 10 + (c - '0');
    }
    rest_.remove_prefix(n);
    return value;
  }

  size_t CountDigits() const {
    return static_cast<size_t>(std::find_if(rest_.begin(), rest_.end(), [](char c) { return c < '0' || c > '9'; }) -
                               rest_.begin());
  }
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

// Z, +01:00, +0100, +01: minutes.
std::optional<int> ParseOffset(Pieces* pieces) {
  if (pieces->Take('Z')) return 0;
  int sign = pieces->Take('+') ? 1 : pieces->Take('-') ? -1 : 0;
  int hours = sign == 0 ? -1 : pieces->Digits(2);
  if (hours < 0 || hours > 23) return std::nullopt;
  if (pieces->done()) return sign * hours * 60;
  pieces->Take(':');
  int minutes = pieces->Digits(2);
  if (minutes < 0 || minutes > 59) return std::nullopt;
  return sign * (hours * 60 + minutes);
}

}  // namespace

std::optional<int64_t> ParseIsoDate(std::string_view text) {
  Pieces pieces(text);
  int year = pieces.Digits(4);
  int month = pieces.Take('-') ? pieces.Digits(2) : -1;
  int day = pieces.Take('-') ? pieces.Digits(2) : -1;
  int hour = pieces.Take('T') ? pieces.Digits(2) : -1;
  int minute = pieces.Take(':') ? pieces.Digits(2) : -1;
  int second = pieces.Take(':') ? pieces.Digits(2) : -1;
  if (year < 0 || month < 0 || day < 0 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 ||
      second > 59) {
    return std::nullopt;
  }
  int ms = 0;
  if (pieces.Take('.')) {
    size_t digits = pieces.CountDigits();
    if (digits < 1 || digits > 9) return std::nullopt;
    int scale = 100;
    for (size_t i = 0; i < digits; ++i, scale /= 10) ms += scale * pieces.Digits(1);
  }
  std::optional<int> offset = ParseOffset(&pieces);
  std::chrono::year_month_day date(std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                   std::chrono::day(static_cast<unsigned>(day)));
  if (!offset || !pieces.done() || !date.ok()) return std::nullopt;
  int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  int64_t minutes = (days * 24 + hour) * 60 + minute - *offset;
  return (minutes * 60 + second) * 1000 + ms;
}

std::optional<std::string> FormatIsoDate(int64_t ms) {
  constexpr int64_t kYear10000 = 253402300800000;
  if (ms < 0 || ms >= kYear10000) return std::nullopt;
  std::chrono::sys_time<std::chrono::milliseconds> time{std::chrono::milliseconds(ms)};
  auto days = std::chrono::floor<std::chrono::days>(time);
  std::chrono::year_month_day date(days);
  std::chrono::hh_mm_ss clock(time - days);
  std::string out = absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02d", static_cast<int>(date.year()),
                                    static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                                    clock.hours().count(), clock.minutes().count(), clock.seconds().count());
  if (ms % 1000 != 0) out += absl::StrFormat(".%03d", ms % 1000);
  return out + "Z";
}

}  // namespace terrane::document
