#include "tools/interrupt.h"

#include <atomic>

namespace terrane::tools {
namespace {

constexpr std::array<int, 3> kSignals = {SIGINT, SIGTERM, SIGHUP};

std::atomic<int> interrupted{0};
static_assert(std::atomic<int>::is_always_lock_free);  // it is set by a signal handler

void Note(int signal) {
  interrupted.store(signal, std::memory_order_relaxed);
}

}  // namespace

InterruptWatch::InterruptWatch() {
  struct sigaction note = {};
  note.sa_handler = Note;
  note.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], nullptr, &before_[i]);
    if (before_[i].sa_handler != SIG_IGN) sigaction(kSignals[i], &note, nullptr);
  }
}

InterruptWatch::~InterruptWatch() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before_[i], nullptr);
}

int Interrupted() {
  return interrupted.load(std::memory_order_relaxed);
}

void ForgetInterrupt() {
  interrupted.store(0, std::memory_order_relaxed);
}

}  // namespace terrane::tools
