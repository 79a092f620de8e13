// Replication: appends and their answers, commit, heartbeats, snapshots by reference.
#include <algorithm>
#include <utility>

#include "raft/check.h"
#include "raft/core.h"

namespace terrane::raft {

// --- Leader: entries in ---

ProposeResult Core::Propose(Term term, std::string entry) {
  std::vector<std::string> entries;
  entries.push_back(std::move(entry));
  return Propose(term, std::move(entries));
}

ProposeResult Core::Propose(Term term, std::vector<std::string> entries) {
  ProposeResult result = CheckProposal(term);
  if (!result.ok()) return result;
  result.first = log_.last() + 1;
  // A proposal bears no time; nothing in appending normal entries needs one.
  for (std::string& data : entries) AppendAsLeader(EntryType::kNormal, Payload(std::move(data)), MonotonicTime(0));
  return result;
}

ProposeResult Core::CheckProposal(Term term) const {
  const LeaderRole* leader = Leader();
  Refusal refusal = Refusal::kNone;
  if (leader == nullptr) {
    refusal = Refusal::kNotLeader;
  } else if (term != hard_state_.term) {
    refusal = Refusal::kOtherTerm;
  } else if (!ReadyToServe()) {
    refusal = Refusal::kNotReady;
  } else if (leader->transfer) {
    refusal = Refusal::kTransferring;
  } else if (stalled_) {
    refusal = Refusal::kStalled;
  }
  return {refusal, this->leader(), Position()};
}

Position Core::AppendAsLeader(EntryType type, Payload data, MonotonicTime now) {
  Entry entry{hard_state_.term, log_.last() + 1, type, std::move(data)};
  log_.Append(entry);
  if (type == EntryType::kConfiguration) {
    NoteConfiguration(entry);
    AdoptConfiguration(now);
  }
  flush_ = true;
  return entry.index;
}

// --- Leader: messages out ---

Progress* Core::Peer(ReplicaId id) {
  for (Progress& peer : Leader()->peers) {
    if (peer.id == id) return &peer;
  }
  return nullptr;
}

void Core::FlushAppends(MonotonicTime now) {
  for (Progress& peer : Leader()->peers) SendAppends(&peer, now);
}

void Core::SendAppends(Progress* peer, MonotonicTime now) {
  if (peer->state == ProgressState::kSnapshot) return;
  if (peer->next <= log_.base()) return SendSnapshot(peer, now);
  if (peer->state == ProgressState::kProbe) {
    if (!peer->probe_sent) SendOneAppend(peer, true, now);
    return;
  }
  while (peer->next <= log_.last() && (peer->inflight.empty() || peer->inflight_bytes < options_.max_inflight_bytes)) {
    SendOneAppend(peer, true, now);
  }
  // A new commit index goes out at once when nothing else follows: a follower must not learn it one heartbeat late.
  if (peer->commit_sent < std::min(commit_, peer->next - 1)) SendOneAppend(peer, false, now);
}

// An Append whose prev is in front of peer->next, with or without entries.
void Core::SendOneAppend(Progress* peer, bool with_entries, MonotonicTime now) {
  Message message;
  message.type = MessageType::kAppend;
  message.to = peer->id;
  message.index = peer->next - 1;
  message.log_term = *log_.TermAt(message.index);
  message.commit = commit_;
  if (with_entries) message.entries = log_.Slice(peer->next, log_.last(), options_.max_message_bytes);
  Position end = message.index + message.entries.size();
  // The receiver takes the commit index over only up to prev + n.
  peer->commit_sent = std::max(peer->commit_sent, std::min(commit_, end));
  if (peer->state == ProgressState::kProbe) {
    peer->probe_sent = true;
    peer->nudge_at = now + options_.heartbeat_interval;
  } else if (!message.entries.empty()) {
    if (peer->inflight.empty()) peer->nudge_at = now + options_.heartbeat_interval;
    size_t bytes = 0;
    for (const Entry& entry : message.entries) bytes += Cost(entry);
    peer->AddInflight(end, bytes);
    peer->next = end + 1;
  }
  Send(std::move(message));
}

void Core::SendSnapshot(Progress* peer, MonotonicTime now) {
  auto snapshot = std::make_shared<SnapshotReference>();
  snapshot->index = log_.base();
  snapshot->term = log_.base_term();
  snapshot->configuration = configurations_.front().configuration;
  peer->BecomeSnapshot(snapshot->index, now);
  Message message;
  message.type = MessageType::kInstallSnapshot;
  message.to = peer->id;
  message.snapshot = std::move(snapshot);
  Send(std::move(message));
}

// --- Leader: answers in ---

void Core::StepAppendAnswer(const Message& message, MonotonicTime now) {
  Progress* peer = IsLeader() ? Peer(message.from) : nullptr;
  if (peer == nullptr) return;
  peer->heard_at = now;
  peer->heard = true;
  peer->nudge_at = now + options_.heartbeat_interval;
  if (message.reject) {
    // The last position of ours that may match: not behind its hint, and not of a newer term than the hint.
    Position hint = message.hint_index > log_.base() ? log_.LastNotNewerThan(message.hint_index, message.hint_term)
                                                     : message.hint_index;
    if (peer->Rejected(message.index, hint)) flush_ = true;
    return;
  }
  if (message.index > log_.last()) return;  // not an answer to anything that this leader sent
  MatchReached(peer, message.index, now);
}

void Core::MatchReached(Progress* peer, Position index, MonotonicTime now) {
  bool grew = peer->UpdateMatch(index);
  if (peer->state != ProgressState::kReplicate && index >= peer->match && peer->match >= log_.base()) {
    peer->BecomeReplicate();
  }
  flush_ = true;
  if (!grew) return;
  AdvanceCommit(now);
  if (IsLeader()) TellTransferTarget();
}

// 3.6.2: only entries of the own term are committed by counting replicas; those before with them (trap T45).
void Core::AdvanceCommit(MonotonicTime now) {
  Position own = synced_;
  Position index = QuorumValue(own, [](const Progress& peer) { return peer.match; });
  if (index <= commit_ || log_.TermAt(index) != hard_state_.term) return;
  commit_ = index;
  flush_ = true;
  LeaveIfRemoved(now);
}

// --- Follower ---

void Core::StepAppend(const Message& message, MonotonicTime now) {
  HearLeader(message.from, now);
  Message answer = Answer(message, MessageType::kAppendAnswer);
  // What is cut off is committed, so it matches.
  if (message.index >= log_.base() && !log_.Matches(message.index, message.log_term)) {
    answer.reject = true;
    answer.index = message.index;
    answer.hint_index = log_.LastNotNewerThan(message.index, message.log_term);
    answer.hint_term = *log_.TermAt(answer.hint_index);
    SendAnswer(std::move(answer));
    return;
  }
  for (const Entry& entry : message.entries) {
    if (entry.index <= log_.base()) continue;
    std::optional<Term> term = log_.TermAt(entry.index);
    if (term == entry.term) continue;
    // Only a conflict removes entries, never a message that is short (3.5).
    if (term) TruncateFrom(entry.index);
    log_.Append(entry);
    if (entry.type == EntryType::kConfiguration) NoteConfiguration(entry);
  }
  Position limit = message.index + message.entries.size();
  TakeCommit(message.commit, limit);
  answer.index = limit;
  if (limit <= synced_ && HardStateSynced()) {
    Send(std::move(answer));
  } else {
    SendWhenPersisted(std::move(answer));
  }
}

// Up to `limit` the own log is known to equal the leader's; behind it there may be a leftover tail (trap T71).
void Core::TakeCommit(Position commit, Position limit) {
  commit_ = std::max(commit_, std::min(commit, limit));
  TERRANE_RAFT_CHECK(commit_ <= log_.last(), "what is committed is in the log");
}

void Core::TruncateFrom(Position index) {
  TERRANE_RAFT_CHECK(index > commit_, "a committed entry is never truncated");
  log_.TruncateFrom(index);
  ForgetConfigurationsFrom(index);
  synced_ = std::min(synced_, index - 1);
  for (Outstanding& write : outstanding_) write.last = std::min(write.last, index - 1);
  if (handed_to_persist_ >= index) {
    truncate_from_ = truncate_from_ ? std::min(*truncate_from_, index) : index;
    handed_to_persist_ = index - 1;
  }
}

// --- Heartbeats ---

void Core::StepHeartbeat(const Message& message, MonotonicTime now) {
  HearLeader(message.from, now);
  NoteWord(message, now);
  if (log_.Matches(message.index, message.log_term)) TakeCommit(message.commit, message.index);
  Message answer = Answer(message, MessageType::kHeartbeatAnswer);
  answer.context = message.context;
  answer.commit = applied_;
  answer.echo = static_cast<uint64_t>(now.count());
  SendAnswer(std::move(answer));
}

// Within a term a word never says less than one before, which may have overtaken it. A later leader's may: it began its
// term behind what an earlier one had and nobody has committed.
void Core::NoteWord(const Message& message, MonotonicTime now) {
  const MonotonicTime at(static_cast<int64_t>(message.echo));
  // From the future: not of this clock.
  if (message.hint_index == Position(0) || message.echo == 0 || at > now) return;
  const LeaderWord word{message.term, message.hint_index, at};
  const bool same = word_ && word_->term == message.term;
  word_ = same ? LeaderWord{word.term, std::max(word_->committed, word.committed), std::max(word_->at, word.at)} : word;
}

void Core::PeerStarted(ReplicaId id) {
  LeaderRole* leader = Leader();
  Progress* peer = leader != nullptr ? Peer(id) : nullptr;
  if (peer == nullptr) return;
  peer->clock = 0;
  peer->clock_when_sent.clear();
}

// Says that the follower lives and what it has applied; nothing about its log (trap T46).
void Core::StepHeartbeatAnswer(const Message& message, MonotonicTime now) {
  LeaderRole* leader = Leader();
  Progress* peer = leader != nullptr ? Peer(message.from) : nullptr;
  if (peer == nullptr) return;
  peer->heard_at = now;
  peer->heard = true;
  peer->applied = std::max(peer->applied, message.commit);
  peer->clock = std::max(peer->clock, message.echo);
  if (message.context <= leader->round) peer->round = std::max(peer->round, message.context);
  ConfirmReads();
  // It lives, but what was sent is not answered: ask where it is.
  if (now < peer->nudge_at) return;
  peer->nudge_at = now + options_.heartbeat_interval;
  flush_ = true;  // what it lacks may have been cut off
  switch (peer->state) {
    case ProgressState::kProbe:
      if (peer->next > log_.base()) SendOneAppend(peer, false, now);
      break;
    case ProgressState::kReplicate:
      if (peer->next > log_.base() && peer->match + 1 < peer->next) SendOneAppend(peer, false, now);
      break;
    case ProgressState::kSnapshot:
      if (now - peer->snapshot_sent_at >= options_.election_timeout_max) SendSnapshot(peer, now);
      break;
  }
}

// --- Snapshots ---

bool Core::WantsSnapshot(const Message& message, MonotonicTime now) {
  if (message.type != MessageType::kInstallSnapshot || message.term < hard_state_.term || !message.snapshot)
    return false;
  if (message.term > hard_state_.term) BecomeFollower(message.term, message.from, now);
  HearLeader(message.from, now);
  return message.snapshot->index > commit_ && !log_.Matches(message.snapshot->index, message.snapshot->term);
}

void Core::SnapshotFailed(const Message& message) {
  if (message.term != hard_state_.term || IsLeader()) return;
  Message answer = Answer(message, MessageType::kSnapshotAnswer);
  answer.reject = true;
  SendAnswer(std::move(answer));
}

void Core::StepInstallSnapshot(const Message& message, MonotonicTime now) {
  HearLeader(message.from, now);
  const SnapshotReference& snapshot = *message.snapshot;
  if (snapshot.index > commit_) {
    if (log_.Matches(snapshot.index, snapshot.term)) {
      // The log has all that the snapshot has, and maybe more.
      TakeCommit(snapshot.index, snapshot.index);
    } else {
      Install(snapshot);
    }
  }
  Message answer = Answer(message, MessageType::kSnapshotAnswer);
  answer.index = snapshot.index;
  answer.log_term = snapshot.term;
  SendWhenPersisted(std::move(answer));
}

void Core::Install(const SnapshotReference& snapshot) {
  log_.Reset(snapshot.index, snapshot.term);
  configurations_.clear();
  configurations_.push_back({snapshot.index, snapshot.configuration});
  commit_ = handed_to_apply_ = handed_to_persist_ = snapshot.index;
  synced_ = Position(0);  // until the reset of the log is
  for (Outstanding& write : outstanding_) write.last = Position(0);
  truncate_from_.reset();
  snapshot_ = snapshot;
}

void Core::StepSnapshotAnswer(const Message& message, MonotonicTime now) {
  Progress* peer = IsLeader() ? Peer(message.from) : nullptr;
  if (peer == nullptr) return;
  peer->heard_at = now;
  peer->heard = true;
  if (message.reject) {
    peer->snapshot_sent_at = now;  // tried again after a while
    return;
  }
  // The data may come from another replica than this leader, and reflect more than this leader committed: it counts
  // only as far as the own log is the same.
  if (message.index > log_.last()) return;
  std::optional<Term> term = log_.TermAt(message.index);
  if (term && term != message.log_term) return;
  MatchReached(peer, message.index, now);
}

}  // namespace terrane::raft
