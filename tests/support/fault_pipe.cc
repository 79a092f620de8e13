#include "support/fault_pipe.h"

#include <algorithm>

namespace terrane::testing {
namespace {

using std::chrono::duration_cast;
using std::chrono::nanoseconds;

// A limit lets through so much at once.
constexpr double kBurstSeconds = 0.01;

double Burst(const DirectionFaults& faults) {
  return std::max(1.0, static_cast<double>(faults.bytes_per_second) * kBurstSeconds);
}

}  // namespace

void FaultPipe::Append(std::string bytes, MonotonicTime now, const DirectionFaults& faults, Random* random) {
  MonotonicTime due = now + faults.delay;
  if (faults.jitter.count() > 0) due += nanoseconds(random->Between(0, nanoseconds(faults.jitter).count()));
  if (!pieces_.empty()) due = std::max(due, pieces_.back().due);
  bytes_ += bytes.size();
  pieces_.push_back({std::move(bytes), due});
}

void FaultPipe::Put(std::string bytes, MonotonicTime now, const DirectionFaults& faults, Random* random) {
  if (!bytes.empty()) Append(std::move(bytes), now, faults, random);
}

void FaultPipe::PutEnd(MonotonicTime now, const DirectionFaults& faults, Random* random) {
  if (ended_) return;
  ended_ = true;
  Append("", now, faults, random);
}

std::string_view FaultPipe::Ready(MonotonicTime now, const DirectionFaults& faults) {
  if (faults.frozen || pieces_.empty() || pieces_.front().due > now) return {};
  std::string_view ready = std::string_view(pieces_.front().bytes).substr(gone_);
  if (faults.bytes_per_second == 0) {
    credited_.reset();
    return ready;
  }
  if (!credited_) {
    credit_ = Burst(faults);
  } else {
    const double seconds = std::chrono::duration<double>(now - *credited_).count();
    credit_ = std::min(Burst(faults), credit_ + seconds * static_cast<double>(faults.bytes_per_second));
  }
  credited_ = now;
  return ready.substr(0, static_cast<size_t>(std::max(credit_, 0.0)));
}

void FaultPipe::Take(size_t bytes, const DirectionFaults& faults) {
  if (faults.bytes_per_second > 0) credit_ -= static_cast<double>(bytes);
  gone_ += bytes;
  bytes_ -= bytes;
  if (gone_ == pieces_.front().bytes.size()) {
    pieces_.pop_front();
    gone_ = 0;
  }
}

bool FaultPipe::EndReady(MonotonicTime now, const DirectionFaults& faults) const {
  return ended_ && !faults.frozen && pieces_.size() == 1 && bytes_ == 0 && pieces_.front().due <= now;
}

std::optional<MonotonicTime> FaultPipe::NextAt(MonotonicTime now, const DirectionFaults& faults) const {
  if (faults.frozen || pieces_.empty()) return std::nullopt;
  if (pieces_.front().due > now) return pieces_.front().due;
  if (faults.bytes_per_second == 0 || credit_ >= 1) return std::nullopt;  // it waits for the receiver
  // For some bytes at a time, not for each one.
  const double wanted = std::max(1.0, Burst(faults) / 2) - credit_;
  const double seconds = wanted / static_cast<double>(faults.bytes_per_second);
  return now + duration_cast<nanoseconds>(std::chrono::duration<double>(seconds)) + nanoseconds(1);
}

}  // namespace terrane::testing
