// Ctrl-C for commands that have something to put in order or to say before they end.
#pragma once

#include <signal.h>

#include <array>

namespace terrane::tools {

// As long as it lives, the first SIGINT, SIGTERM or SIGHUP is noted, and a second one ends this process as usual. What
// is ignored stays ignored. One at a time.
class InterruptWatch {
 public:
  InterruptWatch();
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

 private:
  std::array<struct sigaction, 3> before_;
};

// The signal that was noted since the last ForgetInterrupt, or 0. Thread-safe.
int Interrupted();
void ForgetInterrupt();

}  // namespace terrane::tools
