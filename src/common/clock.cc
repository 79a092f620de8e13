#include "common/clock.h"

#include <time.h>

namespace terrane {
namespace {

class SystemClock : public Clock {
 public:
  MonotonicTime Now() const override {
    timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return std::chrono::seconds(ts.tv_sec) + std::chrono::nanoseconds(ts.tv_nsec);
  }
  WallTime Wall() const override {
    return std::chrono::duration_cast<WallTime>(std::chrono::system_clock::now().time_since_epoch());
  }
};

}  // namespace

Clock* Clock::System() {
  static SystemClock clock;
  return &clock;
}

}  // namespace terrane
