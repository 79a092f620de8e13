// What to do about the answer of a shard: the one place of the proxy that decides on retries. Pure.
#pragma once

#include <optional>

#include "absl/status/status.h"
#include "terrane/v1/common.pb.h"

namespace terrane::proxy {

enum class NextMove {
  kReturn,        // an answer, good or bad: it is the caller's
  kLearnRoute,    // the shard names another owner, or knows better: learn `route`, then send again
  kRefreshRoute,  // the route is behind and nobody said who owns the chunk: ask the metadata service
  kHold,          // the chunk is being switched: wait for a greater token
  kPause,         // the shard knows less than we do, or its outcome is unknown: send the same again after a pause
  kOtherReplica,  // not the leader, gone, or damaged: ask who leads now
};

// `status` is not OK. `repeatable`: the request only reads, or bears a RetryId, so that sending it again after an
// unknown outcome has no second effect. `replicated`: the shard has other replicas.
NextMove Decide(const absl::Status& status, const std::optional<v1::ErrorDetail>& detail, bool repeatable,
                bool replicated = false);

// An error as applications shall see it: words of routing become UNAVAILABLE, which says what to do.
absl::Status ForApplication(const absl::Status& status);

}  // namespace terrane::proxy
