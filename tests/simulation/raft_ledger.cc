#include "simulation/raft_ledger.h"

#include <functional>

namespace terrane::raft {

uint64_t HashOf(const Entry& entry) {
  return std::hash<std::string_view>()(entry.data.view()) * 31 + static_cast<uint64_t>(entry.type) * 7 +
         entry.term.value();
}

const char* RaftLedger::BecameLeader(const Core& core) {
  auto [leader, first] = leaders_.emplace(core.term().value(), core.id().value());
  if (!first && leader->second != core.id().value()) return "election safety: two leaders in one term";
  for (size_t i = committed_.size(); i > core.log().base().value(); --i) {
    if (committed_[i - 1].committed_in >= core.term()) continue;
    if (core.log().TermAt(Position(i)) != committed_[i - 1].term) {
      return "leader completeness: a leader lacks an entry that was committed in an earlier term";
    }
  }
  return nullptr;
}

const char* RaftLedger::Appended(Term previous, const Entry& entry) {
  size_t at = entry.index.value() - 1;
  if (versions_.size() <= at) versions_.resize(at + 1);
  uint64_t hash = HashOf(entry);
  for (const Version& version : versions_[at]) {
    if (version.term != entry.term) continue;
    bool same = version.hash == hash && version.previous == previous;
    return same ? nullptr : "log matching: two entries with the same index and term differ, or what is before them";
  }
  versions_[at].push_back({entry.term, previous, hash});
  return nullptr;
}

const char* RaftLedger::Committed(const Core& core, Position from) {
  const LogView& log = core.log();
  for (Position i = std::max(from, log.base()); i <= core.commit(); i = i + 1) {
    if (i == Position(0)) continue;
    Term term = *log.TermAt(i);
    size_t at = i.value() - 1;
    if (at < committed_.size()) {
      if (committed_[at].term != term)
        return "state machine safety: two replicas committed different entries at an index";
      continue;
    }
    if (i == log.base()) return "a snapshot holds more than what was committed";
    if (at > committed_.size()) return "an entry was committed before those in front of it";
    committed_.push_back({term, HashOf(log.At(i)), core.term()});
  }
  return nullptr;
}

const char* RaftLedger::Applied(const Entry& entry) const {
  size_t at = entry.index.value() - 1;
  if (at >= committed_.size()) return "an entry was applied that nobody committed";
  if (committed_[at].term != entry.term || committed_[at].hash != HashOf(entry)) {
    return "state machine safety: two replicas applied different entries at an index";
  }
  return nullptr;
}

}  // namespace terrane::raft
