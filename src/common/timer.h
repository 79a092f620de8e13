// Runs short functions at a time to come, on one thread of its own. For backoff and time-outs in hosts; pure cores get
// times as arguments instead.
//
// Thread-safe. The functions must not block: they hand over.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "common/clock.h"

namespace terrane {

class Timer {
 public:
  using Id = uint64_t;

  Timer();
  // Stops.
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Runs `fn` after `delay` (at once if it is not positive), on the timer's thread. After Stop it runs right here:
  // every function runs exactly once unless it is cancelled.
  Id After(std::chrono::nanoseconds delay, std::function<void()> fn);

  // True: it will not run. False: it has run, is running, or was cancelled.
  bool Cancel(Id id);

  // Runs what is waiting, early, and joins. Idempotent; not from a function of this timer.
  void Stop();

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable wake_;
  // steady_clock: what the condition variable waits on.
  std::map<std::pair<std::chrono::steady_clock::time_point, Id>, std::function<void()>> waiting_;
  std::map<Id, std::chrono::steady_clock::time_point> due_;
  Id next_ = 1;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace terrane
