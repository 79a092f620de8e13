#include "proxy/hold_queue.h"

#include <algorithm>

#include "common/status.h"
#include "rpc/status.h"

namespace terrane::proxy {
namespace {

absl::Status HoldExpired() {
  return rpc::WithReason(
      Unavailable("the chunk is being moved and the switch takes longer than requests are held; try again"),
      v1::ErrorDetail::HOLD_EXPIRED);
}

}  // namespace

HoldQueue::Answer HoldQueue::OnFenced(CollectionId collection, const routing::ChunkRoute& refused,
                                      SwitchAttempt attempt, const routing::ChunkRoute* cached, Request& request,
                                      MonotonicTime now) {
  if (cached == nullptr || cached->token != refused.token || cached->range != refused.range) return Answer::kSendAgain;
  const ChunkKey key(collection, refused.range.min);
  auto it = holds_.find(key);
  if (it == holds_.end()) {
    auto expired = expired_.find(key);
    if (expired != expired_.end()) {
      if (attempt <= expired->second.first && refused.token <= expired->second.second) return Answer::kRefused;
      expired_.erase(expired);
    }
    it = holds_.emplace(key, Hold{refused.range, refused.token, attempt, now, now, false, {}}).first;
  }
  Hold& hold = it->second;
  hold.attempt = std::max(hold.attempt, attempt);
  hold.reads |= !request.write;
  return Enqueue(hold, request);
}

HoldQueue::Answer HoldQueue::Join(CollectionId collection, const routing::ChunkRoute& route, Request& request) {
  auto it = holds_.find({collection, route.range.min});
  if (it == holds_.end()) return Answer::kNoHold;
  Hold& hold = it->second;
  if (route.token > hold.refused) return Answer::kNoHold;
  if (!request.write && !hold.reads) return Answer::kNoHold;
  return Enqueue(hold, request);
}

HoldQueue::Answer HoldQueue::Enqueue(Hold& hold, Request& request) {
  if (requests_ >= limits_.requests || bytes_ + request.bytes > limits_.bytes) return Answer::kRefused;
  ++requests_;
  bytes_ += request.bytes;
  hold.waiting.push_back(std::move(request));
  return Answer::kHeld;
}

HoldQueue::Request HoldQueue::Dequeue(Hold& hold) {
  Request request = std::move(hold.waiting.front());
  hold.waiting.pop_front();
  --requests_;
  bytes_ -= request.bytes;
  return request;
}

void HoldQueue::End(Hold& hold, const absl::Status& status, std::vector<Resumed>* out) {
  while (!hold.waiting.empty()) out->push_back({Dequeue(hold).resume, status});
}

std::vector<HoldQueue::Resumed> HoldQueue::OnRoutes(const RouteOf& route_of) {
  std::vector<Resumed> out;
  for (auto it = holds_.begin(); it != holds_.end();) {
    // A key that nobody knows of any more belongs to a dropped collection: its requests find out.
    const routing::ChunkRoute* route = route_of(it->first.first, it->first.second);
    if (route == nullptr || route->token > it->second.refused || route->range != it->second.range) {
      End(it->second, absl::OkStatus(), &out);
      it = holds_.erase(it);
    } else {
      ++it;
    }
  }
  std::erase_if(expired_, [&](const auto& entry) {
    const routing::ChunkRoute* route = route_of(entry.first.first, entry.first.second);
    return route == nullptr || route->token > entry.second.second;
  });
  return out;
}

std::vector<HoldQueue::Resumed> HoldQueue::OnTime(MonotonicTime now) {
  std::vector<Resumed> out;
  for (auto it = holds_.begin(); it != holds_.end();) {
    Hold& hold = it->second;
    if (now - hold.began >= limits_.time) {
      expired_[it->first] = {hold.attempt, hold.refused};
      End(hold, HoldExpired(), &out);
      it = holds_.erase(it);
      continue;
    }
    for (size_t n = hold.waiting.size(); n > 0; --n) {
      Request request = Dequeue(hold);
      if (request.deadline <= now) {
        out.push_back({std::move(request.resume), HoldExpired()});
      } else {
        Enqueue(hold, request);
      }
    }
    if (now - hold.probed >= limits_.probe_every && !hold.waiting.empty()) {
      hold.probed = now;
      out.push_back({Dequeue(hold).resume, absl::OkStatus()});
    }
    ++it;
  }
  return out;
}

std::vector<HoldQueue::Resumed> HoldQueue::Clear(const absl::Status& status) {
  std::vector<Resumed> out;
  for (auto& [key, hold] : holds_) End(hold, status, &out);
  holds_.clear();
  return out;
}

std::optional<MonotonicTime> HoldQueue::oldest() const {
  std::optional<MonotonicTime> oldest;
  for (const auto& [key, hold] : holds_) oldest = std::min(oldest.value_or(hold.began), hold.began);
  return oldest;
}

}  // namespace terrane::proxy
