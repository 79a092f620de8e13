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
