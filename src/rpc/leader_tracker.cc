#include "rpc/leader_tracker.h"

#include <algorithm>

#include "rpc/status.h"

namespace terrane::rpc {

void LeaderTracker::SetEndpoints(std::vector<std::string> endpoints) {
  std::lock_guard lock(mutex_);
  if (endpoints == endpoints_) return;
  endpoints_ = std::move(endpoints);
  next_ = 0;
  if (std::find(endpoints_.begin(), endpoints_.end(), leader_) == endpoints_.end()) leader_.clear();
}

std::string LeaderTracker::Current() const {
  std::lock_guard lock(mutex_);
  if (!leader_.empty()) return leader_;
  return endpoints_.empty() ? std::string() : endpoints_[next_ % endpoints_.size()];
}

void LeaderTracker::Learn(std::string_view leader) {
  std::lock_guard lock(mutex_);
  leader_ = leader;
}

bool LeaderTracker::Failed(std::string_view endpoint, const absl::Status& status) {
  if (status.code() != absl::StatusCode::kUnavailable && status.code() != absl::StatusCode::kDeadlineExceeded)
    return false;
  const auto detail = DetailOf(status);
  std::lock_guard lock(mutex_);
  const std::string current = !leader_.empty()     ? leader_
                              : endpoints_.empty() ? std::string()
                                                   : endpoints_[next_ % endpoints_.size()];
  if (endpoint != current) return false;
  if (detail && detail->reason() == v1::ErrorDetail::NOT_LEADER && !detail->leader_endpoint().empty() &&
      detail->leader_endpoint() != endpoint) {
    leader_ = detail->leader_endpoint();
    return true;
  }
  // Other reasons mean that it is the leader and refuses this request only.
  if (detail && detail->reason() != v1::ErrorDetail::NOT_LEADER && detail->reason() != v1::ErrorDetail::UNKNOWN)
    return false;
  if (!leader_.empty()) {
    // Go on behind the one that failed.
    for (size_t i = 0; i < endpoints_.size(); ++i) {
      if (endpoints_[i] == leader_) next_ = i;
    }
    leader_.clear();
  }
  ++next_;
  return false;
}

}  // namespace terrane::rpc
