// KeyRange of common <-> its message.
#pragma once

#include <utility>

#include "common/key_range.h"
#include "terrane/v1/common.pb.h"

namespace terrane::routing {

inline KeyRange FromProto(const v1::KeyRange& message) {
  KeyRange range;
  range.min = message.min();
  if (!message.unbounded()) range.max = message.max();
  return range;
}

inline void ToProto(const KeyRange& range, v1::KeyRange* message) {
  message->set_min(range.min);
  message->set_unbounded(!range.max);
  if (range.max) {
    message->set_max(*range.max);
  } else {
    message->clear_max();
  }
}

}  // namespace terrane::routing
