// Internal: the times of extended JSON.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace terrane::document {

// "2024-01-31T12:00:00.125Z" or with an offset (+01:00, +0100, +01) as milliseconds since the epoch; up to 9 digits of
// fraction, cut to milliseconds. nullopt for everything else, also for days that do not exist.
std::optional<int64_t> ParseIsoDate(std::string_view text);

// The other way, in UTC; nullopt outside of the years 1970 to 9999, which relaxed JSON writes as a number.
std::optional<std::string> FormatIsoDate(int64_t ms);

}  // namespace terrane::document
