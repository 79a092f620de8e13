// What a person sees while the demonstration runs: lines that stay, and on a terminal one line that redraws itself.
#pragma once

#include <mutex>
#include <string>

namespace terrane::demo {

// Thread-safe.
class Screen {
 public:
  Screen();
  // A line that stays.
  void Say(const std::string& line);
  // The line that redraws itself; nothing elsewhere than on a terminal.
  void Progress(const std::string& line);
  // "[#######-----]" of 24 characters.
  static std::string Bar(double fraction);

 private:
  std::mutex mutex_;
  const bool terminal_;
  bool open_ = false;  // a progress line stands there
};

}  // namespace terrane::demo
