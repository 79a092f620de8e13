#include "shard/source_choice.h"

#include <algorithm>
#include <utility>

namespace terrane::shard {
namespace {

constexpr std::chrono::milliseconds kFirstPenalty{500};
constexpr std::chrono::milliseconds kGreatestPenalty{8000};
constexpr std::chrono::milliseconds kDamagePenalty{60000};

}  // namespace

void SourceChoice::SetEndpoints(std::vector<std::string> endpoints) {
  if (endpoints == endpoints_) return;
  endpoints_ = std::move(endpoints);
  fence_turn_ = 0;
  // Who leads now is no follower any more.
  const bool follows =
      std::find(endpoints_.begin() + (endpoints_.empty() ? 0 : 1), endpoints_.end(), follower_) != endpoints_.end();
  if (!follows) follower_.clear();
  std::erase_if(penalties_, [this](const auto& penalty) {
    return std::find(endpoints_.begin(), endpoints_.end(), penalty.first) == endpoints_.end();
  });
}

bool SourceChoice::Free(const std::string& endpoint, MonotonicTime now) const {
  const auto found = penalties_.find(endpoint);
  return found == penalties_.end() || found->second.until <= now;
}

SourceChoice::Choice SourceChoice::ForBulk(MonotonicTime now) {
  if (endpoints_.empty()) return {};
  if (!follower_.empty() && Free(follower_, now)) return {follower_, true};
  follower_.clear();
  // From the end, so that the one that leads next is not the one that is busy.
  for (size_t i = endpoints_.size(); i-- > 1;) {
    if (!Free(endpoints_[i], now)) continue;
    follower_ = endpoints_[i];
    return {follower_, true};
  }
  if (Free(endpoints_.front(), now)) return {endpoints_.front(), false};
  // All have failed of late: whoever's time is over first, whatever it is.
  return {*std::min_element(endpoints_.begin(), endpoints_.end(),
                            [this](const std::string& a, const std::string& b) {
                              return penalties_.at(a).until < penalties_.at(b).until;
                            }),
          false};
}

SourceChoice::Choice SourceChoice::ForFence() const {
  if (endpoints_.empty()) return {};
  return {endpoints_[fence_turn_ % endpoints_.size()], false};
}

void SourceChoice::Worked(const std::string& endpoint, MonotonicTime now) {
  const auto found = penalties_.find(endpoint);
  if (found == penalties_.end() || (found->second.damaged && found->second.until > now)) return;
  penalties_.erase(found);
}

void SourceChoice::Failed(const std::string& endpoint, MonotonicTime now) {
  Penalty& penalty = penalties_[endpoint];
  penalty.last = std::clamp(2 * penalty.last, kFirstPenalty, kGreatestPenalty);
  penalty.until = std::max(penalty.until, now + penalty.last);
}

void SourceChoice::Damaged(const std::string& endpoint, MonotonicTime now) {
  penalties_[endpoint] = {.until = now + kDamagePenalty, .last = kGreatestPenalty, .damaged = true};
}

bool SourceChoice::HasOthers(const std::string& endpoint) const {
  return std::any_of(endpoints_.begin(), endpoints_.end(), [&](const std::string& other) {
    const auto found = penalties_.find(other);
    const bool damaged = found != penalties_.end() && found->second.damaged;
    return other != endpoint && !damaged;
  });
}

}  // namespace terrane::shard
