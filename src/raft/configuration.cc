// Changes of membership, one replica at a time (chapter 4 of the thesis).
#include <algorithm>
#include <iterator>
#include <utility>

#include "raft/check.h"
#include "raft/core.h"

namespace terrane::raft {
namespace {

// Replicas whose standing differs between the two.
std::vector<ReplicaId> Differences(const Configuration& a, const Configuration& b) {
  std::vector<ReplicaId> all;
  for (const auto* list : {&a.voters, &a.learners, &b.voters, &b.learners})
    all.insert(all.end(), list->begin(), list->end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  std::vector<ReplicaId> out;
  std::copy_if(all.begin(), all.end(), std::back_inserter(out),
               [&](ReplicaId id) { return a.IsVoter(id) != b.IsVoter(id) || a.IsLearner(id) != b.IsLearner(id); });
  return out;
}

}  // namespace

ProposeResult Core::ProposeConfiguration(Term term, const Configuration& configuration, MonotonicTime now) {
  // CheckProposal asks for the applied no-op, so an entry of the own term is committed: without it two leaders could
  // change the same configuration in two ways with quorums that do not meet.
  ProposeResult result = CheckProposal(term);
  if (result.ok()) result.refusal = CheckChange(configuration);
  if (!result.ok()) return result;
  result.first = AppendAsLeader(EntryType::kConfiguration, Payload(EncodeConfiguration(configuration)), now);
  // A quorum of fewer may be there already.
  AdvanceCommit(now);
  return result;
}

Refusal Core::CheckChange(const Configuration& next) const {
  if (configuration_index() > commit_) return Refusal::kChangeUnderWay;
  if (!next.IsValid()) return Refusal::kNotOneChange;
  std::vector<ReplicaId> changed = Differences(configuration(), next);
  // What is said about members changes no quorum.
  if (changed.empty() && next.about != configuration().about) return Refusal::kNone;
  if (changed.size() != 1) return Refusal::kNotOneChange;
  ReplicaId id = changed.front();
  if (!next.IsVoter(id)) return Refusal::kNone;
  // A new voter is a learner whose data is close: not one whose log is, nor one that holds only a reference to a state
  // (trap T55).
  if (!configuration().IsLearner(id)) return Refusal::kLearnerBehind;
  for (const Progress& peer : Leader()->peers) {
    if (peer.id == id && peer.applied + options_.promotion_lag >= commit_ && peer.match > Position(0)) {
      return Refusal::kNone;
    }
  }
  return Refusal::kLearnerBehind;
}

// 4.1: a server uses the latest configuration in its log, committed or not.
void Core::NoteConfiguration(const Entry& entry) {
  std::optional<Configuration> configuration = DecodeConfiguration(entry.data.view());
  TERRANE_RAFT_CHECK(configuration.has_value(), "a configuration that is appended can be read");
  configurations_.push_back({entry.index, *std::move(configuration)});
}

// 4.1: ... and falls back to the one before when its entry is removed.
void Core::ForgetConfigurationsFrom(Position index) {
  while (configurations_.size() > 1 && configurations_.back().index >= index) configurations_.pop_back();
}

const Configuration& Core::ConfigurationAt(Position index) const {
  for (auto placed = configurations_.rbegin(); placed != configurations_.rend(); ++placed) {
    if (placed->index <= index) return placed->configuration;
  }
  return configurations_.front().configuration;
}

// Makes a leader's peers those of the configuration; what is known of a peer that stays what it was is kept.
void Core::AdoptConfiguration(MonotonicTime now) {
  LeaderRole* leader = Leader();
  std::vector<Progress> peers;
  std::vector<ReplicaId> members = configuration().voters;
  members.insert(members.end(), configuration().learners.begin(), configuration().learners.end());
  std::sort(members.begin(), members.end());
  for (ReplicaId id : members) {
    if (id == options_.id) continue;
    const auto about = configuration().about.find(id);
    const std::string text = about == configuration().about.end() ? "" : about->second;
    if (Progress* known = Peer(id); known != nullptr && known->about == text) {
      peers.push_back(std::move(*known));
      continue;
    }
    Progress peer;
    peer.id = id;
    peer.about = text;
    peer.next = log_.last() + 1;
    peer.heard_at = now;
    peers.push_back(std::move(peer));
  }
  leader->peers = std::move(peers);
}

// 4.2.2: a leader that is removed leads until the entry is committed, without counting itself, and steps down then.
void Core::LeaveIfRemoved(MonotonicTime now) {
  if (IsVoter() || configuration_index() > commit_) return;
  FlushAppends(now);  // its followers learn the commit
  const Progress* best = nullptr;
  for (const Progress& peer : Leader()->peers) {
    if (configuration().IsVoter(peer.id) && (best == nullptr || peer.match > best->match)) best = &peer;
  }
  if (best != nullptr) TellTimeoutNow(best->id);
  BecomeFollower(hard_state_.term, ReplicaId(), now);
}

std::vector<PeerStatus> Core::peers() const {
  std::vector<PeerStatus> out;
  if (const LeaderRole* leader = Leader()) {
    for (const Progress& peer : leader->peers) {
      out.push_back({peer.id, configuration().IsVoter(peer.id), peer.match, peer.next, peer.applied, peer.state,
                     peer.heard_at, peer.heard});
    }
  }
  return out;
}

}  // namespace terrane::raft
