// Tells subscribers what changed in the routes: one snapshot, then every delta in order, none missing.
//
// Deltas are kept for a while, so that a subscriber that was away briefly gets them alone. One that is too slow is cut
// off and begins again with a snapshot: nobody waits for it.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

#include "common/ids.h"
#include "terrane/v1/metadata.pb.h"

namespace terrane::metadata {

using SharedEvent = std::shared_ptr<const v1::WatchEvent>;

// Thread-safe; nothing blocks.
class WatchHub {
 public:
  struct Limits {
    size_t history_events = 8192;
    size_t history_bytes = 64 << 20;
    size_t queue_events = 4096;  // of one subscriber
    size_t queue_bytes = 64 << 20;
  };

  // What one subscriber has not been told yet. Kept alive by its owner; unsubscribes when destroyed.
  class Subscription {
   public:
    ~Subscription();
    // The next event, if there is one.
    SharedEvent Next();
    // It was too slow, or the state was replaced: nothing comes any more, subscribe again.
    bool cut_off() const;

   private:
    friend class WatchHub;
    Subscription(WatchHub* hub, std::function<void()> wake) : hub_(hub), wake_(std::move(wake)) {}
    WatchHub* const hub_;
    const std::function<void()> wake_;
    // Guarded by the hub's mutex.
    std::deque<SharedEvent> queue_;
    size_t bytes_ = 0;
    bool cut_off_ = false;
  };

  explicit WatchHub(Limits limits) : limits_(limits) {}
  WatchHub() : WatchHub(Limits()) {}

  // An event that belongs to a new revision; called in the order of revisions.
  void Publish(SharedEvent event);
  // One that does not (a shard's leader changed): goes to those who listen now, is not kept.
  void PublishVolatile(SharedEvent event);
  // The state was replaced as a whole: cuts everybody off and forgets.
  void Reset();

  // Events behind `from`. `snapshot` is called if they are not all there any more (or `from` is 0): its event comes
  // first. Otherwise `missed`, if given, is: its event, if it returns one, holds what belongs to no revision and may
  // have changed meanwhile; it comes behind the kept ones and in front of what PublishVolatile brings meanwhile, so
  // that the newest word of a shard's leader is the last. The caller holds off Publish meanwhile (the state's lock), so
  // that nothing falls between the two. `wake` is called on the publisher's thread whenever there is something new to
  // take, or it was cut off.
  std::unique_ptr<Subscription> Subscribe(Revision from, Revision now, const std::function<SharedEvent()>& snapshot,
                                          std::function<void()> wake,
                                          const std::function<SharedEvent()>& missed = nullptr);

  size_t subscribers() const;

 private:
  void Enqueue(Subscription* subscription, const SharedEvent& event, size_t bytes);

  const Limits limits_;
  mutable std::mutex mutex_;
  struct Kept {
    SharedEvent event;
    size_t bytes;
  };
  std::deque<Kept> history_;
  size_t history_bytes_ = 0;
  uint64_t history_begin_ = 0;  // every event of a greater revision is in history_; meaningless while !history_valid_
  bool history_valid_ = false;
  std::set<Subscription*> subscriptions_;
};

}  // namespace terrane::metadata
