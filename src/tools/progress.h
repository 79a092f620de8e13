// Progress for people: on a terminal one line that redraws itself, elsewhere a plain line every few seconds.
#pragma once

#include <chrono>
#include <ostream>
#include <string>
#include <string_view>

namespace terrane::tools {

// "[##############--------]", `width` characters between the brackets.
std::string ProgressBar(double fraction, int width = 20);

// Not thread-safe.
class ProgressLine {
 public:
  // `terminal`: whether `out` is one. Without `shown` nothing is printed at all (--json).
  ProgressLine(std::ostream& out, bool terminal, bool shown = true);
  // Ends the line on the terminal.
  ~ProgressLine();

  // Shows the text if it is time for it: 10 times a second on a terminal, else every 5 seconds.
  void Update(std::string_view text);
  // Shows it now and goes on to the next line, so it stays.
  void Keep(std::string_view text);

 private:
  void Draw(std::string_view text);
  std::ostream& out_;
  const bool terminal_;
  const bool shown_;
  std::chrono::steady_clock::time_point next_{};
  size_t drawn_ = 0;  // characters on the line that redraws itself
};

}  // namespace terrane::tools
