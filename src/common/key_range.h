// A range [min, max) of encoded keys. +infinity is a bound of its own, not a value (trap T19).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace terrane {

struct KeyRange {
  std::string min;                 // inclusive; "" is the least key
  std::optional<std::string> max;  // exclusive; nullopt is +infinity

  bool Contains(std::string_view key) const { return key >= min && (!max || key < *max); }
  // A range that contains no key.
  bool Empty() const { return max && *max <= min; }
  bool Contains(const KeyRange& other) const;
  bool Overlaps(const KeyRange& other) const;
  // The common part; empty (Empty() is true) when there is none.
  KeyRange Intersect(const KeyRange& other) const;
  // "[3f80.., 7f..)" in hex, at most 8 bytes of each bound.
  std::string ToString() const;

  friend bool operator==(const KeyRange&, const KeyRange&) = default;
};

}  // namespace terrane
