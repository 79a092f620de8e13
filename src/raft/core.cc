// Dispatch, persistence and output of the core. The rules live in election.cc, replication.cc, configuration.cc and
// read_index.cc.
#include "raft/core.h"

#include <algorithm>
#include <utility>

#include "raft/check.h"

namespace terrane::raft {

RestoredState NewGroup(const Configuration& configuration) {
  TERRANE_RAFT_CHECK(configuration.IsValid(), "a group begins with a valid configuration");
  RestoredState state;
  state.hard_state.term = Term(1);
  state.entries.push_back(
      {Term(1), Position(1), EntryType::kConfiguration, Payload(EncodeConfiguration(configuration))});
  return state;
}

Core::Core(const Options& options, RestoredState restored, MonotonicTime now)
    : options_(options), random_(options.seed), hard_state_(restored.hard_state), silent_until_(now) {
  TERRANE_RAFT_CHECK(options.id != ReplicaId(), "a replica has an id");
  TERRANE_RAFT_CHECK(options.heartbeat_interval < options.election_timeout_min &&
                         options.election_timeout_min <= options.election_timeout_max,
                     "heartbeats come more often than elections");
  const SnapshotReference& snapshot = restored.snapshot;
  log_.Reset(snapshot.index, snapshot.term);
  configurations_.push_back({snapshot.index, snapshot.configuration});
  for (Entry& entry : restored.entries) {
    if (entry.type == EntryType::kConfiguration) {
      std::optional<Configuration> configuration = DecodeConfiguration(entry.data.view());
      TERRANE_RAFT_CHECK(configuration.has_value(), "a configuration in the own log can be read");
      configurations_.push_back({entry.index, *std::move(configuration)});
    }
    log_.Append(std::move(entry));
  }
  TERRANE_RAFT_CHECK(log_.last_term() <= hard_state_.term, "no entry is newer than the own term");
  TERRANE_RAFT_CHECK(snapshot.index <= restored.applied && restored.applied <= log_.last(),
                     "the applied position lies within the log");
  // What is applied was committed; the commit index itself needs no disk (3.8).
  commit_ = applied_ = handed_to_apply_ = restored.applied;
  synced_ = handed_to_persist_ = log_.last();
  synced_hard_state_ = handed_hard_state_ = hard_state_;
  role_ = FollowerRole{ReplicaId(), now + RandomTimeout()};
  noted_role_ = {RoleName::kFollower, hard_state_.term, ReplicaId()};
  if (CertainlyAlone()) {
    Campaign(false, false, now);
  } else {
    silent_until_ = now + options_.election_timeout_min;
  }
}

RoleName Core::role() const {
  if (IsLeader()) return RoleName::kLeader;
  if (const auto* candidate = std::get_if<CandidateRole>(&role_)) {
    return candidate->pre ? RoleName::kPreCandidate : RoleName::kCandidate;
  }
  return RoleName::kFollower;
}

ReplicaId Core::leader() const {
  if (IsLeader()) return options_.id;
  if (const auto* follower = std::get_if<FollowerRole>(&role_)) return follower->leader;
  return ReplicaId();
}

bool Core::ReadyToServe() const {
  const LeaderRole* leader = Leader();
  return leader != nullptr && applied_ >= leader->no_op;
}

std::optional<MonotonicTime> Core::LeaderContact(MonotonicTime now) const {
  return IsLeader() ? now : last_leader_contact_;
}

std::optional<LeaderWord> Core::Word(MonotonicTime now) const {
  const LeaderRole* leader = Leader();
  if (leader == nullptr) return word_;
  if (SoleVoter()) return LeaderWord{term(), MayBeCommitted(), now};
  const std::optional<MonotonicTime> sent = WhenSent(QuorumRound());
  return sent ? std::optional(LeaderWord{term(), MayBeCommitted(), *sent}) : std::nullopt;
}

// --- Messages in ---

namespace {

// Entries of an Append as a correct leader makes them.
bool WellFormed(const Message& message) {
  Position index = message.index;
  Term term = message.log_term;
  for (const Entry& entry : message.entries) {
    index = index + 1;
    if (entry.index != index || entry.term < term || entry.term > message.term) return false;
    if (entry.type == EntryType::kConfiguration && !DecodeConfiguration(entry.data.view())) return false;
    term = entry.term;
  }
  if (message.type == MessageType::kInstallSnapshot) {
    // Data of a later term than the message's comes from a group that has moved on: its new leader will send its own.
    return message.snapshot != nullptr && message.snapshot->configuration.IsValid() &&
           message.snapshot->term <= message.term;
  }
  return true;
}

// A leader of the message's term sent it.
bool IsFromLeader(MessageType type) {
  return type == MessageType::kAppend || type == MessageType::kHeartbeat || type == MessageType::kInstallSnapshot ||
         type == MessageType::kTimeoutNow;
}

}  // namespace

void Core::Step(const Message& message, MonotonicTime now) {
  if (message.to != options_.id || message.from == options_.id || message.from == ReplicaId()) return;
  if (!WellFormed(message)) return;
  bool asks_for_vote = message.type == MessageType::kVote || message.type == MessageType::kPreVote;
  if (asks_for_vote && (now < silent_until_ || !may_vote_)) return;
  // A pre-vote changes no term and no vote, so it is outside of the rules of terms (9.6).
  if (message.type == MessageType::kPreVote) return StepPreVote(message, now);
  // 4.2.3: whoever heard a leader within the minimum election timeout neither updates its term nor grants its vote,
  // unless the leader itself asked for the election.
  if (message.type == MessageType::kVote && !message.transfer && Sticky(now)) {
    if (message.term < hard_state_.term) AnswerOlderTerm(message);
    return;
  }
  if (message.term > hard_state_.term) {
    BecomeFollower(message.term, IsFromLeader(message.type) ? message.from : ReplicaId(), now);
  } else if (message.term < hard_state_.term && message.type != MessageType::kPreVoteAnswer) {
    return AnswerOlderTerm(message);
  }
  switch (message.type) {
    case MessageType::kPreVote:
      break;  // above
    case MessageType::kVote:
      StepVote(message, now);
      break;
    case MessageType::kPreVoteAnswer:
    case MessageType::kVoteAnswer:
      StepVoteAnswer(message, now);
      break;
    case MessageType::kAppend:
      StepAppend(message, now);
      break;
    case MessageType::kAppendAnswer:
      StepAppendAnswer(message, now);
      break;
    case MessageType::kHeartbeat:
      StepHeartbeat(message, now);
      break;
    case MessageType::kHeartbeatAnswer:
      StepHeartbeatAnswer(message, now);
      break;
    case MessageType::kInstallSnapshot:
      StepInstallSnapshot(message, now);
      break;
    case MessageType::kSnapshotAnswer:
      StepSnapshotAnswer(message, now);
      break;
    case MessageType::kTimeoutNow:
      StepTimeoutNow(message, now);
      break;
    case MessageType::kReadIndex:
      StepReadIndex(message);
      break;
    case MessageType::kReadIndexAnswer:
      StepReadIndexAnswer(message);
      break;
  }
}

// A message of an older term is answered with the own term, so that its sender catches up; a leader steps down by it.
void Core::AnswerOlderTerm(const Message& message) {
  Message answer;
  switch (message.type) {
    case MessageType::kVote:
      answer = Answer(message, MessageType::kVoteAnswer);
      break;
    case MessageType::kAppend:
    case MessageType::kHeartbeat:
    case MessageType::kInstallSnapshot:
      answer = Answer(message, MessageType::kAppendAnswer);
      answer.index = message.index;
      break;
    case MessageType::kReadIndex:
      answer = Answer(message, MessageType::kReadIndexAnswer);
      answer.context = message.context;
      break;
    default:
      return;  // answers and TimeoutNow: their sender learns it otherwise
  }
  answer.reject = true;
  SendAnswer(std::move(answer));
}

Message Core::Answer(const Message& question, MessageType type) const {
  Message answer;
  answer.type = type;
  answer.to = question.from;
  return answer;
}

// --- Messages out ---

void Core::Send(Message message) {
  message.from = options_.id;
  message.term = hard_state_.term;
  messages_.push_back(std::move(message));
}

void Core::SendWhenPersisted(Message message) {
  message.from = options_.id;
  message.term = hard_state_.term;
  messages_after_persist_.push_back(std::move(message));
}

// An answer that promises nothing but the own term.
void Core::SendAnswer(Message message) {
  HardStateSynced() ? Send(std::move(message)) : SendWhenPersisted(std::move(message));
}

// --- Persistence ---

void Core::Persisted(uint64_t sequence, MonotonicTime now) {
  while (!outstanding_.empty() && outstanding_.front().sequence <= sequence) {
    synced_ = std::max(synced_, outstanding_.front().last);
    synced_hard_state_ = outstanding_.front().hard_state;
    outstanding_.pop_front();
  }
  TERRANE_RAFT_CHECK(synced_ <= log_.last(), "only what is in the log is synced");
  if (auto* candidate = std::get_if<CandidateRole>(&role_)) {
    // The own vote is worth nothing before it is synced.
    if (!candidate->pre && HardStateSynced()) CountVote(options_.id, true, now);
  } else if (IsLeader()) {
    AdvanceCommit(now);
  }
}

void Core::Applied(Position index) {
  TERRANE_RAFT_CHECK(index <= handed_to_apply_, "only what was handed out is applied");
  applied_ = std::max(applied_, index);
}

void Core::PersistStalled(bool stalled, MonotonicTime now) {
  stalled_ = stalled;
  if (LeaderRole* leader = Leader(); leader != nullptr && stalled && !leader->transfer) {
    StartTransfer(ReplicaId(), now);
  }
}

void Core::Compact(Position index) {
  TERRANE_RAFT_CHECK(index <= applied_, "only what is applied may be forgotten");
  log_.Compact(std::min(index, log_.last()));
  while (configurations_.size() > 1 && configurations_[1].index <= log_.base()) configurations_.pop_front();
}

// --- Output ---

bool Core::HasReady() const {
  return flush_ || !messages_.empty() || !messages_after_persist_.empty() || !reads_.empty() ||
         hard_state_ != handed_hard_state_ || truncate_from_ || snapshot_ || handed_to_persist_ < log_.last() ||
         handed_to_apply_ < std::min(commit_, synced_) || noted_role_ != RoleChange{role(), term(), leader()};
}

Ready Core::TakeReady(MonotonicTime now) {
  if (IsLeader() && flush_) {
    FlushReads(now);
    FlushAppends(now);
  }
  flush_ = false;
  Ready ready;
  ready.messages = std::exchange(messages_, {});
  CollectPersistence(&ready);
  CollectCommitted(&ready);
  ready.reads = std::exchange(reads_, {});
  RoleChange now_role{role(), term(), leader()};
  if (noted_role_ != now_role) ready.role = noted_role_ = now_role;
  return ready;
}

void Core::CollectPersistence(Ready* ready) {
  ready->snapshot = std::exchange(snapshot_, std::nullopt);
  ready->truncate_from = std::exchange(truncate_from_, std::nullopt);
  if (handed_to_persist_ < log_.last()) {
    ready->entries = log_.Slice(handed_to_persist_ + 1, log_.last(), SIZE_MAX);
    handed_to_persist_ = log_.last();
  }
  if (hard_state_ != handed_hard_state_) ready->hard_state = handed_hard_state_ = hard_state_;
  if (!ready->MustPersist() && outstanding_.empty()) {
    // Everything that these wait for is synced already.
    std::move(messages_after_persist_.begin(), messages_after_persist_.end(), std::back_inserter(ready->messages));
    messages_after_persist_.clear();
    return;
  }
  ready->messages_after_persist = std::exchange(messages_after_persist_, {});
  if (!ready->MustPersist() && ready->messages_after_persist.empty()) return;
  ready->sequence = ++sequence_;
  outstanding_.push_back({sequence_, handed_to_persist_, hard_state_});
}

void Core::CollectCommitted(Ready* ready) {
  // Nothing is applied before it is synced in the own log (trap T75).
  Position end = std::min(commit_, synced_);
  if (handed_to_apply_ >= end) return;
  ready->committed = log_.Slice(handed_to_apply_ + 1, end, options_.max_apply_bytes);
  handed_to_apply_ = ready->committed.back().index;
}

// --- Names ---

std::string_view ToString(RoleName role) {
  switch (role) {
    case RoleName::kFollower:
      return "follower";
    case RoleName::kPreCandidate:
      return "pre-candidate";
    case RoleName::kCandidate:
      return "candidate";
    case RoleName::kLeader:
      return "leader";
  }
  return "unknown";
}

std::string_view ToString(Refusal refusal) {
  switch (refusal) {
    case Refusal::kNone:
      return "accepted";
    case Refusal::kNotLeader:
      return "not the leader";
    case Refusal::kOtherTerm:
      return "leads in another term than the proposal was made for";
    case Refusal::kNotReady:
      return "the first entry of the own term is not applied yet";
    case Refusal::kTransferring:
      return "leadership is being handed on";
    case Refusal::kStalled:
      return "the log's disk does not answer";
    case Refusal::kChangeUnderWay:
      return "another change of the configuration is not committed yet";
    case Refusal::kNotOneChange:
      return "the configuration must be valid and differ in exactly one replica";
    case Refusal::kLearnerBehind:
      return "the replica must be a learner whose data is close";
    case Refusal::kNoSuchTarget:
      return "the target must be another voter that answers";
  }
  return "unknown";
}

}  // namespace terrane::raft
