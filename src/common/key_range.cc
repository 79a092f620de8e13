#include "common/key_range.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "common/strings.h"

namespace terrane {
namespace {

std::string HexPrefix(std::string_view bytes) {
  constexpr size_t kShown = 8;
  std::string hex = absl::BytesToHexString(ToAbsl(bytes.substr(0, kShown)));
  return bytes.size() > kShown ? hex + ".." : hex;
}

}  // namespace

bool KeyRange::Contains(const KeyRange& other) const {
  if (other.min < min) return false;
  if (!max) return true;
  return other.max && *other.max <= *max;
}

bool KeyRange::Overlaps(const KeyRange& other) const {
  return !Intersect(other).Empty();
}

KeyRange KeyRange::Intersect(const KeyRange& other) const {
  KeyRange common;
  common.min = std::max(min, other.min);
  if (!max) {
    common.max = other.max;
  } else if (!other.max) {
    common.max = max;
  } else {
    common.max = std::min(*max, *other.max);
  }
  return common;
}

std::string KeyRange::ToString() const {
  return StrCat("[", min.empty() ? "-inf" : HexPrefix(min), ", ", max ? HexPrefix(*max) : "+inf", ")");
}

}  // namespace terrane
