#include "replication/replica.h"

#include <unistd.h>

#include <algorithm>
#include <random>
#include <utility>

#include "common/logging.h"
#include "common/status.h"

namespace terrane::replication {
namespace {

constexpr uint64_t kProposalCost = 256;  // beside its data

raft::Options CoreOptions(const ReplicatedLog::Options& options) {
  raft::Options core;
  core.id = options.identity.replica;
  core.heartbeat_interval = options.timeouts.heartbeat;
  core.election_timeout_min = options.timeouts.election_min;
  core.election_timeout_max = options.timeouts.election_max;
  core.lease_drift = options.timeouts.election_min / 10;
  core.seed = std::random_device()();
  return core;
}

absl::Status Stopped() {
  return Unavailable("the log of this replica has stopped");
}

std::string_view Explain(raft::Refusal refusal) {
  switch (refusal) {
    case raft::Refusal::kNotLeader:
      return "this replica does not lead";
    case raft::Refusal::kOtherTerm:
      return "the term has changed since the request was prepared";
    case raft::Refusal::kNotReady:
      return "this replica has just been elected and is not ready yet";
    case raft::Refusal::kTransferring:
      return "leadership is being handed on";
    case raft::Refusal::kStalled:
      return "the disk of this replica does not answer; leadership is being handed on";
    default:
      return raft::ToString(refusal);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<ReplicatedLog>> ReplicatedLog::Open(Options options, StateMachine* machine,
                                                                   std::function<void(ReplicatedLog*)> opened) {
  if (options.file_system == nullptr) options.file_system = FileSystem::System();
  bool member = false;
  for (const Member& m : options.members) member = member || m.replica == options.identity.replica;
  if (!member) {
    return InvalidArgument("replica ", options.identity.replica.value(), " is not among the members of ",
                           options.identity.group);
  }
  if (options.members.size() > 1 && options.transport == nullptr) {
    return InvalidArgument("a group of ", options.members.size(), " members needs a transport");
  }
  absl::StatusOr<Recovery> recovery = Recover(options, machine);
  if (!recovery.ok()) return recovery.status();
  auto replica = std::make_unique<Replica>(std::move(options), machine, *std::move(recovery));
  if (opened) opened(replica.get());
  replica->Start();
  return replica;
}

Replica::Replica(Options options, StateMachine* machine, Recovery recovery)
    : options_(std::move(options)),
      machine_(machine),
      directory_(std::move(recovery.directory)),
      file_system_(options_.file_system),
      start_(directory_->start()),
      core_(CoreOptions(options_), recovery.state, options_.clock->Now()),
      noted_configuration_(core_.configuration()),
      fetch_({.transport = options_.transport,
              .file_system = file_system_,
              .clock = options_.clock,
              .directory = IncomingCheckpoint(*directory_)}),
      keeper_(std::make_shared<CheckpointKeeper>(options_.clock, options_.keep_checkpoint)),
      next_cut_bytes_(options_.keep_bytes),
      apply_(
          machine, recovery.state.applied, options_.max_batch_bytes,
          {.applied = [this](Position position) { OnApplied(position); },
           .needs_checkpoint = [this](Position position, const absl::Status& why) { OnNeedsCheckpoint(position, why); },
           .failed = [this](absl::Status status) { FailState(status, "the state machine failed"); }}),
      writer_(std::move(recovery.file), options_.clock, options_.max_batch_bytes,
              {.install = [this](const raft::SnapshotReference& s) { return Install(s); },
               .installed = [this](const raft::SnapshotReference& s) { return Installed(s); },
               .synced = [this](uint64_t sequence,
                                std::vector<raft::Message> messages) { OnSynced(sequence, std::move(messages)); },
               .failed = [this](absl::Status status) { FailState(status, "the log cannot be written"); }}) {
  for (const Member& member : options_.members) heard_[member.replica] = directory_->Known(member.replica);
}

Replica::~Replica() {
  Stop();
}

void Replica::Start() {
  apply_.Start();
  writer_.Start();
  if (options_.transport != nullptr) options_.transport->Start(this);
  {
    std::lock_guard lock(mutex_);
    AdoptConfigurationLocked();
    DriveLocked();
  }
  loop_ = std::thread([this] { Loop(); });
}

// --- Proposals ---

void Replica::Propose(Term term, std::string data, std::function<void(ProposeResult)> done,
                      std::function<void()> synced) {
  ProposeResult result;
  result.term = term;
  {
    std::lock_guard lock(mutex_);
    if (!finished_) {
      if (closed_ || dead_) return RefuseLocked(std::move(done), term, Stopped());
      if (data.size() > options_.max_entry_bytes) {
        return RefuseLocked(
            std::move(done), term,
            InvalidArgument("an entry of ", data.size(), " bytes exceeds the limit of ", options_.max_entry_bytes));
      }
      const uint64_t cost = data.size() + kProposalCost;
      if (pending_bytes_ > 0 && pending_bytes_ + cost > options_.max_pending_bytes) {
        return RefuseLocked(std::move(done), term,
                            Unavailable("proposals of ", pending_bytes_.load(),
                                        " bytes wait to be applied: this replica takes no more for now"));
      }
      pending_bytes_ += cost;
      auto answered = [this, cost, done = std::move(done)](ProposeResult answer) {
        pending_bytes_ -= cost;
        done(std::move(answer));
      };
      waiting_.push_back({term, std::move(data), std::move(answered), std::move(synced)});
      if (handed_sequence_ == persisted_sequence_ || !core_.IsLeader()) DriveLocked();
      return;
    }
  }
  result.status = Stopped();
  done(std::move(result));
}

void Replica::RefuseLocked(std::function<void(ProposeResult)> done, Term term, absl::Status status) {
  ProposeResult result;
  result.outcome = ProposeOutcome::kNotInLog;
  result.term = term;
  result.status = std::move(status);
  if (core_.leader() != ReplicaId()) result.leader = core_.leader();
  apply_.PushTask([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
}

void Replica::FeedProposalsLocked() {
  while (!waiting_.empty()) {
    if (core_.IsLeader() && handed_sequence_ != persisted_sequence_) return;  // the next write takes them
    const Term term = waiting_.front().term;
    std::vector<std::string> entries;
    std::vector<PendingProposal> proposals;
    uint64_t bytes = 0;
    while (!waiting_.empty() && waiting_.front().term == term && bytes < options_.max_batch_bytes) {
      bytes += waiting_.front().data.size();
      entries.push_back(std::move(waiting_.front().data));
      proposals.push_back({{}, term, std::move(waiting_.front().done), std::move(waiting_.front().synced)});
      waiting_.pop_front();
    }
    raft::ProposeResult proposed = core_.Propose(term, std::move(entries));
    for (size_t i = 0; i < proposals.size(); ++i) {
      if (proposed.ok()) {
        proposals[i].position = Position(proposed.first.value() + i);
        if (proposals[i].synced) ++want_synced_;
        pending_.push_back(std::move(proposals[i]));
      } else {
        RefuseLocked(std::move(proposals[i].done), term, Unavailable(Explain(proposed.refusal)));
      }
    }
    if (proposed.ok()) return;
  }
}

// --- The core's work ---

void Replica::DriveLocked() {
  if (closed_ || dead_) return;
  const MonotonicTime now = Now();
  if (!new_reads_.empty()) {
    const uint64_t context = next_read_++;
    std::vector<std::function<void(absl::Status)>> reads = std::exchange(new_reads_, {});
    const raft::Refusal refusal = core_.IsLeader() ? core_.ReadIndex(context) : raft::Refusal::kNotLeader;
    if (refusal == raft::Refusal::kNone) {
      reads_[context] = std::move(reads);
    } else {
      for (auto& done : reads) {
        apply_.PushTask([done = std::move(done), status = Unavailable(Explain(refusal))] { done(status); });
      }
    }
  }
  FeedProposalsLocked();
  while (core_.HasReady()) {
    HandleReadyLocked(core_.TakeReady(now));
    FeedProposalsLocked();
  }
  NoteFreshnessLocked(now);
  PublishLocked();
}

// The commit index of the core does not do: that of a follower is never greater than the log that it has.
void Replica::NoteFreshnessLocked(MonotonicTime now) {
  const std::optional<raft::LeaderWord> word = core_.Word(now);
  if (!word) return;
  // What a leader might have committed, and the next one does not have, never comes.
  if (!unseen_ || word->committed < unseen_->committed) unseen_ = word;
  if (core_.applied() < unseen_->committed) return;
  fresh_as_of_ = unseen_->at;
  unseen_ = word;
  if (core_.applied() < word->committed) return;
  fresh_as_of_ = word->at;
  unseen_.reset();
}

void Replica::HandleReadyLocked(raft::Ready ready) {
  if (!core_.LeaseUntil()) {
    // A lease ends before the TimeoutNow of a transfer is on its way, not after.
    std::lock_guard lock(published_mutex_);
    lease_until_.reset();
  }
  SendLocked(std::move(ready.messages));
  if (ready.sequence != 0) {
    PersistJob job;
    job.sequence = ready.sequence;
    if (ready.snapshot) ++snapshots_taken_;
    job.snapshot = std::move(ready.snapshot);
    if (ready.truncate_from) {
      const Position kept(ready.truncate_from->value() - 1);
      job.truncate_to = LogPoint{kept, *core_.log().TermAt(kept)};
    }
    job.entries = std::move(ready.entries);
    job.hard_state = ready.hard_state;
    if (core_.configuration() != noted_configuration_) {
      noted_configuration_ = core_.configuration();
      AdoptConfigurationLocked();
      job.configuration = raft::EncodeConfiguration(noted_configuration_);
    }
    job.messages = std::move(ready.messages_after_persist);
    handed_sequence_ = ready.sequence;
    writer_.Push(std::move(job));
  }
  if (!ready.committed.empty()) {
    const Position last = ready.committed.back().index;
    handed_to_apply_ = last;
    std::vector<PendingProposal> proposals;
    while (!pending_.empty() && pending_.front().position <= last) {
      if (pending_.front().synced) --want_synced_;
      proposals.push_back(std::move(pending_.front()));
      pending_.pop_front();
    }
    apply_.PushCommitted(std::move(ready.committed), std::move(proposals));
  }
  for (const raft::ReadState& read : ready.reads) {
    auto it = reads_.find(read.context);
    if (it == reads_.end()) continue;
    for (auto& done : it->second) {
      if (read.confirmed) {
        apply_.WhenApplied(read.index, [this, index = read.index, done = std::move(done)] {
          // A log that stops runs what waits.
          done(dead_ || apply_.applied() < index ? Stopped() : absl::OkStatus());
        });
      } else {
        apply_.PushTask([done = std::move(done)] { done(Unavailable("leadership was lost during the read")); });
      }
    }
    reads_.erase(it);
  }
  if (ready.role) NoteRoleLocked(*ready.role);
}

void Replica::NoteRoleLocked(const raft::RoleChange& role) {
  const bool leads = role.role == raft::RoleName::kLeader;
  if (leading_term_ && (!leads || role.term != *leading_term_)) {
    FlushPendingLocked();
    const Term term = *leading_term_;
    leading_term_.reset();
    LogInfo("replication", "leads no more",
            {{"group", options_.identity.group}, {"replica", options_.identity.replica}, {"term", term}});
    apply_.PushTask([this, term] {
      {
        std::lock_guard lock(published_mutex_);
        if (served_term_ != term) return;
        served_term_.reset();
        published_.ready_to_serve = false;  // whoever asks from now on shall not have to be stopped
      }
      machine_->OnLeaderStop(term);
    });
  }
  if (leads && !leading_term_) {
    leading_term_ = role.term;
    ++leader_changes_;
    LogInfo("replication", "leads",
            {{"group", options_.identity.group}, {"replica", options_.identity.replica}, {"term", role.term}});
  }
}

void Replica::FlushPendingLocked() {
  for (PendingProposal& proposal : pending_) {
    ProposeResult result;
    result.outcome = ProposeOutcome::kUnknown;
    result.term = proposal.term;
    result.status = Aborted("leadership was lost before the entry was committed; whether it will be is not known");
    if (core_.leader() != ReplicaId()) result.leader = core_.leader();
    apply_.PushTask(
        [done = std::move(proposal.done), result = std::move(result)]() mutable { done(std::move(result)); });
  }
  pending_.clear();
  want_synced_ = 0;
}

// What is left of pending_ after a sync is not committed.
void Replica::TellSyncedLocked() {
  if (want_synced_ == 0 || !leading_term_) return;
  const Position synced = core_.synced();
  for (PendingProposal& proposal : pending_) {
    if (proposal.position > synced) break;
    if (!proposal.synced) continue;
    --want_synced_;
    apply_.PushTask(std::exchange(proposal.synced, nullptr));
  }
}

void Replica::OnSynced(uint64_t sequence, std::vector<raft::Message> messages) {
  std::lock_guard lock(mutex_);
  if (closed_ || dead_) return;
  SendLocked(std::move(messages));
  persisted_sequence_ = sequence;
  const MonotonicTime now = Now();
  DiskAnswersLocked(now);
  core_.Persisted(sequence, now);
  DriveLocked();
  TellSyncedLocked();
}

void Replica::DiskAnswersLocked(MonotonicTime now) {
  if (!disk_stalled_) return;
  disk_stalled_ = false;
  core_.PersistStalled(false, now);
}

void Replica::OnApplied(Position position) {
  bool cut = false;
  {
    std::lock_guard lock(mutex_);
    if (closed_ || dead_) return;
    core_.Applied(position);
    DriveLocked();
    cut = !cutting_ && writer_.file_bytes() >= next_cut_bytes_;
  }
  if (holding_ && !MustHold()) WakeLoop();
  AnnounceLeader();
  if (cut) Cut(options_.keep_bytes / 2, [](absl::Status) {});
}

void Replica::AnnounceLeader() {
  Term term;
  {
    std::lock_guard lock(mutex_);
    if (closed_ || dead_ || !core_.ReadyToServe()) return;
    term = core_.term();
  }
  {
    std::lock_guard lock(published_mutex_);
    if (served_term_ == term) return;
  }
  machine_->OnLeaderStart(term);
  {
    std::lock_guard lock(published_mutex_);
    served_term_ = term;
  }
  {
    std::lock_guard lock(mutex_);
    PublishLocked();
  }
  machine_->OnServing(term);
}

void Replica::PublishLocked() {
  LeaderState state;
  state.is_leader = core_.IsLeader();
  state.term = core_.term();
  if (core_.leader() != ReplicaId()) state.leader = core_.leader();
  published_commit_ = core_.commit().value();
  published_first_ = core_.first_index().value();
  published_last_ = core_.synced().value();
  published_entry_bytes_ = core_.log().bytes();
  {
    std::lock_guard lock(published_mutex_);
    state.ready_to_serve = core_.ReadyToServe() && served_term_ == state.term;
    published_ = state;
    lease_until_ = state.ready_to_serve ? core_.LeaseUntil() : std::nullopt;
  }
  if (core_.NextTick().count() < loop_deadline_) {
    WakeLoop();
  }
}

void Replica::WakeLoop() {
  {
    std::lock_guard lock(inbox_mutex_);
    wake_loop_ = true;
  }
  inbox_wake_.notify_one();
}

LeaderState Replica::Leader() const {
  std::lock_guard lock(published_mutex_);
  return published_;
}

bool Replica::HasLease() const {
  std::optional<MonotonicTime> until;
  {
    std::lock_guard lock(published_mutex_);
    until = lease_until_;
  }
  return until && !dead_ && Now() < *until;
}

void Replica::ReadIndex(std::function<void(absl::Status)> done) {
  {
    std::lock_guard lock(mutex_);
    if (!finished_) {
      if (closed_ || dead_) {
        apply_.PushTask([done = std::move(done)] { done(Stopped()); });
        return;
      }
      new_reads_.push_back(std::move(done));
      DriveLocked();
      return;
    }
  }
  done(Stopped());
}

absl::Status Replica::TransferLeadership(ReplicaId to) {
  std::lock_guard lock(mutex_);
  if (closed_ || dead_ || !core_.IsLeader() || to == options_.identity.replica) return absl::OkStatus();
  const raft::Refusal refusal = core_.TransferLeadership(to, Now());
  DriveLocked();
  if (refusal == raft::Refusal::kNone || refusal == raft::Refusal::kTransferring) return absl::OkStatus();
  return FailedPrecondition(to == ReplicaId() ? std::string("no other voter answers")
                                              : StrCat("replica ", to.value(), " is not a voter that answers"));
}

// --- Cutting ---

void Replica::CutLog(std::function<void(absl::Status)> done) {
  {
    std::lock_guard lock(mutex_);
    if (!finished_) {
      apply_.PushTask([this, done = std::move(done)]() mutable { Cut(0, std::move(done)); });
      return;
    }
  }
  done(Stopped());
}

void Replica::Cut(uint64_t keep_bytes, std::function<void(absl::Status)> done) {
  {
    std::lock_guard lock(mutex_);
    if (closed_ || dead_) return done(Stopped());
    cutting_ = true;
  }
  absl::StatusOr<Position> durable = machine_->MakeDurable();
  if (!durable.ok()) {
    FailState(durable.status(), "the state machine failed");
    return done(durable.status());
  }
  Position limit = std::min(*durable, apply_.applied());
  if (keep_bytes > 0) {
    std::lock_guard lock(mutex_);
    if (writer_.file_bytes() < options_.keep_for_fetch_bytes) limit = std::min(limit, NeededByFetchersLocked(limit));
  }
  writer_.Cut(limit, keep_bytes, [this, done = std::move(done)](absl::StatusOr<LogPoint> base) mutable {
    std::lock_guard lock(mutex_);
    cutting_ = false;
    next_cut_bytes_ = std::max(options_.keep_bytes, writer_.file_bytes() + options_.keep_bytes / 2);
    if (base.ok() && !closed_ && !dead_) {
      core_.Compact(base->position);
      DiskAnswersLocked(Now());
      DriveLocked();
    }
    apply_.PushTask([done = std::move(done), status = base.status()] { done(status); });
  });
}

// --- The end ---

void Replica::FailState(const absl::Status& status, std::string_view context) {
  absl::Status why = Annotate(status, context);
  absl::IsDataLoss(status) ? Rejoin(std::move(why)) : Fatal(std::move(why));
}

void Replica::Fatal(absl::Status status) {
  if (dead_.exchange(true)) return;
  apply_.StopApplying();
  LogError("replication", "fatal",
           {{"group", options_.identity.group}, {"replica", options_.identity.replica}, {"status", status}});
  if (!options_.on_fatal) {
    FlushLogs();
    ::_exit(70);
  }
  {
    std::lock_guard lock(mutex_);
    FailEverythingLocked(Unavailable("this replica has failed: ", MessageOf(status)));
  }
  options_.on_fatal(status);
}

void Replica::FailEverythingLocked(const absl::Status& why) {
  FlushPendingLocked();
  for (WaitingProposal& proposal : std::exchange(waiting_, {}))
    RefuseLocked(std::move(proposal.done), proposal.term, why);
  for (auto& [context, dones] : std::exchange(reads_, {})) {
    for (auto& done : dones) apply_.PushTask([done = std::move(done), why] { done(why); });
  }
  for (auto& done : std::exchange(new_reads_, {})) apply_.PushTask([done = std::move(done), why] { done(why); });
  std::lock_guard lock(published_mutex_);
  published_.is_leader = false;
  published_.ready_to_serve = false;
  lease_until_.reset();
}

void Replica::Stop() {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
    FailEverythingLocked(Stopped());
    if (leading_term_) NoteRoleLocked({raft::RoleName::kFollower, *leading_term_, ReplicaId()});
  }
  cancel_fetch_ = true;
  if (options_.transport != nullptr) options_.transport->Stop();
  {
    std::lock_guard lock(inbox_mutex_);
    stop_loop_ = true;
  }
  inbox_wake_.notify_one();
  if (loop_.joinable()) loop_.join();
  if (fetcher_.joinable()) fetcher_.join();
  if (cleaner_.joinable()) cleaner_.join();
  keeper_->Close();
  writer_.Stop();
  {
    std::lock_guard lock(mutex_);
    finished_ = true;
  }
  apply_.Stop();
}

LogStatistics Replica::Statistics() const {
  LogStatistics statistics;
  statistics.batches = writer_.batches();
  statistics.entries = writer_.entries();
  statistics.bytes_written = writer_.bytes_written();
  statistics.leader_changes = leader_changes_;
  statistics.snapshots_installed = snapshots_installed_;
  statistics.segments = writer_.segments();
  statistics.log_bytes = writer_.file_bytes();
  statistics.incarnation = start_.incarnation;
  statistics.start_number = start_.start;
  statistics.first = Position(published_first_);
  statistics.last = Position(published_last_);
  statistics.committed = Committed();
  statistics.applied = Applied();
  statistics.entry_bytes = published_entry_bytes_;
  statistics.pending_bytes = pending_bytes_;
  statistics.unapplied_bytes = apply_.queued_bytes();
  statistics.held_bytes = held_bytes_;
  statistics.last_sync = std::chrono::duration_cast<std::chrono::microseconds>(writer_.last_sync());
  return statistics;
}

}  // namespace terrane::replication
