#include "raft/log_view.h"

#include <algorithm>
#include <utility>

#include "raft/check.h"

namespace terrane::raft {

void LogView::Reset(Position index, Term term) {
  base_ = index;
  base_term_ = term;
  entries_.clear();
  bytes_ = 0;
}

std::optional<Term> LogView::TermAt(Position index) const {
  if (index < base_ || index > last()) return std::nullopt;
  if (index == base_) return base_term_;
  return At(index).term;
}

void LogView::Append(Entry entry) {
  TERRANE_RAFT_CHECK(entry.index == last() + 1, "entries follow each other without a gap");
  TERRANE_RAFT_CHECK(entry.term >= last_term(), "terms never fall along a log");
  bytes_ += entry.data.size();
  entries_.push_back(std::move(entry));
}

void LogView::TruncateFrom(Position from) {
  TERRANE_RAFT_CHECK(from >= first(), "what was cut off cannot be truncated");
  while (last() >= from) {
    bytes_ -= entries_.back().data.size();
    entries_.pop_back();
  }
}

void LogView::Compact(Position index) {
  TERRANE_RAFT_CHECK(index <= last(), "only what exists can be forgotten");
  while (base_ < index) {
    base_term_ = entries_.front().term;
    bytes_ -= entries_.front().data.size();
    entries_.pop_front();
    base_ = base_ + 1;
  }
}

std::vector<Entry> LogView::Slice(Position from, Position to, size_t max_bytes) const {
  std::vector<Entry> out;
  size_t bytes = 0;
  for (Position i = from; i <= to && i <= last(); i = i + 1) {
    const Entry& entry = At(i);
    bytes += Cost(entry);
    if (!out.empty() && bytes > max_bytes) break;
    out.push_back(entry);
  }
  return out;
}

Position LogView::LastNotNewerThan(Position index, Term term) const {
  index = std::min(index, last());
  // Terms never fall along a log, so the first newer one can be searched for.
  while (index > base_ && At(index).term > term) {
    Position low = base_;  // not newer, or the base
    Position high = index;
    while (high.value() - low.value() > 1) {
      Position middle(low.value() + (high.value() - low.value()) / 2);
      (At(middle).term > term ? high : low) = middle;
    }
    index = low;
  }
  return index;
}

}  // namespace terrane::raft
