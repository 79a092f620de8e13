// Key ranges between proto and common. Pure.
#pragma once

#include "common/key_range.h"
#include "terrane/v1/common.pb.h"

namespace terrane::migration {

inline KeyRange FromProto(const v1::KeyRange& range) {
  return KeyRange{range.min(), range.unbounded() ? std::nullopt : std::optional<std::string>(range.max())};
}

inline v1::KeyRange ToProto(const KeyRange& range) {
  v1::KeyRange proto;
  proto.set_min(range.min);
  if (range.max) {
    proto.set_max(*range.max);
  } else {
    proto.set_unbounded(true);
  }
  return proto;
}

inline bool SameRange(const v1::KeyRange& a, const v1::KeyRange& b) {
  return a.min() == b.min() && a.unbounded() == b.unbounded() && (a.unbounded() || a.max() == b.max());
}

}  // namespace terrane::migration
