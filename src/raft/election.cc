// Elections: terms, votes, pre-votes, stickiness, check-quorum, transfer of leadership.
#include <algorithm>
#include <utility>

#include "raft/check.h"
#include "raft/core.h"

namespace terrane::raft {

bool Core::SoleVoter() const {
  const Configuration& now = configuration();
  return now.voters.size() == 1 && now.voters.front() == options_.id;
}

// Sole voter, and no configuration that may still be in force has another. While the change that removes the last other
// voter is not committed, that voter may lead under a lease that this replica granted before it restarted.
bool Core::CertainlyAlone() const {
  if (!SoleVoter()) return false;
  for (auto placed = configurations_.rbegin(); placed != configurations_.rend(); ++placed) {
    const std::vector<ReplicaId>& voters = placed->configuration.voters;
    if (!voters.empty() && voters != configuration().voters) return false;
    if (placed->index <= commit_) break;
  }
  return true;
}

// 4.2.2: a server that is not part of its own latest configuration still starts elections, as it might still be needed
// until that configuration is committed; its own vote does not count then.
bool Core::MayCampaign() const {
  if (!may_vote_) return false;
  if (IsVoter()) return true;
  return configuration_index() > commit_ && ConfigurationAt(configuration_index() - 1).IsVoter(options_.id);
}

MonotonicTime Core::RandomTimeout() {
  uint64_t spread = static_cast<uint64_t>((options_.election_timeout_max - options_.election_timeout_min).count());
  return options_.election_timeout_min + MonotonicTime(static_cast<int64_t>(random_.Below(spread + 1)));
}

// The promise behind leases, which outlives term and role: a leader may have counted on it.
bool Core::Sticky(MonotonicTime now) const {
  return IsLeader() || (last_leader_contact_ && now - *last_leader_contact_ < options_.election_timeout_min);
}

// 3.6.1: the later last term, or with equal last terms the longer log, is more up to date.
bool Core::LogIsUpToDate(const Message& message) const {
  if (message.log_term != log_.last_term()) return message.log_term > log_.last_term();
  return message.index >= log_.last();
}

void Core::BecomeFollower(Term term, ReplicaId leader, MonotonicTime now) {
  TERRANE_RAFT_CHECK(term >= hard_state_.term, "terms never go back");
  if (LeaderRole* was = Leader()) FailReads(was);
  if (term > hard_state_.term) hard_state_ = {term, ReplicaId()};
  // A follower that only learns of a term goes on waiting as long as it did.
  const auto* was = std::get_if<FollowerRole>(&role_);
  MonotonicTime deadline = was != nullptr && leader == ReplicaId() ? was->election_deadline : now + RandomTimeout();
  role_ = FollowerRole{leader, deadline};
}

// The leader of the own term was heard.
void Core::HearLeader(ReplicaId leader, MonotonicTime now) {
  TERRANE_RAFT_CHECK(!IsLeader(), "election safety: at most one leader in a term");
  role_ = FollowerRole{leader, now + RandomTimeout()};
  last_leader_contact_ = now;
}

void Core::Campaign(bool pre, bool transfer, MonotonicTime now) {
  if (!pre) hard_state_ = {Term(hard_state_.term.value() + 1), options_.id};
  CandidateRole candidate;
  candidate.pre = pre;
  candidate.transfer = transfer;
  candidate.election_deadline = now + RandomTimeout();
  role_ = candidate;
  for (ReplicaId voter : configuration().voters) {
    if (voter == options_.id) continue;
    Message message;
    message.to = voter;
    message.index = log_.last();
    message.log_term = log_.last_term();
    if (pre) {
      message.type = MessageType::kPreVote;
      message.campaign_term = Term(hard_state_.term.value() + 1);
      Send(std::move(message));
    } else {
      // Not before the own vote is synced: a restart would ask again in this term, with a shorter log.
      message.type = MessageType::kVote;
      message.transfer = transfer;
      SendWhenPersisted(std::move(message));
    }
  }
  if (pre) CountVote(options_.id, true, now);
}

void Core::CountVote(ReplicaId from, bool granted, MonotonicTime now) {
  auto& candidate = std::get<CandidateRole>(role_);
  std::vector<ReplicaId>& list = granted ? candidate.granted : candidate.refused;
  if (!configuration().IsVoter(from) || std::find(list.begin(), list.end(), from) != list.end()) return;
  list.push_back(from);
  if (candidate.granted.size() >= Quorum()) {
    candidate.pre ? Campaign(false, candidate.transfer, now) : BecomeLeader(now);
  } else if (candidate.refused.size() >= Quorum()) {
    BecomeFollower(hard_state_.term, ReplicaId(), now);
  }
}

void Core::BecomeLeader(MonotonicTime now) {
  TERRANE_RAFT_CHECK(HardStateSynced(), "a candidate leads only after its own vote is synced");
  LeaderRole leader;
  leader.next_heartbeat = now;
  role_ = std::move(leader);
  AdoptConfiguration(now);
  // Entries of older terms are committed by this one only (3.6.2).
  std::get<LeaderRole>(role_).no_op = AppendAsLeader(EntryType::kNoOp, Payload(), now);
  StartRound(now);
}

void Core::StepPreVote(const Message& message, MonotonicTime now) {
  Message answer = Answer(message, MessageType::kPreVoteAnswer);
  answer.campaign_term = message.campaign_term;
  answer.reject = message.campaign_term <= hard_state_.term || Sticky(now) || !LogIsUpToDate(message);
  if (!answer.reject) {
    // No promise, only manners: the sender asks for votes once its own is synced, and a campaign meanwhile would split
    // them, which costs another timeout. Of two that ask at once the greater id goes on.
    const MonotonicTime soon = now + 2 * options_.heartbeat_interval;
    if (auto* follower = std::get_if<FollowerRole>(&role_)) {
      follower->election_deadline = std::max(follower->election_deadline, soon);
    } else if (auto* candidate = std::get_if<CandidateRole>(&role_);
               candidate != nullptr && candidate->pre && options_.id < message.from) {
      role_ = FollowerRole{ReplicaId(), std::max(candidate->election_deadline, soon)};
    }
  }
  SendAnswer(std::move(answer));
}

// A voter answers candidates that are not in its own configuration, and a replica that does not know itself as a voter
// answers too: the candidate may have a newer configuration, and counts by that (4.2.3).
void Core::StepVote(const Message& message, MonotonicTime now) {
  bool free = hard_state_.vote == ReplicaId() || hard_state_.vote == message.from;
  Message answer = Answer(message, MessageType::kVoteAnswer);
  answer.reject = !free || !LogIsUpToDate(message);
  if (!answer.reject) {
    hard_state_.vote = message.from;
    role_ = FollowerRole{leader(), now + RandomTimeout()};
  }
  SendWhenPersisted(std::move(answer));
}

void Core::StepVoteAnswer(const Message& message, MonotonicTime now) {
  const auto* candidate = std::get_if<CandidateRole>(&role_);
  bool pre = message.type == MessageType::kPreVoteAnswer;
  if (candidate == nullptr || candidate->pre != pre) return;
  if (pre && message.campaign_term.value() != hard_state_.term.value() + 1) return;
  CountVote(message.from, !message.reject, now);
}

void Core::StepTimeoutNow(const Message&, MonotonicTime now) {
  if (IsLeader() || !MayCampaign() || stalled_) return;
  Campaign(false, true, now);
}

// --- Time ---

void Core::Tick(MonotonicTime now) {
  IsLeader() ? TickLeader(now) : TickElection(now);
}

MonotonicTime Core::NextTick() const {
  if (const LeaderRole* leader = Leader()) return leader->next_heartbeat;
  if (!MayCampaign()) return MonotonicTime::max();
  if (const auto* follower = std::get_if<FollowerRole>(&role_)) return follower->election_deadline;
  return std::get<CandidateRole>(role_).election_deadline;
}

void Core::TickElection(MonotonicTime now) {
  if (now < NextTick()) return;
  if (stalled_) {
    // Its own vote would not be synced: wait for another round.
    role_ = FollowerRole{ReplicaId(), now + RandomTimeout()};
    return;
  }
  Campaign(!SoleVoter(), false, now);
}

void Core::TickLeader(MonotonicTime now) {
  LeaderRole* leader = Leader();
  if (now < leader->next_heartbeat) return;
  if (!HeardQuorum(now)) {
    // 6.2: a leader steps down if an election timeout elapses without a round of heartbeats to a majority.
    BecomeFollower(hard_state_.term, ReplicaId(), now);
    return;
  }
  if (leader->transfer && now >= leader->transfer->deadline) leader->transfer.reset();
  if (stalled_) {
    leader->next_heartbeat = now + options_.heartbeat_interval;
    if (!leader->transfer) StartTransfer(ReplicaId(), now);
    return;
  }
  StartRound(now);
}

bool Core::HeardQuorum(MonotonicTime now) const {
  size_t heard = IsVoter() ? 1 : 0;
  for (const Progress& peer : Leader()->peers) {
    if (configuration().IsVoter(peer.id) && now - peer.heard_at <= options_.election_timeout_max) ++heard;
  }
  return heard >= Quorum();
}

// The heartbeat round that a majority has answered; the leader answers its own at once.
uint64_t Core::QuorumRound() const {
  const LeaderRole* leader = Leader();
  return QuorumValue(leader->round, [](const Progress& peer) { return peer.round; });
}

std::optional<MonotonicTime> Core::LeaseUntil() const {
  const LeaderRole* leader = Leader();
  if (leader == nullptr || !ReadyToServe() || leader->transfer || leader->lease_given_up || stalled_) {
    return std::nullopt;
  }
  if (SoleVoter()) return MonotonicTime::max();
  const std::optional<MonotonicTime> sent = WhenSent(QuorumRound());
  if (!sent) return std::nullopt;
  return *sent + options_.election_timeout_min - options_.lease_drift;
}

// --- Transfer (3.10) ---

Refusal Core::TransferLeadership(ReplicaId target, MonotonicTime now) {
  LeaderRole* leader = Leader();
  if (leader == nullptr) return Refusal::kNotLeader;
  if (leader->transfer) return leader->transfer->target == target ? Refusal::kNone : Refusal::kTransferring;
  return StartTransfer(target, now) ? Refusal::kNone : Refusal::kNoSuchTarget;
}

bool Core::StartTransfer(ReplicaId target, MonotonicTime now) {
  LeaderRole* leader = Leader();
  const Progress* best = nullptr;
  // Of equals the next id behind the own one, the least behind the greatest: transfers one after the other reach all.
  const auto better = [this](const Progress& a, const Progress& b) {
    if (a.match != b.match) return a.match > b.match;
    return std::pair(a.id < options_.id, a.id) < std::pair(b.id < options_.id, b.id);
  };
  for (const Progress& peer : leader->peers) {
    bool answers = now - peer.heard_at < options_.election_timeout_min;
    if (!configuration().IsVoter(peer.id) || !answers) continue;
    if (target != ReplicaId() ? peer.id == target : best == nullptr || better(peer, *best)) best = &peer;
  }
  if (best == nullptr) return false;
  leader->transfer = Transfer{best->id, now + options_.election_timeout_max, false};
  TellTransferTarget();
  return true;
}

// The target is told when its log is as long as the own; no entry is added meanwhile.
void Core::TellTransferTarget() {
  LeaderRole* leader = Leader();
  if (!leader->transfer || leader->transfer->told) return;
  const Progress* peer = Peer(leader->transfer->target);
  if (peer == nullptr || peer->match != log_.last()) return;
  TellTimeoutNow(peer->id);
  leader->transfer->told = true;
}

void Core::TellTimeoutNow(ReplicaId target) {
  Message message;
  message.type = MessageType::kTimeoutNow;
  message.to = target;
  Send(std::move(message));
  // It may arrive at any time, and the votes for its receiver break the promise behind the lease.
  Leader()->lease_given_up = true;
}

}  // namespace terrane::raft
