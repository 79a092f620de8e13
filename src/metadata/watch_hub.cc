#include "metadata/watch_hub.h"

#include <vector>

namespace terrane::metadata {

WatchHub::Subscription::~Subscription() {
  std::lock_guard lock(hub_->mutex_);
  hub_->subscriptions_.erase(this);
}

SharedEvent WatchHub::Subscription::Next() {
  std::lock_guard lock(hub_->mutex_);
  if (queue_.empty()) return nullptr;
  SharedEvent event = std::move(queue_.front());
  queue_.pop_front();
  bytes_ -= event->ByteSizeLong();
  return event;
}

bool WatchHub::Subscription::cut_off() const {
  std::lock_guard lock(hub_->mutex_);
  return cut_off_;
}

void WatchHub::Enqueue(Subscription* subscription, const SharedEvent& event, size_t bytes) {
  if (subscription->cut_off_) return;
  // A single event always fits, or a great snapshot could never be told.
  if (!subscription->queue_.empty() &&
      (subscription->queue_.size() >= limits_.queue_events || subscription->bytes_ + bytes > limits_.queue_bytes)) {
    subscription->cut_off_ = true;
    subscription->queue_.clear();
    subscription->bytes_ = 0;
  } else {
    subscription->queue_.push_back(event);
    subscription->bytes_ += bytes;
  }
  subscription->wake_();
}

void WatchHub::Publish(SharedEvent event) {
  const size_t bytes = event->ByteSizeLong();
  std::lock_guard lock(mutex_);
  if (!history_valid_) {
    history_valid_ = true;
    history_begin_ = event->revision() - 1;
  }
  history_.push_back({event, bytes});
  history_bytes_ += bytes;
  while (history_.size() > limits_.history_events || history_bytes_ > limits_.history_bytes) {
    history_begin_ = history_.front().event->revision();
    history_bytes_ -= history_.front().bytes;
    history_.pop_front();
    if (history_.empty()) break;
  }
  for (Subscription* subscription : subscriptions_) Enqueue(subscription, event, bytes);
}

void WatchHub::PublishVolatile(SharedEvent event) {
  const size_t bytes = event->ByteSizeLong();
  std::lock_guard lock(mutex_);
  for (Subscription* subscription : subscriptions_) Enqueue(subscription, event, bytes);
}

void WatchHub::Reset() {
  std::lock_guard lock(mutex_);
  history_.clear();
  history_bytes_ = 0;
  history_valid_ = false;
  for (Subscription* subscription : subscriptions_) {
    subscription->cut_off_ = true;
    subscription->queue_.clear();
    subscription->bytes_ = 0;
    subscription->wake_();
  }
}

std::unique_ptr<WatchHub::Subscription> WatchHub::Subscribe(Revision from, Revision now,
                                                            const std::function<SharedEvent()>& snapshot,
                                                            std::function<void()> wake,
                                                            const std::function<SharedEvent()>& missed) {
  std::unique_ptr<Subscription> subscription(new Subscription(this, std::move(wake)));
  bool resumes = false;
  size_t kept_events = 0;
  {
    std::lock_guard lock(mutex_);
    // From here on nothing passes by, not even what belongs to no revision.
    subscriptions_.insert(subscription.get());
    resumes = from.value() != 0 && from <= now && (from == now || (history_valid_ && from.value() >= history_begin_));
    for (const Kept& kept : history_) {
      if (!resumes || kept.event->revision() <= from.value()) continue;
      subscription->queue_.push_back(kept.event);
      subscription->bytes_ += kept.bytes;
    }
    kept_events = subscription->queue_.size();
  }
  SharedEvent event = resumes ? (missed ? missed() : nullptr) : snapshot();
  if (!event) return subscription;
  std::lock_guard lock(mutex_);
  if (subscription->cut_off_) return subscription;
  // In front of what was published since: that is as new as this event, or newer.
  subscription->bytes_ += event->ByteSizeLong();
  subscription->queue_.insert(subscription->queue_.begin() + static_cast<std::ptrdiff_t>(kept_events),
                              std::move(event));
  return subscription;
}

size_t WatchHub::subscribers() const {
  std::lock_guard lock(mutex_);
  return subscriptions_.size();
}

}  // namespace terrane::metadata
