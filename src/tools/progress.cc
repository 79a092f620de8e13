#include "tools/progress.h"

#include <algorithm>

namespace terrane::tools {
namespace {

constexpr std::chrono::milliseconds kOnTerminal{100};
constexpr std::chrono::milliseconds kElsewhere{5000};

}  // namespace

std::string ProgressBar(double fraction, int width) {
  const int full = std::clamp(static_cast<int>(fraction * width + 0.5), 0, width);
  return "[" + std::string(full, '#') + std::string(width - full, '-') + "]";
}

ProgressLine::ProgressLine(std::ostream& out, bool terminal, bool shown)
    : out_(out), terminal_(terminal), shown_(shown), next_(std::chrono::steady_clock::now()) {
  if (!terminal_) next_ += kElsewhere;
}

ProgressLine::~ProgressLine() {
  if (drawn_ > 0) out_ << "\n" << std::flush;
}

void ProgressLine::Draw(std::string_view text) {
  const std::string blank(drawn_ > text.size() ? drawn_ - text.size() : 0, ' ');
  out_ << "\r" << text << blank << std::flush;
  drawn_ = text.size();
}

void ProgressLine::Update(std::string_view text) {
  const auto now = std::chrono::steady_clock::now();
  if (!shown_ || now < next_) return;
  next_ = now + (terminal_ ? kOnTerminal : kElsewhere);
  if (terminal_) {
    Draw(text);
  } else {
    out_ << text << std::endl;
  }
}

void ProgressLine::Keep(std::string_view text) {
  if (!shown_) return;
  if (terminal_) {
    Draw(text);
    out_ << "\n" << std::flush;
    drawn_ = 0;
  } else {
    out_ << text << std::endl;
  }
}

}  // namespace terrane::tools
