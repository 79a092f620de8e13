#include "simulation/system_raft.h"

#include <algorithm>
#include <utility>

#include "common/status.h"

namespace terrane::simulation {

using raft::Entry;
using raft::EntryType;
using raft::Message;
using raft::MessageType;
using raft::Ready;
using raft::operator+;
using raft::operator-;
using replication::ApplyResult;
using replication::CommittedEntry;
using replication::ProposeOutcome;
using replication::ProposeResult;

RaftReplica::RaftReplica(World* world, RaftGroup* group, std::string name)
    : Process(world, std::move(name)), group_(*group), id_(group->replicas.size() + 1) {
  group->replicas.push_back(this);
}

void RaftReplica::Format() {
  raft::RestoredState founded = NewGroup(group_.founders);
  if (id_.value() == 1) group_.ledger.Appended(Term(), founded.entries.front());
  disk_.Format(std::move(founded));
}

void RaftReplica::OnBoot() {
  raft::Options options;
  options.id = id_;
  options.promotion_lag = 20;
  options.max_message_bytes = 16 << 10;
  options.max_inflight_bytes = 64 << 10;
  options.seed = world().random().Next();
  const Position applied = OpenMachine();
  core_.emplace(options, disk_.Restore(applied), Now());
  seen_commit_ = core_->commit();
  ScheduleUpkeep();
  AfterStep();
}

void RaftReplica::ScheduleUpkeep() {
  After(world().Between(50ms, 400ms), [this] {
    World& world = this->world();
    Upkeep();
    SyncData(world.Chance(group_.cut_permille), world.Chance(500) ? 0 : world.random().Below(30));
    ScheduleUpkeep();
  });
}

void RaftReplica::OnKill() {
  World& world = this->world();
  const size_t pending = disk_.pending();
  // A checkpoint's data is durable before the log is cut behind it, and not looked at before that is.
  const size_t kept = pending == 0 || installing_ ? 0 : world.random().Below(pending + 1);
  if (kept < pending) world.Probe("crash with writes of the log lost");
  CloseMachine(/*power=*/!installing_);
  disk_.Crash(kept);
  core_.reset();
  checker_ = {};
  items_.clear();
  apply_scheduled_ = apply_waits_ = disk_busy_ = installing_ = fetching_ = false;
  tick_at_ = Time::max();
  pending_.clear();
  leading_term_.reset();
  served_term_.reset();
  reads_.clear();
  when_applied_.clear();
  fetched_.reset();
  led_term_ = Term();
}

// ---- proposals and reads --------------------------------------------------------------------------------------------

bool RaftReplica::Serving() const {
  return alive() && core_->IsLeader() && core_->ReadyToServe() && served_term_ == core_->term();
}

std::string RaftReplica::LeaderHint() const {
  if (!core_ || core_->leader() == raft::ReplicaId() || core_->leader() == id_) return "";
  return group_.replicas[core_->leader().value() - 1]->name();
}

void RaftReplica::Propose(Term term, std::string data, ProposeDone done) {
  const raft::ProposeResult proposed = core_->Propose(term, std::move(data));
  if (proposed.ok()) {
    pending_.push_back({proposed.first, term, std::move(done)});
  } else {
    if (proposed.refusal == raft::Refusal::kOtherTerm) world().Probe("proposal of an older term refused");
    ProposeResult result;
    result.term = term;
    result.status = Unavailable(raft::ToString(proposed.refusal));
    PushTask([done = std::move(done), result] { done(result); });
  }
  AfterStep();
}

bool RaftReplica::HasLease() const {
  if (!Serving()) return false;
  const std::optional<MonotonicTime> until = core_->LeaseUntil();
  return until && Now() < *until;
}

void RaftReplica::ReadIndex(std::function<void(absl::Status)> done) {
  const uint64_t context = life() << 32 | ++next_read_;
  const raft::Refusal refusal = core_->IsLeader() ? core_->ReadIndex(context) : raft::Refusal::kNotLeader;
  if (refusal == raft::Refusal::kNone) {
    reads_[context] = std::move(done);
  } else {
    PushTask([done = std::move(done)] { done(Unavailable("does not lead")); });
  }
  AfterStep();
}

void RaftReplica::Transfer() {
  if (core_->TransferLeadership(raft::ReplicaId(), Now()) == raft::Refusal::kNone) world().Probe("leadership transfer");
  AfterStep();
}

// ---- the loop -------------------------------------------------------------------------------------------------------

void RaftReplica::AfterStep() {
  Check(checker_.Check(*core_));
  if (core_->commit() > seen_commit_) {
    Check(group_.ledger.Committed(*core_, seen_commit_ + 1));
    seen_commit_ = core_->commit();
  }
  if (core_->IsLeader() && core_->term() != led_term_) {
    led_term_ = core_->term();
    world().Probe("leader elected");
    if (world().tracing()) world().Trace(StrCat(name(), " leads term ", led_term_.value()));
    Check(group_.ledger.BecameLeader(*core_));
  }
  while (!world().failed() && core_->HasReady()) TakeReady();
  ScheduleTick();
}

void RaftReplica::ScheduleTick() {
  const MonotonicTime next = core_->NextTick();
  if (next == MonotonicTime::max()) return;
  const Time at = std::max(WorldTimeOf(next), world().now());
  if (at >= tick_at_) return;
  tick_at_ = at;
  After(at - world().now(), [this, at] {
    if (tick_at_ < at) return;  // overtaken by an earlier one
    tick_at_ = Time::max();
    core_->Tick(Now());
    AfterStep();
  });
}

void RaftReplica::TakeReady() {
  Ready ready = core_->TakeReady(Now());
  if (ready.truncate_from) world().Probe("log truncated");
  for (const Entry& entry : ready.entries) {
    Check(group_.ledger.Appended(*core_->log().TermAt(entry.index - 1), entry));
  }
  for (const Message& message : ready.messages) Post(message);
  const bool snapshot = ready.snapshot.has_value();
  if (snapshot) {
    world().Probe("checkpoint installed");
    std::deque<Item> tasks;
    for (Item& item : items_) {
      if (!item.entry) tasks.push_back(std::move(item));
    }
    items_ = std::move(tasks);
    apply_waits_ = false;
    installing_ = true;
    if (absl::Status status = Install(fetched_->state); !status.ok()) {
      world().Fail(StrCat(name(), " could not install a checkpoint: ", status.ToString()));
    }
  }
  if (ready.sequence != 0) disk_.Submit(&ready);
  for (Entry& entry : ready.committed) {
    Item item;
    while (!pending_.empty() && pending_.front().position <= entry.index) {
      item.proposal = std::move(pending_.front());
      pending_.pop_front();
    }
    item.entry = std::move(entry);
    items_.push_back(std::move(item));
  }
  for (const raft::ReadState& read : ready.reads) {
    auto asked = reads_.find(read.context);
    if (asked == reads_.end()) continue;
    auto done = std::move(asked->second);
    reads_.erase(asked);
    if (!read.confirmed) {
      PushTask([done = std::move(done)] { done(Unavailable("leadership was lost during the read")); });
    } else if (read.index <= machine()->AppliedPosition()) {
      PushTask([done = std::move(done)] { done(absl::OkStatus()); });
    } else {
      when_applied_.emplace(read.index, [done = std::move(done)] { done(absl::OkStatus()); });
    }
  }
  if (ready.role) NoteRole(*ready.role);
  if (snapshot) core_->Applied(machine()->AppliedPosition());
  ScheduleApply();
  if (ready.sequence != 0) StartDisk();
}

void RaftReplica::NoteRole(const raft::RoleChange& role) {
  const bool leads = role.role == raft::RoleName::kLeader;
  if (leading_term_ && (!leads || role.term != *leading_term_)) {
    FlushPending();
    const Term term = *leading_term_;
    leading_term_.reset();
    PushTask([this, term] {
      if (served_term_ != term) return;
      served_term_.reset();
      machine()->OnLeaderStop(term);
    });
  }
  if (leads && !leading_term_) leading_term_ = role.term;
}

void RaftReplica::FlushPending() {
  for (Pending& proposal : pending_) {
    world().Probe("proposal with unknown outcome");
    ProposeResult result;
    result.outcome = ProposeOutcome::kUnknown;
    result.term = proposal.term;
    result.status = Aborted("leadership was lost before the entry was committed");
    PushTask([done = std::move(proposal.done), result] { done(result); });
  }
  pending_.clear();
}

void RaftReplica::AnnounceLeader() {
  if (!core_->ReadyToServe() || served_term_ == core_->term()) return;
  const Term term = core_->term();
  machine()->OnLeaderStart(term);
  served_term_ = term;
  // Traps T03, T52: a majority had promised not to elect another one while the lease lasts.
  for (const RaftReplica* other : group_.replicas) {
    if (other != this && !other->paused() && other->HasLease() && other->term() < term) {
      world().Fail(StrCat(name(), " serves in term ", term.value(), " and ", other->name(),
                          " still has the lease of term ", other->term().value()));
    }
  }
  machine()->OnServing(term);
}

// ---- network --------------------------------------------------------------------------------------------------------

void RaftReplica::Post(const Message& message) {
  RaftReplica* to = Find(message.to);
  world().Send(this, to, "raft", [to, message] { to->Deliver(message); });
}

void RaftReplica::Deliver(const Message& message) {
  if (world().tracing()) world().Trace(StrCat("  ", group_.name, " ", raft::ToString(message)));
  if (message.type == MessageType::kInstallSnapshot && message.term >= core_->term()) {
    if (core_->WantsSnapshot(message, Now())) {
      if (!fetching_) Fetch(message);
      AfterStep();
      return;
    }
  }
  core_->Step(message, Now());
  AfterStep();
}

// Fetches the data for a snapshot message, from whoever has enough.
void RaftReplica::Fetch(const Message& message) {
  fetching_ = true;
  RaftReplica* source =
      world().Chance(700) ? Find(message.from) : group_.replicas[world().random().Below(group_.replicas.size())];
  if (source == this) source = Find(message.from);
  world().Call<Fetched>(
      this, source, "checkpoint", 500ms,
      [source, least = message.snapshot->index](auto reply) {
        const Position applied = source->machine()->AppliedPosition();
        const auto term = source->core_->log().TermAt(applied);
        if (applied < least || !term) return reply(Unavailable("this replica has not applied enough"));
        reply(Fetched{source->Checkpoint(), applied, *term, source->core_->ConfigurationAt(applied)});
      },
      [this, message](absl::StatusOr<Fetched> fetched) { FetchedCheckpoint(message, fetched); });
}

void RaftReplica::FetchedCheckpoint(Message message, const absl::StatusOr<Fetched>& fetched) {
  fetching_ = false;
  if (!fetched.ok()) {
    core_->SnapshotFailed(message);
    return AfterStep();
  }
  auto reference = std::make_shared<raft::SnapshotReference>();
  reference->index = fetched->applied;
  reference->term = fetched->term;
  reference->configuration = fetched->configuration;
  message.snapshot = reference;
  fetched_ = *fetched;
  core_->Step(message, Now());
  AfterStep();
}

// ---- disk -----------------------------------------------------------------------------------------------------------

// One write and one sync for all that waits.
void RaftReplica::StartDisk() {
  if (disk_busy_ || !disk_.HasPending()) return;
  disk_busy_ = true;
  World& world = this->world();
  Time latency = world.Between(100us, world.Chance(950) ? 1500us : 15ms);
  if (disk_slow_until_ > world.now()) latency = world.Between(20ms, 500ms);
  After(latency, [this, writes = disk_.pending()] { DiskDone(writes); });
  if (latency > 300ms) {
    After(300ms, [this] {
      if (!disk_busy_) return;
      this->world().Probe("stalled disk");
      core_->PersistStalled(true, Now());
      AfterStep();
    });
  }
}

void RaftReplica::DiskDone(uint64_t writes) {
  uint64_t sequence = 0;
  for (uint64_t i = 0; i < writes && disk_.HasPending(); ++i) {
    raft::SimulatedDisk::Write write = disk_.SyncOldest();
    if (write.snapshot) {
      (void)machine()->MakeDurable();
      installing_ = false;
    }
    for (const Message& message : write.messages) Post(message);
    sequence = write.sequence;
  }
  disk_busy_ = false;
  core_->PersistStalled(false, Now());
  if (sequence != 0) core_->Persisted(sequence, Now());
  AfterStep();
  StartDisk();
}

void RaftReplica::SyncData(bool cut, uint64_t slack) {
  // While a checkpoint is on its way to disk the state is ahead of the log.
  if (installing_ || machine()->AppliedPosition() > disk_.last()) return;
  const auto durable = machine()->MakeDurable();
  if (!cut || !durable.ok() || durable->value() <= core_->log().base().value() + slack) return;
  const Position index = *durable - slack;
  if (index <= disk_.base() || index > core_->applied()) return;
  const std::optional<Term> term = core_->log().TermAt(index);
  if (!term) return;
  disk_.Cut({index, *term, core_->ConfigurationAt(index), ""});
  core_->Compact(index);
  world().Probe("log cut");
  AfterStep();
}

// ---- applying -------------------------------------------------------------------------------------------------------

void RaftReplica::PushTask(std::function<void()> task) {
  Item item;
  item.task = std::move(task);
  items_.push_back(std::move(item));
  ScheduleApply();
}

void RaftReplica::ScheduleApply() {
  if (items_.empty() || apply_scheduled_ || apply_waits_) return;
  apply_scheduled_ = true;
  World& world = this->world();
  After(world.Between(20us, world.Chance(980) ? 600us : 30ms), [this] {
    apply_scheduled_ = false;
    ApplySome();
    ScheduleApply();
  });
}

void RaftReplica::ApplySome() {
  const size_t most = 1 + world().random().Below(20);
  while (!items_.empty() && items_.front().task) {
    auto task = std::move(items_.front().task);
    items_.pop_front();
    task();
  }
  size_t count = 0;
  while (count < items_.size() && count < most && items_[count].entry) ++count;
  if (count == 0) return;
  ApplyEntries(count);
  if (world().failed()) return;
  const Position applied = machine()->AppliedPosition();
  while (!when_applied_.empty() && when_applied_.begin()->first <= applied) {
    auto task = std::move(when_applied_.begin()->second);
    when_applied_.erase(when_applied_.begin());
    task();
  }
  if (applied > core_->applied()) core_->Applied(applied);
  AfterStep();
  AnnounceLeader();
}

// Applies the first `count` items, or as many of them as can be.
void RaftReplica::ApplyEntries(size_t count) {
  std::vector<CommittedEntry> batch;
  for (size_t i = 0; i < count; ++i) {
    const Entry& entry = *items_[i].entry;
    const bool internal = entry.type != EntryType::kNormal;
    batch.push_back({entry.index, entry.term, internal ? std::string_view() : entry.data.view(), internal});
    Check(group_.ledger.Applied(entry));
  }
  if (batch.front().position != machine()->AppliedPosition() + 1) {
    world().Fail("entries are applied without a gap");
    return;
  }
  std::vector<ApplyResult> results(batch.size());
  const absl::Status status = machine()->Apply(batch, results);
  size_t done = count;
  if (!status.ok()) {
    done = machine()->AppliedPosition().value() + 1 - batch.front().position.value();
    if (done >= count || !FetchForApply(*items_[done].entry, status, [this] {
          apply_waits_ = false;
          ScheduleApply();
        })) {
      world().Fail(StrCat(name(), " cannot apply: ", status.ToString()));
      return;
    }
    apply_waits_ = true;
  }
  for (size_t i = 0; i < done; ++i) {
    Item item = std::move(items_.front());
    items_.pop_front();
    if (batch[i].position > group_.applied) {
      group_.applied = batch[i].position;
      FirstApplied(*item.entry, results[i]);
    }
    if (!item.proposal) continue;
    ProposeResult result;
    result.term = item.proposal->term;
    if (batch[i].term == item.proposal->term && batch[i].position == item.proposal->position) {
      result.outcome = ProposeOutcome::kApplied;
      result.status = std::move(results[i].status);
      result.value = std::move(results[i].value);
      result.position = batch[i].position;
    } else {
      result.status = Unavailable("another leader's entry stands in the place of this one");
    }
    item.proposal->done(std::move(result));
  }
}

void RaftReplica::Check(const char* broken) {
  if (broken != nullptr) world().Fail(StrCat(broken, " (", name(), ")"));
}

}  // namespace terrane::simulation
