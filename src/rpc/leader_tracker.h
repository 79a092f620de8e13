// Whom to ask among the replicas of one service of which only the leader answers. Pure; thread-safe.
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace terrane::rpc {

class LeaderTracker {
 public:
  LeaderTracker() = default;
  explicit LeaderTracker(std::vector<std::string> endpoints) : endpoints_(std::move(endpoints)) {}

  // Replaces the list; a leader that is believed in stays, if it is in the new one.
  void SetEndpoints(std::vector<std::string> endpoints);
  // Who should be asked now; empty if no endpoint is known.
  std::string Current() const;
  // Somebody who knows says so.
  void Learn(std::string_view leader);
  // `endpoint` was asked and answered with an error (or not at all). NOT_LEADER with a hint leads there, any other
  // UNAVAILABLE or DEADLINE_EXCEEDED to the next in the list; other errors change nothing. Says nothing new about an
  // endpoint that is not the current one any more. True: the next attempt goes to an endpoint that was named as the
  // leader, so it need not wait.
  bool Failed(std::string_view endpoint, const absl::Status& status);

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> endpoints_;
  std::string leader_;  // believed; empty: none
  size_t next_ = 0;     // in endpoints_, asked while leader_ is empty
};

}  // namespace terrane::rpc
