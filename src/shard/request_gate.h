// From a request's route to the right to serve it. Thread-safe, never blocks.
#pragma once

#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/key_range.h"
#include "routing/resume_key.h"
#include "shard/core.h"
#include "shard/ownership.h"
#include "terrane/v1/common.pb.h"

namespace terrane::shard {

RequestRoute RouteOf(const terrane::v1::Route& route);

// The part of the route's range that a request is about: `range` if it is set, from the shard key of `resume` on.
// kInvalidArgument: it is not within the route's range (then the route would prove nothing about it), or `resume` is no
// resume key.
absl::StatusOr<KeyRange> RequestedRange(const terrane::v1::Route& route, const terrane::v1::KeyRange* range,
                                        std::string_view resume);

// Whether this shard owns what is asked for; the errors of ToStatus(Verdict). Makes somebody ask the metadata service
// if that may help.
absl::Status CheckRange(const Core& core, const terrane::v1::Route& route, const KeyRange& range, bool write);
// The same for single keys; kInvalidArgument as above.
absl::Status CheckKeys(const Core& core, const terrane::v1::Route& route, std::span<const std::string_view> keys,
                       bool write);

// The range that holds just this shard key. Keys are prefix-free, and what is stored under one begins with it: so it
// ends with the prefix, not with the key.
KeyRange RangeOfKey(std::string_view shard_key);

using routing::EncodeResume;
// kInvalidArgument instead of nullopt. Views into `resume`.
absl::StatusOr<routing::ResumeKey> DecodeResume(std::string_view resume);

}  // namespace terrane::shard
