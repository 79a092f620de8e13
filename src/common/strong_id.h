// A number with a name, so that a shard is never passed as a term.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <ostream>

namespace terrane {

// Tag is any type that is used for nothing else. Ordered and hashable; prints as its number.
template <typename Tag, typename Rep = uint64_t>
class StrongId {
 public:
  using rep = Rep;
  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep value) : value_(value) {}
  constexpr Rep value() const { return value_; }
  friend constexpr auto operator<=>(StrongId, StrongId) = default;
  friend std::ostream& operator<<(std::ostream& out, StrongId id) { return out << +id.value_; }
  template <typename H>
  friend H AbslHashValue(H h, StrongId id) {
    return H::combine(std::move(h), id.value_);
  }

 private:
  Rep value_ = 0;
};

}  // namespace terrane

template <typename Tag, typename Rep>
struct std::hash<terrane::StrongId<Tag, Rep>> {
  size_t operator()(terrane::StrongId<Tag, Rep> id) const { return std::hash<Rep>()(id.value()); }
};
