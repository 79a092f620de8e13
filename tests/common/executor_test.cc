#include "common/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "common/timer.h"

namespace terrane {
namespace {

TEST(ExecutorTest, StopRunsWhatIsQueuedAndRefusesMore) {
  Executor executor("test", 2);
  std::atomic<int> ran = 0;
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(executor.Post([&ran] { ++ran; }));
  executor.Stop();
  EXPECT_EQ(ran, 1000);
  EXPECT_FALSE(executor.Post([] {}));
}

TEST(ExecutorTest, AFullQueueRefuses) {
  Executor executor("test", 1, /*max_queued=*/2);
  std::promise<void> started, release;
  ASSERT_TRUE(executor.Post([&] {
    started.set_value();
    release.get_future().wait();
  }));
  started.get_future().wait();
  EXPECT_TRUE(executor.Post([] {}));
  EXPECT_TRUE(executor.Post([] {}));
  EXPECT_FALSE(executor.Post([] {}));
  release.set_value();
}

TEST(TimerTest, RunsInTheOrderOfTimesAndCancels) {
  Timer timer;
  std::promise<std::string> order;
  std::string seen;
  timer.After(std::chrono::milliseconds(20), [&] { order.set_value(seen + "b"); });
  timer.After(std::chrono::milliseconds(5), [&] { seen += "a"; });
  const Timer::Id never = timer.After(std::chrono::milliseconds(10), [&] { seen += "x"; });
  EXPECT_TRUE(timer.Cancel(never));
  EXPECT_FALSE(timer.Cancel(never));
  EXPECT_EQ(order.get_future().get(), "ab");
}

TEST(TimerTest, StopRunsTheRestEarly) {
  Timer timer;
  bool ran = false;
  timer.After(std::chrono::hours(1), [&] { ran = true; });
  timer.Stop();
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace terrane
