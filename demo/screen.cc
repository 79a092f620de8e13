#include "screen.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace terrane::demo {

Screen::Screen() : terminal_(isatty(STDOUT_FILENO) == 1) {}

void Screen::Say(const std::string& line) {
  std::lock_guard lock(mutex_);
  if (open_) std::fputs("\r\x1b[K", stdout);
  open_ = false;
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

void Screen::Progress(const std::string& line) {
  if (!terminal_) return;
  std::lock_guard lock(mutex_);
  std::printf("\r\x1b[K%s", line.c_str());
  std::fflush(stdout);
  open_ = true;
}

std::string Screen::Bar(double fraction) {
  constexpr int kWidth = 24;
  const int filled = std::clamp(static_cast<int>(fraction * kWidth), 0, kWidth);
  return "[" + std::string(static_cast<size_t>(filled), '#') + std::string(static_cast<size_t>(kWidth - filled), '-') +
         "]";
}

}  // namespace terrane::demo
