// The end of the log, in memory: all entries behind the last cut.
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "raft/types.h"

namespace terrane::raft {

// Not thread-safe. Entries [first, last] without a gap; the position before first is known by its term only.
class LogView {
 public:
  // An empty log behind (index, term).
  void Reset(Position index, Term term);

  Position first() const { return base_ + 1; }
  Position last() const { return base_ + entries_.size(); }
  Position base() const { return base_; }  // first() - 1
  Term base_term() const { return base_term_; }
  Term last_term() const { return entries_.empty() ? base_term_ : entries_.back().term; }
  // nullopt: before base() or behind last().
  std::optional<Term> TermAt(Position index) const;
  bool Matches(Position index, Term term) const { return TermAt(index) == term; }
  // REQUIRES: first() <= index <= last().
  const Entry& At(Position index) const { return entries_[index.value() - base_.value() - 1]; }

  // REQUIRES: entry.index == last() + 1 and entry.term >= last_term().
  void Append(Entry entry);
  // Removes [from, last]. REQUIRES: from >= first().
  void TruncateFrom(Position from);
  // Forgets entries up to here. REQUIRES: index <= last(). Does nothing below first().
  void Compact(Position index);

  // Entries [from, to], but not more than max_bytes unless the first alone is more. REQUIRES: first() <= from.
  std::vector<Entry> Slice(Position from, Position to, size_t max_bytes) const;
  // The greatest position <= index whose term is <= term, or base() if there is none behind it: the last that may match
  // a log that has `term` at `index` (quick backtracking by term, section 5.3 of the paper).
  Position LastNotNewerThan(Position index, Term term) const;

  size_t bytes() const { return bytes_; }

 private:
  Position base_;
  Term base_term_;
  std::deque<Entry> entries_;  // index of the i-th is base_ + 1 + i; terms never fall
  size_t bytes_ = 0;           // sum of the data of entries_
};

// Bytes that an entry costs in memory and on the wire.
inline size_t Cost(const Entry& entry) {
  return entry.data.size() + 32;
}

}  // namespace terrane::raft
