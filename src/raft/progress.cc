#include "raft/progress.h"

#include <algorithm>

namespace terrane::raft {

void Progress::BecomeProbe() {
  state = ProgressState::kProbe;
  probe_sent = false;
  inflight.clear();
  inflight_bytes = 0;
}

void Progress::BecomeReplicate() {
  BecomeProbe();
  state = ProgressState::kReplicate;
  next = match + 1;
}

void Progress::BecomeSnapshot(Position index, MonotonicTime now) {
  BecomeProbe();
  state = ProgressState::kSnapshot;
  snapshot_index = index;
  snapshot_sent_at = now;
}

bool Progress::UpdateMatch(Position index) {
  while (!inflight.empty() && inflight.front().first <= index) {
    inflight_bytes -= inflight.front().second;
    inflight.pop_front();
  }
  if (index <= match) return false;
  match = index;
  next = std::max(next, match + 1);
  return true;
}

bool Progress::Rejected(Position rejected, Position hint) {
  if (state == ProgressState::kSnapshot || rejected <= match) return false;
  if (state == ProgressState::kProbe && rejected + 1 != next) return false;
  BecomeProbe();
  next = std::max(match + 1, std::min(rejected, hint + 1));
  return true;
}

void Progress::AddInflight(Position last, size_t bytes) {
  inflight.emplace_back(last, bytes);
  inflight_bytes += bytes;
}

}  // namespace terrane::raft
