#include "metadata/watch_hub.h"

#include <gtest/gtest.h>

namespace terrane::metadata {
namespace {

SharedEvent Event(uint64_t revision, bool snapshot = false) {
  auto event = std::make_shared<v1::WatchEvent>();
  event->set_revision(revision);
  event->set_snapshot(snapshot);
  event->add_chunks()->set_token(revision);
  return event;
}

class WatchHubTest : public ::testing::Test {
 protected:
  std::unique_ptr<WatchHub::Subscription> Subscribe(WatchHub& hub, uint64_t from, uint64_t now) {
    return hub.Subscribe(
        Revision(from), Revision(now), [now] { return Event(now, true); }, [this] { ++wakes_; });
  }
  int wakes_ = 0;
};

TEST_F(WatchHubTest, ASnapshotThenEveryDeltaInOrder) {
  WatchHub hub;
  hub.Publish(Event(5));
  auto subscription = Subscribe(hub, 0, 5);
  hub.Publish(Event(6));
  hub.Publish(Event(9));
  EXPECT_EQ(wakes_, 2);
  EXPECT_TRUE(subscription->Next()->snapshot());
  EXPECT_EQ(subscription->Next()->revision(), 6u);
  EXPECT_EQ(subscription->Next()->revision(), 9u);
  EXPECT_EQ(subscription->Next(), nullptr);
  EXPECT_FALSE(subscription->cut_off());
  EXPECT_EQ(hub.subscribers(), 1u);
  subscription.reset();
  EXPECT_EQ(hub.subscribers(), 0u);
}

TEST_F(WatchHubTest, WhoWasAwayBrieflyGetsTheDeltasAlone) {
  WatchHub hub;
  for (uint64_t revision : {5, 6, 9}) hub.Publish(Event(revision));
  auto subscription = Subscribe(hub, 5, 9);
  EXPECT_EQ(subscription->Next()->revision(), 6u);
  EXPECT_EQ(subscription->Next()->revision(), 9u);
  // Nothing is missing either when nothing has happened, or when it all is in the history.
  EXPECT_EQ(Subscribe(hub, 9, 9)->Next(), nullptr);
  EXPECT_FALSE(Subscribe(hub, 4, 9)->Next()->snapshot());
  // Before the history, or from another world.
  EXPECT_TRUE(Subscribe(hub, 3, 9)->Next()->snapshot());
  EXPECT_TRUE(Subscribe(hub, 12, 9)->Next()->snapshot());
}

TEST_F(WatchHubTest, WhoWasAwayIsToldBehindTheDeltasWhatIsInNone) {
  WatchHub hub;
  for (uint64_t revision : {5, 6}) hub.Publish(Event(revision));
  const auto subscribe = [&](uint64_t from, SharedEvent missed) {
    return hub.Subscribe(
        Revision(from), Revision(6), [] { return Event(6, true); }, [] {}, [missed] { return missed; });
  };
  const SharedEvent missed = Event(6);
  auto resumed = subscribe(5, missed);
  EXPECT_EQ(resumed->Next()->revision(), 6u);
  EXPECT_EQ(resumed->Next(), missed);
  EXPECT_EQ(resumed->Next(), nullptr);
  EXPECT_EQ(subscribe(6, missed)->Next(), missed);
  EXPECT_EQ(subscribe(6, nullptr)->Next(), nullptr);
  // A snapshot says everything.
  auto begins = subscribe(0, missed);
  EXPECT_TRUE(begins->Next()->snapshot());
  EXPECT_EQ(begins->Next(), nullptr);
}

// A leader that changes while the leaders are looked up: the look may have come too early for it.
TEST_F(WatchHubTest, WhatHappensWhileTheMissedIsLookedUpIsToldLast) {
  WatchHub hub;
  for (uint64_t revision : {5, 6}) hub.Publish(Event(revision));
  for (const uint64_t from : {5, 6}) {
    const SharedEvent older = Event(6), newer = Event(6);
    const auto look = [&] {
      hub.PublishVolatile(newer);
      return older;
    };
    auto resumed = hub.Subscribe(
        Revision(from), Revision(6), [] { return Event(6, true); }, [] {}, look);
    if (from == 5) {
      EXPECT_EQ(resumed->Next()->revision(), 6u);
    }
    EXPECT_EQ(resumed->Next(), older);
    EXPECT_EQ(resumed->Next(), newer);
    EXPECT_EQ(resumed->Next(), nullptr);
  }
}

// Even when it was too much at once.
TEST_F(WatchHubTest, WhoIsCutOffWhileTheMissedIsLookedUpIsToldNothing) {
  WatchHub hub({.queue_events = 2});
  for (uint64_t revision : {5, 6}) hub.Publish(Event(revision));
  auto resumed = hub.Subscribe(
      Revision(5), Revision(6), [] { return Event(6, true); }, [] {},
      [&] {
        for (int i = 0; i < 3; ++i) hub.PublishVolatile(Event(6));
        return Event(6);
      });
  EXPECT_TRUE(resumed->cut_off());
  EXPECT_EQ(resumed->Next(), nullptr);
}

TEST_F(WatchHubTest, TheHistoryIsBounded) {
  WatchHub hub({.history_events = 3});
  for (uint64_t revision = 1; revision <= 10; ++revision) hub.Publish(Event(revision));
  EXPECT_FALSE(Subscribe(hub, 7, 10)->Next()->snapshot());
  EXPECT_TRUE(Subscribe(hub, 6, 10)->Next()->snapshot());
}

TEST_F(WatchHubTest, ASlowSubscriberIsCutOff) {
  WatchHub hub({.queue_events = 3});
  auto slow = Subscribe(hub, 0, 1);
  auto fast = Subscribe(hub, 0, 1);
  for (uint64_t revision = 2; revision <= 5; ++revision) {
    hub.Publish(Event(revision));
    while (fast->Next()) {
    }
  }
  EXPECT_TRUE(slow->cut_off());
  EXPECT_EQ(slow->Next(), nullptr);
  EXPECT_FALSE(fast->cut_off());
  hub.Publish(Event(6));
  EXPECT_EQ(slow->Next(), nullptr);
}

TEST_F(WatchHubTest, AReplacedStateCutsEverybodyOff) {
  WatchHub hub;
  hub.Publish(Event(1));
  auto subscription = Subscribe(hub, 1, 1);
  hub.Reset();
  EXPECT_TRUE(subscription->cut_off());
  EXPECT_TRUE(Subscribe(hub, 1, 7)->Next()->snapshot());
}

TEST_F(WatchHubTest, VolatileEventsGoToThoseWhoListenNow) {
  WatchHub hub;
  auto subscription = Subscribe(hub, 7, 7);
  hub.PublishVolatile(Event(7));
  EXPECT_EQ(subscription->Next()->revision(), 7u);
  EXPECT_EQ(Subscribe(hub, 7, 7)->Next(), nullptr);
}

}  // namespace
}  // namespace terrane::metadata
