// The Raft core: decides; its host (src/replication) writes, sends, applies and knows what time it is.
//
// Pure: no thread, clock, socket or disk inside; equal inputs give equal outputs. Not thread-safe: one thread (the
// host's loop) makes all calls; none blocks. Bytes of entries are opaque to it.
//
// The loop of a host:
//
//   Tick(now) when NextTick() is reached, Step(message, now), Propose(...), Persisted(n), Applied(position), ...
//   while (core.HasReady()) {
//     Ready ready = core.TakeReady(now);
//     send ready.messages;
//     if (ready.sequence != 0) give (snapshot, truncate_from, entries, hard_state, messages_after_persist) to the log
//       writer, in order; when all of it is synced, the writer sends messages_after_persist and the loop calls
//       core.Persisted(ready.sequence). Several may be under way; a writer may sync many at once and report the last.
//     give ready.committed to the apply thread, which reports core.Applied(position);
//     answer ready.reads once `index` is applied;
//   }
//
// The core goes on while its host writes: a leader sends to its followers while its own append is on its way to disk,
// and counts itself when Persisted() says so.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/clock.h"
#include "raft/log_view.h"
#include "raft/progress.h"
#include "raft/random.h"
#include "raft/types.h"

namespace terrane::raft {

struct Options {
  ReplicaId id;  // own id, not 0
  // Same on all replicas of a group, or leases lie: the promise of a follower is as long as its election_timeout_min.
  MonotonicTime heartbeat_interval = std::chrono::milliseconds(50);
  MonotonicTime election_timeout_min = std::chrono::milliseconds(300);
  MonotonicTime election_timeout_max = std::chrono::milliseconds(600);
  // Taken off each lease: how much faster than ours a follower's clock may run during one election timeout.
  MonotonicTime lease_drift = std::chrono::milliseconds(30);
  size_t max_message_bytes = 1 << 20;    // of entries in one Append; at least one entry always goes
  size_t max_inflight_bytes = 16 << 20;  // of entries on their way to one follower; at least one message always goes
  size_t max_apply_bytes = 8 << 20;      // of entries in one Ready::committed; at least one entry always goes
  uint64_t promotion_lag = 1000;         // positions that a learner may lack in its data when it becomes a voter
  uint64_t seed = 0;                     // of the election timeouts; different on each replica and start
};

// What the host found on its disk.
struct RestoredState {
  HardState hard_state;
  // Where the log begins: everything up to `snapshot.index` is in the state machine only. index 0: from the start, with
  // an empty configuration.
  SnapshotReference snapshot;
  // All that is in the log file behind snapshot.index, without a gap, synced.
  std::vector<Entry> entries;
  // What the state machine has applied; snapshot.index <= applied <= last entry (the host refuses its disk otherwise).
  Position applied;
};

// The state of a replica of a new group: term 1, the configuration as entry 1, nothing applied. The host writes it to
// its log before it makes a Core of it. Every founding voter is given the same configuration. A replica that joins
// later starts from RestoredState() instead.
RestoredState NewGroup(const Configuration& configuration);

enum class RoleName : uint8_t { kFollower, kPreCandidate, kCandidate, kLeader };
std::string_view ToString(RoleName role);

// Why a proposal, a read or a transfer was refused. Nothing has happened then.
enum class Refusal : uint8_t {
  kNone,
  kNotLeader,       // ask `leader`
  kOtherTerm,       // leads, but not in the term that the caller took its latches in: start over
  kNotReady,        // the no-op of the own term is not applied yet: wait
  kTransferring,    // leadership is being handed on: wait, then ask anew
  kStalled,         // the own disk does not answer: leadership is being handed on
  kChangeUnderWay,  // another configuration is not committed yet: wait
  kNotOneChange,    // the configuration differs from the current one in more than one replica, or is not valid
  kLearnerBehind,   // the data of the learner is not close enough to be promoted: wait
  kNoSuchTarget,    // the target of the transfer is not another voter that answers
};
std::string_view ToString(Refusal refusal);

struct ProposeResult {
  Refusal refusal = Refusal::kNone;
  ReplicaId leader;  // as far as known, else 0
  Position first;    // of the entries, consecutive from here, all in the proposed term
  bool ok() const { return refusal == Refusal::kNone; }
};

struct ReadState {
  uint64_t context = 0;    // of ReadIndex()
  bool confirmed = false;  // false: leadership was lost or nobody answered for it; ask anew
  Position index;          // the read is linearizable once this is applied
};

struct RoleChange {
  RoleName role;
  Term term;
  ReplicaId leader;  // 0: unknown

  friend bool operator==(const RoleChange&, const RoleChange&) = default;
};

// One batch of work for the host.
struct Ready {
  // Set when there is something to persist or to send after it; counts up by one. 0: nothing, Persisted() is not
  // called.
  uint64_t sequence = 0;

  // To be persisted, in this order, all or nothing after a crash of any prefix of sequences:
  // (1) replaces state machine and log: the log is empty behind snapshot->index. The data is with the host already (see
  // Step). The state machine is durable at it before the log is cut.
  std::optional<SnapshotReference> snapshot;
  // (2) entries from here on are removed.
  std::optional<Position> truncate_from;
  // (3) appended behind what is there.
  std::vector<Entry> entries;
  // (4) together with them.
  std::optional<HardState> hard_state;

  std::vector<Message> messages;                // may go at once, in order
  std::vector<Message> messages_after_persist;  // may go when this sequence and all before are synced

  std::vector<Entry> committed;  // to apply, in order, without a gap; synced in the own log. Not behind a `snapshot` of
                                 // the same Ready, which comes first
  std::vector<ReadState> reads;
  std::optional<RoleChange> role;  // set when role, term or leader changed

  bool MustPersist() const { return snapshot || truncate_from || !entries.empty() || hard_state; }
};

// What an operator sees of a peer; only a leader has it.
struct PeerStatus {
  ReplicaId id;
  bool voter = false;
  Position match;
  Position next;
  Position applied;  // as it last said
  ProgressState state = ProgressState::kProbe;
  MonotonicTime heard_at{0};  // its last answer in this term; not `heard`: when this leader began to wait for one
  bool heard = false;         // it has answered in this term
};

// What a leader has said of how far the group has committed: who has applied `committed` has all that was acknowledged
// before `at`, on the own clock. Not the time at which it was heard: it may have been long on its way, or come from a
// leader that another one had replaced. It is the time of an answer of this replica (a leader's own: of a round) that
// had come before a round was sent which a majority has answered: the sender led then for certain.
struct LeaderWord {
  Term term;
  Position committed;
  MonotonicTime at{0};
};

// The role is a variant, so that leader data exists only in a leader.
struct FollowerRole {
  ReplicaId leader;                    // 0: unknown
  MonotonicTime election_deadline{0};  // campaigns then, if a voter
};
struct CandidateRole {
  bool pre = true;                     // asks for pre-votes: term and vote are untouched
  bool transfer = false;               // its leader told it to
  MonotonicTime election_deadline{0};  // starts over then
  std::vector<ReplicaId> granted;      // of other voters and, once it is synced, the own
  std::vector<ReplicaId> refused;
};
struct PendingRead {
  uint64_t context = 0;
  ReplicaId from;      // 0: a local one
  Position index;      // commit index when it was asked for
  uint64_t round = 0;  // heartbeat round, sent after it was asked for, that confirms it; 0: not sent yet
};
struct Transfer {
  ReplicaId target;
  MonotonicTime deadline{0};  // given up then
  bool told = false;          // TimeoutNow is out
};
struct LeaderRole {
  Position no_op;               // of the own term; the first entry of it
  std::vector<Progress> peers;  // of all other members, sorted by id; exactly those of the configuration
  MonotonicTime next_heartbeat{0};
  uint64_t round = 0;                    // of heartbeats; grows by one with each
  std::deque<MonotonicTime> round_sent;  // when the latest rounds were sent; the last is that of `round`
  std::deque<PendingRead> reads;         // in order of `index`
  std::optional<Transfer> transfer;
  bool lease_given_up = false;  // a TimeoutNow went out in this term; it may arrive at any time
};

class Core {
 public:
  // A sole voter becomes a candidate at once (and leads when its vote is persisted); if the change that made it the
  // sole one is not known to be committed, it waits like all others. Any other replica answers neither vote nor
  // pre-vote for election_timeout_min: a restart forgets the promise behind the lease (trap T52). REQUIRES: restored is
  // as its fields say; broken promises end the process.
  Core(const Options& options, RestoredState restored, MonotonicTime now);

  // --- Input ---

  // Time passed. Cheap; to be called at NextTick() or more often.
  void Tick(MonotonicTime now);
  // The latest time at which Tick must be called, unless another call changes it.
  MonotonicTime NextTick() const;

  // A message came in. The host has checked group, start number and that message.to is this replica, and taken
  // the echo from a heartbeat of who did not know of this replica's start yet. Never refuses
  // loudly: what is old, unknown or not understood is ignored. InstallSnapshot: the host asks WantsSnapshot(), fetches
  // the data, puts index, term, configuration of what it fetched (index >= that of the message) into message.snapshot
  // and only then calls Step: the data comes before the reference. The state machine changes only if Ready::snapshot
  // then says so. Data whose term is later than that of the message is ignored.
  void Step(const Message& message, MonotonicTime now);
  // True if Step(message) would take the snapshot now. False: the data is not needed, and the message goes to Step as
  // it is, which answers it; without an answer the leader would go on offering it and send nothing else. Also counts as
  // contact with the leader, if from the current one: to be called with each InstallSnapshot that comes in, also while
  // another is being fetched.
  bool WantsSnapshot(const Message& message, MonotonicTime now);
  // The host could not fetch what `message` (InstallSnapshot) names: the leader is told and probes anew.
  void SnapshotFailed(const Message& message);

  // Appends entries of this term. Refused in any other term (trap T48), and before the no-op of the own term is
  // applied.
  ProposeResult Propose(Term term, std::vector<std::string> entries);
  ProposeResult Propose(Term term, std::string entry);
  // Appends a configuration that differs from the current one in one replica: added as learner or voter, promoted,
  // demoted or removed; or only in what it says about members. Only after an entry of the own term and the
  // configuration before are committed.
  ProposeResult ProposeConfiguration(Term term, const Configuration& configuration, MonotonicTime now);

  // Asks for the position at which a read that starts now is linearizable; the answer comes as ReadState with this
  // context (chosen by the host, not to be reused). One heartbeat round serves all that wait. A follower asks its
  // leader; its question may be lost, so the host bounds its wait. kNotReady: a new leader that has not applied its
  // no-op (trap T47).
  Refusal ReadIndex(uint64_t context);

  // Hands leadership to `target`, or with 0 to the voter that is most up to date, of equals to the next one behind the
  // own id (the least behind the greatest). Proposals are refused meanwhile; given up after one election timeout.
  // Leases end before.
  Refusal TransferLeadership(ReplicaId target, MonotonicTime now);

  // Everything in Readys up to this sequence is synced.
  void Persisted(uint64_t sequence, MonotonicTime now);
  // The state machine holds everything up to here.
  void Applied(Position index);
  // A write of the log has been under way for 300 ms (true) or has come back (false). A stalled leader sends no
  // heartbeats, takes no proposals and hands on (trap T56); a stalled follower does not campaign.
  void PersistStalled(bool stalled, MonotonicTime now);
  // The host has heard of a later start of this peer: its clock may have begun anew, so what it had answered before is
  // not echoed any more.
  void PeerStarted(ReplicaId peer);
  // False: neither votes nor campaigns (a replica that rejoins after damage, or has not heard a peer yet). True at
  // start.
  void AllowVoting(bool allowed) { may_vote_ = allowed; }

  // Entries up to here may be forgotten: the state machine is durable at or behind it. A follower that needs them gets
  // an InstallSnapshot message. Ignored if already forgotten. REQUIRES: index <= applied.
  void Compact(Position index);

  // --- Output ---

  // May be true for a Ready that turns out to be empty.
  bool HasReady() const;
  Ready TakeReady(MonotonicTime now);

  // --- What is so ---

  ReplicaId id() const { return options_.id; }
  Term term() const { return hard_state_.term; }
  HardState hard_state() const { return hard_state_; }
  RoleName role() const;
  bool IsLeader() const { return std::holds_alternative<LeaderRole>(role_); }
  ReplicaId leader() const;  // 0: unknown
  // Leads, and the no-op of the own term is applied: only then it may serve anything (trap T47).
  bool ReadyToServe() const;
  // Until when this leader may serve linearizable reads from its own state; nullopt: not at all now. To be compared
  // with a fresh clock right before the state is read. Ends when a transfer begins and stays ended for the term.
  std::optional<MonotonicTime> LeaseUntil() const;
  // When a leader was last heard of; itself counts. nullopt: never since the start.
  std::optional<MonotonicTime> LeaderContact(MonotonicTime now) const;
  // The latest that is known here; within a term neither part goes back. nullopt: none since the start, or this replica
  // leads and no round of its term is answered yet.
  std::optional<LeaderWord> Word(MonotonicTime now) const;

  Position commit() const { return commit_; }
  Position applied() const { return applied_; }
  Position synced() const { return synced_; }
  Position first_index() const { return log_.first(); }
  Position last_index() const { return log_.last(); }
  // Sum of entry bytes in memory, for the host's decision to compact.
  size_t log_bytes() const { return log_.bytes(); }
  const LogView& log() const { return log_; }
  // The configuration that holds now, and the position of its entry (0: of the start).
  const Configuration& configuration() const { return configurations_.back().configuration; }
  Position configuration_index() const { return configurations_.back().index; }
  // The one that holds at a position. REQUIRES: first_index() - 1 <= index <= last_index().
  const Configuration& ConfigurationAt(Position index) const;
  std::vector<PeerStatus> peers() const;

 private:
  friend class InvariantChecker;

  // A configuration and the position from which it holds.
  struct PlacedConfiguration {
    Position index;
    Configuration configuration;
  };
  // A Ready that the host has not reported as synced.
  struct Outstanding {
    uint64_t sequence;
    Position last;  // what is synced with it; lowered when a later truncation takes entries away again
    HardState hard_state;
  };

  // core.cc: dispatch, persistence, output
  void AnswerOlderTerm(const Message& message);
  void Send(Message message);
  void SendAnswer(Message message);
  void SendWhenPersisted(Message message);
  Message Answer(const Message& question, MessageType type) const;
  bool HardStateSynced() const { return synced_hard_state_ == hard_state_; }
  void CollectPersistence(Ready* ready);
  void CollectCommitted(Ready* ready);

  // election.cc: sections 3.4, 3.6, 4.2.3, 6.2, 9.6, 3.10 of the thesis
  LeaderRole* Leader() { return std::get_if<LeaderRole>(&role_); }
  const LeaderRole* Leader() const { return std::get_if<LeaderRole>(&role_); }
  bool SoleVoter() const;
  bool CertainlyAlone() const;
  bool MayCampaign() const;
  bool IsVoter() const { return configuration().IsVoter(options_.id); }
  size_t Quorum() const { return configuration().voters.size() / 2 + 1; }
  MonotonicTime RandomTimeout();
  bool Sticky(MonotonicTime now) const;
  bool LogIsUpToDate(const Message& message) const;
  void BecomeFollower(Term term, ReplicaId leader, MonotonicTime now);
  void HearLeader(ReplicaId leader, MonotonicTime now);
  void Campaign(bool pre, bool transfer, MonotonicTime now);
  void CountVote(ReplicaId from, bool granted, MonotonicTime now);
  void BecomeLeader(MonotonicTime now);
  void StepVote(const Message& message, MonotonicTime now);
  void StepPreVote(const Message& message, MonotonicTime now);
  void StepVoteAnswer(const Message& message, MonotonicTime now);
  void StepTimeoutNow(const Message& message, MonotonicTime now);
  void TickElection(MonotonicTime now);
  void TickLeader(MonotonicTime now);
  bool HeardQuorum(MonotonicTime now) const;
  uint64_t QuorumRound() const;
  // Of a leader: nothing behind this is committed.
  Position MayBeCommitted() const { return std::max(commit_, Leader()->no_op); }
  bool StartTransfer(ReplicaId target, MonotonicTime now);
  void TellTransferTarget();
  void TellTimeoutNow(ReplicaId target);

  // replication.cc: sections 3.5, 3.6.2, 10.2.1
  ProposeResult CheckProposal(Term term) const;
  Position AppendAsLeader(EntryType type, Payload data, MonotonicTime now);
  void StepAppend(const Message& message, MonotonicTime now);
  void StepAppendAnswer(const Message& message, MonotonicTime now);
  void StepHeartbeat(const Message& message, MonotonicTime now);
  void StepHeartbeatAnswer(const Message& message, MonotonicTime now);
  void StepInstallSnapshot(const Message& message, MonotonicTime now);
  void StepSnapshotAnswer(const Message& message, MonotonicTime now);
  void NoteWord(const Message& message, MonotonicTime now);
  void TakeCommit(Position commit, Position limit);
  void TruncateFrom(Position index);
  void Install(const SnapshotReference& snapshot);
  void MatchReached(Progress* peer, Position index, MonotonicTime now);
  void AdvanceCommit(MonotonicTime now);
  // The greatest value that a majority of the voters has reached; the leader itself counts with `own` if it is a voter.
  template <typename Value, typename Of>
  Value QuorumValue(Value own, Of of) const;
  void FlushAppends(MonotonicTime now);
  void SendAppends(Progress* peer, MonotonicTime now);
  void SendOneAppend(Progress* peer, bool with_entries, MonotonicTime now);
  void SendSnapshot(Progress* peer, MonotonicTime now);
  Progress* Peer(ReplicaId id);

  // configuration.cc: chapter 4
  Refusal CheckChange(const Configuration& next) const;
  void NoteConfiguration(const Entry& entry);
  void ForgetConfigurationsFrom(Position index);
  void AdoptConfiguration(MonotonicTime now);
  void LeaveIfRemoved(MonotonicTime now);

  // read_index.cc: section 6.4
  void StepReadIndex(const Message& message);
  void StepReadIndexAnswer(const Message& message);
  void FlushReads(MonotonicTime now);
  void StartRound(MonotonicTime now);
  std::optional<MonotonicTime> WhenSent(uint64_t round) const;  // a leader's own
  void ConfirmReads();
  void AnswerRead(const PendingRead& read, bool confirmed);
  void FailReads(LeaderRole* leader);

  Options options_;
  Random random_;

  HardState hard_state_;         // term never goes back; vote changes only with the term, from 0
  HardState synced_hard_state_;  // as of the last Persisted()
  LogView log_;
  std::deque<PlacedConfiguration> configurations_;  // never empty; front: of the position before the log; then one for
                                                    // each configuration entry of the log, in order

  // applied_ <= handed_to_apply_ <= min(commit_, synced_), and commit_ <= log_.last().
  Position commit_;           // never goes back
  Position synced_;           // entries up to here are synced in the own log; falls only by truncation
  Position handed_to_apply_;  // given out in Ready::committed or Ready::snapshot
  Position applied_;
  Position handed_to_persist_;  // entries up to here were given out; synced_ <= handed_to_persist_ <= log_.last()
  std::optional<Position> truncate_from_;      // not given out yet; handed_to_persist_ + 1 then
  std::optional<SnapshotReference> snapshot_;  // not given out yet
  HardState handed_hard_state_;
  std::deque<Outstanding> outstanding_;
  uint64_t sequence_ = 0;

  std::variant<FollowerRole, CandidateRole, LeaderRole> role_;
  MonotonicTime silent_until_;                        // answers no vote and no pre-vote before
  std::optional<MonotonicTime> last_leader_contact_;  // of any term: a promise outlives a term
  std::optional<LeaderWord> word_;
  bool may_vote_ = true;
  bool stalled_ = false;
  bool flush_ = false;  // a leader may have something to send

  std::vector<Message> messages_;
  std::vector<Message> messages_after_persist_;
  std::vector<ReadState> reads_;
  RoleChange noted_role_;
};

template <typename Value, typename Of>
Value Core::QuorumValue(Value own, Of of) const {
  std::array<Value, kMembersMax> values;
  size_t count = 0;
  if (IsVoter()) values[count++] = own;
  for (const Progress& peer : Leader()->peers) {
    if (configuration().IsVoter(peer.id)) values[count++] = of(peer);
  }
  std::sort(values.begin(), values.begin() + count, std::greater<>());
  return values[Quorum() - 1];
}

}  // namespace terrane::raft
