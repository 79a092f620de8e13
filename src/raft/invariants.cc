#include "raft/invariants.h"

namespace terrane::raft {

const char* InvariantChecker::Check(const Core& core) {
  const char* broken = CheckNow(core);
  if (broken == nullptr && noted_) broken = CheckChange(core);
  Note(core);
  return broken;
}

void InvariantChecker::Note(const Core& core) {
  noted_ = true;
  seen_.hard_state = core.hard_state_;
  seen_.role = core.role();
  seen_.commit = core.commit_;
  seen_.applied = core.applied_;
  seen_.handed_to_apply = core.handed_to_apply_;
  seen_.last = core.log_.last();
  seen_.sequence = core.sequence_;
  seen_.configuration = core.configuration_index();
  seen_.matches.clear();
  if (const LeaderRole* leader = core.Leader()) {
    for (const Progress& peer : leader->peers) seen_.matches.emplace_back(peer.id, peer.match);
  }
}

const char* InvariantChecker::CheckNow(const Core& core) const {
  if (core.applied_ > core.handed_to_apply_) return "only what was handed out is applied";
  if (core.handed_to_apply_ > core.commit_) return "only committed entries are applied";
  if (core.commit_ > core.log_.last()) return "what is committed is in the log";
  if (core.log_.base() > core.commit_) return "only committed entries are cut off";
  if (core.synced_ > core.handed_to_persist_) return "only what was handed out is synced";
  if (core.handed_to_persist_ > core.log_.last())
    return "what was handed out is in the log, or its truncation is pending";
  if (core.log_.last_term() > core.hard_state_.term) return "no entry is newer than the own term";
  if (core.configurations_.empty()) return "there is always a configuration";
  if (core.configurations_.back().index > core.log_.last()) return "a configuration does not outlive its entry";
  if (core.configurations_.front().index > core.log_.base()) return "the configuration before the log is known";
  if (core.synced_hard_state_.term > core.hard_state_.term) return "the synced term is not ahead";
  const LeaderRole* leader = core.Leader();
  if (leader == nullptr) return nullptr;
  if (core.hard_state_.vote != core.options_.id) return "a leader voted for itself";
  if (!core.HardStateSynced()) return "a leader's term and vote are synced";
  if (leader->no_op > core.log_.last()) return "a leader has its no-op";
  size_t members = core.configuration().voters.size() + core.configuration().learners.size();
  if (leader->peers.size() + (core.configuration().Contains(core.options_.id) ? 1 : 0) != members) {
    return "a leader follows exactly the other members of its configuration";
  }
  for (const Progress& peer : leader->peers) {
    if (!core.configuration().Contains(peer.id)) return "a leader's peer is in its configuration";
    if (peer.match >= peer.next) return "match < next";
    if (peer.next > core.log_.last() + 1) return "nothing behind the own log is sent";
    if (peer.round > leader->round) return "only rounds that were sent are answered";
  }
  return nullptr;
}

const char* InvariantChecker::CheckChange(const Core& core) const {
  const Seen& was = seen_;
  if (core.hard_state_.term < was.hard_state.term) return "terms never go back";
  if (core.hard_state_.term == was.hard_state.term && was.hard_state.vote != ReplicaId() &&
      core.hard_state_.vote != was.hard_state.vote) {
    return "one vote in one term";
  }
  if (core.commit_ < was.commit) return "the commit index never goes back";
  if (core.applied_ < was.applied) return "the applied position never goes back";
  if (core.handed_to_apply_ < was.handed_to_apply) return "nothing is handed out to be applied twice";
  if (core.sequence_ < was.sequence) return "sequences count up";
  bool led = was.role == RoleName::kLeader && core.IsLeader() && core.hard_state_.term == was.hard_state.term;
  if (led && core.log_.last() < was.last) return "leader append-only: a leader never removes entries of its log";
  return led ? CheckMatches(core) : nullptr;
}

const char* InvariantChecker::CheckMatches(const Core& core) const {
  if (core.configuration_index() != seen_.configuration) return nullptr;  // other peers
  const std::vector<Progress>& peers = core.Leader()->peers;
  for (size_t i = 0; i < peers.size(); ++i) {
    if (peers[i].match < seen_.matches[i].second) return "a match index never goes back within a term";
  }
  return nullptr;
}

}  // namespace terrane::raft
