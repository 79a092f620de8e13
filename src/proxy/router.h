// What a request is about: from a collection's shard key pattern and a filter to the keys that have to be asked. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/key_range.h"
#include "document/shard_key.h"
#include "terrane/v1/common.pb.h"

namespace terrane::proxy {

struct FilterPlan {
  std::optional<std::string> shard_key;  // encoded, if the filter allows one only
  std::optional<std::string> id;         // encoded, if the filter pins it
  std::vector<KeyRange> ranges;          // ascending, disjoint; empty: nothing can match
  std::string filter;                    // BSON for the shard; empty if key and id already say all that the filter says

  // One document at most: a point operation.
  bool full_key() const { return shard_key && id; }
};

// BAD_FILTER.
absl::StatusOr<FilterPlan> PlanFilter(const document::ShardKeyPattern& pattern, std::string_view filter);

// A request's document as BSON bytes. `reason` is that of the error; `what` its name ("filter").
// kInvalidArgument: a mode that this version does not know, a negative bound, or a bound where there is none.
absl::Status CheckRead(const v1::ReadOptions& read);
absl::Status CheckDurable(v1::Durability durable);

absl::StatusOr<std::string> ToBson(v1::DocumentFormat format, std::string_view bytes, std::string_view what,
                                   v1::ErrorDetail::Reason reason);

// NO_SUCH_COLLECTION, with the nearest of `names` if one is near.
absl::Status NoSuchCollection(std::string_view name, const std::vector<std::string>& names);

}  // namespace terrane::proxy
