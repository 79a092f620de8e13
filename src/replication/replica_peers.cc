// Replica: the loop, what comes from peers and goes to them, checkpoints.
#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/status.h"
#include "replication/replica.h"

namespace terrane::replication {
namespace {

constexpr MonotonicTime kLongestSleep = std::chrono::milliseconds(100);
constexpr MonotonicTime kGreetingInterval = std::chrono::milliseconds(50);
constexpr uint64_t kInboxBytes = 64 << 20;

uint64_t CostOf(const PeerBatch& batch) {
  uint64_t cost = 64;
  for (const raft::Message& message : batch.messages) {
    cost += 64;
    for (const raft::Entry& entry : message.entries) cost += raft::Cost(entry);
  }
  return cost;
}

}  // namespace

// --- The loop ---

void Replica::Loop() {
  while (true) {
    std::deque<PeerBatch> batches;
    std::optional<Fetched> fetched;
    {
      std::unique_lock lock(inbox_mutex_);
      const MonotonicTime sleep = MonotonicTime(loop_deadline_.load()) - Now();
      inbox_wake_.wait_for(lock, std::max(sleep, MonotonicTime(0)),
                           [this] { return stop_loop_ || wake_loop_ || !inbox_.empty() || fetched_; });
      if (stop_loop_) return;
      wake_loop_ = false;
      batches.swap(inbox_);
      inbox_bytes_ = 0;
      fetched.swap(fetched_);
    }
    for (PeerBatch& batch : batches) TakeBatch(std::move(batch));
    if (fetched) TakeFetched(*std::move(fetched));
    std::lock_guard lock(mutex_);
    if (closed_ || dead_) {
      loop_deadline_ = (Now() + kLongestSleep).count();
      continue;
    }
    const MonotonicTime now = Now();
    core_.Tick(now);
    CheckDiskLocked(now);
    GreetLocked(now);
    MaintainMembersLocked(now);
    DriveLocked();
    DriveStateLocked(now);
    loop_deadline_ = LoopDeadlineLocked(now).count();
  }
}

MonotonicTime Replica::LoopDeadlineLocked(MonotonicTime now) const {
  MonotonicTime deadline = std::min(core_.NextTick(), now + kLongestSleep);
  if (!AloneLocked() && (!heard_of_ || JoiningLocked())) deadline = std::min(deadline, next_greeting_);
  return deadline;
}

void Replica::CheckDiskLocked(MonotonicTime now) {
  const MonotonicTime began = writer_.write_began();
  if (disk_stalled_ || began.count() == 0 || now - began < options_.timeouts.slow_disk) return;
  disk_stalled_ = true;
  LogWarn("replication", "a log write has been under way for too long",
          {{"group", options_.identity.group},
           {"replica", options_.identity.replica},
           {"ms", std::chrono::duration_cast<std::chrono::milliseconds>(now - began).count()}});
  core_.PersistStalled(true, now);
}

void Replica::GreetLocked(MonotonicTime now) {
  if (AloneLocked() || (heard_of_ && !JoiningLocked()) || now < next_greeting_) return;
  next_greeting_ = now + kGreetingInterval;
  for (ReplicaId other : OthersLocked()) SendBatchLocked(other, true, true, {});
}

// --- In ---

void Replica::OnBatch(PeerBatch batch) {
  const uint64_t cost = CostOf(batch);
  {
    std::lock_guard lock(inbox_mutex_);
    if (inbox_bytes_ + cost > kInboxBytes && inbox_bytes_ > 0) return;  // Raft repairs what is lost
    inbox_bytes_ += cost;
    inbox_.push_back(std::move(batch));
  }
  inbox_wake_.notify_one();
}

void Replica::TakeBatch(PeerBatch batch) {
  const Identity& me = options_.identity;
  if (batch.cluster != me.cluster || batch.group != me.group || batch.to != me.replica || batch.from == me.replica ||
      batch.from == ReplicaId()) {
    if (complained_.insert(batch.from).second) {
      LogWarn("replication", "refuses traffic of another group",
              {{"group", me.group},
               {"replica", me.replica},
               {"from", batch.from},
               {"from_group", batch.group},
               {"from_cluster", batch.cluster},
               {"to", batch.to}});
    }
    return;
  }
  if (!CheckAcknowledged(batch)) return;
  bool named = false;  // the group knows the sender by this very directory
  {
    std::lock_guard lock(mutex_);
    if (closed_ || dead_ || !TakeStartLocked(batch)) return;
    named = RecordOf(core_.configuration(), batch.from).incarnation == batch.start.incarnation;
  }
  absl::Status heard = directory_->Hear(batch.from, batch.start, named);
  if (!heard.ok() && !absl::IsFailedPrecondition(heard))
    return Fatal(Annotate(heard, "cannot write down a peer's start"));
  std::lock_guard lock(mutex_);
  if (closed_ || dead_) return;
  const MemberRecord record = RecordOf(core_.configuration(), batch.from);
  if (record.incarnation == 0 || heard.ok()) heard_[batch.from] = directory_->Known(batch.from);
  if (!heard.ok()) {
    if (complained_.insert(batch.from).second)
      LogWarn("replication", "refuses traffic of a peer",
              {{"group", me.group}, {"replica", me.replica}, {"from", batch.from}, {"why", MessageOf(heard)}});
    return SendBatchLocked(batch.from, false, true, {});  // it learns from what we acknowledge
  }
  complained_.erase(batch.from);
  if (batch.greeting) SendBatchLocked(batch.from, false, true, {});
  const MonotonicTime now = Now();
  for (raft::Message& message : batch.messages) StepLocked(std::move(message), now);
  DriveLocked();
}

// What the peer last heard of this replica. False: this disk must not go on.
bool Replica::CheckAcknowledged(const PeerBatch& batch) {
  const StartId& known = batch.acknowledged;
  if (known.incarnation == 0) return true;
  const std::string where = StrCat("directory ", options_.directory.string(), " of replica ",
                                   options_.identity.replica.value(), " of ", options_.identity.group);
  if (known.incarnation != start_.incarnation) {
    // Meant for the directory before this one, which is gone.
    if (!directory_->founder()) return false;
    absl::Status why =
        FailedPrecondition(where, " is new or another one, but replica ", batch.from.value(),
                           " knows this replica with its data: the wrong disk, or an empty one under an old id");
    bool empty = false;
    {
      std::lock_guard lock(mutex_);
      // What a founder writes before it has heard of anybody.
      empty = core_.last_index() <= Position(1) && core_.applied() <= Position(1);
    }
    empty ? Rejoin(std::move(why)) : Fatal(std::move(why));
    return false;
  }
  if (known.start > start_.start) {
    Fatal(FailedPrecondition(where, " is an old copy: replica ", batch.from.value(), " has heard of start ",
                             known.start, ", this is start ", start_.start));
    return false;
  }
  if (known.start == start_.start) {
    std::lock_guard lock(mutex_);
    if (!heard_of_) {
      heard_of_ = true;
      AllowVotingLocked();
    }
  }
  return true;
}

void Replica::StepLocked(raft::Message message, MonotonicTime now) {
  if (message.to != options_.identity.replica) return;
  if (message.type == raft::MessageType::kInstallSnapshot) return StepSnapshotLocked(std::move(message), now);
  core_.Step(message, now);
}

// --- Out ---

void Replica::SendLocked(std::vector<raft::Message> messages) {
  if (messages.empty() || options_.transport == nullptr) return;
  std::map<std::pair<ReplicaId, bool>, std::vector<raft::Message>> lanes;
  for (raft::Message& message : messages) lanes[{message.to, message.IsUrgent()}].push_back(std::move(message));
  for (auto& [lane, batch] : lanes) SendBatchLocked(lane.first, false, lane.second, std::move(batch));
}

void Replica::SendBatchLocked(ReplicaId to, bool greeting, bool urgent, std::vector<raft::Message> messages) {
  PeerBatch batch;
  batch.cluster = options_.identity.cluster;
  batch.group = options_.identity.group;
  batch.from = options_.identity.replica;
  batch.to = to;
  batch.start = start_;
  batch.acknowledged = heard_[to];
  batch.greeting = greeting;
  batch.joining = JoiningLocked();
  batch.messages = std::move(messages);
  options_.transport->Send(std::move(batch), urgent);
}

// --- Checkpoints: the data comes before the reference ---

void Replica::StepSnapshotLocked(raft::Message message, MonotonicTime now) {
  if (!core_.WantsSnapshot(message, now)) {
    // It has the data, or the message is old: the leader must hear so, or it goes on offering and sends nothing else.
    core_.Step(message, now);
    return;
  }
  if (state_fetched_ && !state_installing_) {
    // The log will not come to it by entries: this one does for both.
    state_fetched_.reset();
    fetching_ = false;
  }
  if (fetching_) return;
  fetching_ = true;
  if (fetcher_.joinable()) fetcher_.join();  // it has handed over its result already
  fetcher_ = std::thread([this, message = std::move(message)]() mutable {
    const std::filesystem::path directory = IncomingCheckpoint(*directory_);
    auto fetch = [&]() -> absl::StatusOr<Checkpoint> {
      TERRANE_RETURN_IF_ERROR(file_system_->RemoveAll(directory));
      TERRANE_RETURN_IF_ERROR(file_system_->CreateDirectories(directory));
      return options_.transport->FetchCheckpoint(message.from, message.snapshot->index, directory, &cancel_fetch_);
    };
    absl::StatusOr<Checkpoint> checkpoint = fetch();
    Fetched fetched{std::move(message), std::move(checkpoint)};
    {
      std::lock_guard lock(inbox_mutex_);
      fetched_ = std::move(fetched);
    }
    inbox_wake_.notify_one();
  });
}

void Replica::TakeFetched(Fetched fetched) {
  std::lock_guard lock(mutex_);
  if (closed_ || dead_) return;
  if (!fetched.message) return TakeStateLocked(std::move(fetched.checkpoint));
  const MonotonicTime now = Now();
  auto reference = std::make_shared<raft::SnapshotReference>();
  absl::Status status = fetched.checkpoint.status();
  if (status.ok()) {
    std::optional<raft::Configuration> configuration = raft::DecodeConfiguration(fetched.checkpoint->configuration);
    if (!configuration) status = DataLoss("the checkpoint names no valid members");
    if (configuration) reference->configuration = *std::move(configuration);
  }
  if (!status.ok()) {
    LogWarn("replication", "cannot fetch a checkpoint",
            {{"group", options_.identity.group}, {"replica", options_.identity.replica}, {"status", status}});
    core_.SnapshotFailed(*fetched.message);
    fetching_ = false;
    return DriveLocked();
  }
  reference->index = fetched.checkpoint->point.position;
  reference->term = fetched.checkpoint->point.term;
  reference->address = fetched.checkpoint->directory.string();
  fetched.message->snapshot = std::move(reference);
  core_.Step(*fetched.message, now);
  const uint64_t before = snapshots_taken_;
  DriveLocked();
  if (snapshots_taken_ == before) fetching_ = false;  // no longer wanted
}

// Writer thread. The apply thread has everything before the snapshot in its queue already.
absl::Status Replica::Install(const raft::SnapshotReference& snapshot) {
  TERRANE_RETURN_IF_ERROR(WriteInstallMarker(file_system_, *directory_, snapshot));
  std::mutex mutex;
  std::condition_variable wake;
  std::optional<absl::Status> result;
  apply_.PushTask([&] {
    absl::Status status =
        dead_ ? Unavailable("this replica has failed") : machine_->InstallCheckpoint(snapshot.address);
    if (status.ok()) apply_.SetApplied(snapshot.index);
    std::lock_guard lock(mutex);
    result = std::move(status);
    wake.notify_one();
  });
  std::unique_lock lock(mutex);
  wake.wait(lock, [&] { return result.has_value(); });
  return Annotate(*result, "while installing a fetched checkpoint");
}

absl::Status Replica::Installed(const raft::SnapshotReference& snapshot) {
  TERRANE_RETURN_IF_ERROR(RemoveInstallMarker(file_system_, *directory_));
  ++snapshots_installed_;
  LogInfo("replication", "installed a checkpoint",
          {{"group", options_.identity.group}, {"replica", options_.identity.replica}, {"position", snapshot.index}});
  std::lock_guard lock(mutex_);
  fetching_ = false;
  if (state_needed_ && *state_needed_ <= snapshot.index) state_needed_.reset();
  handed_to_apply_ = std::max(handed_to_apply_, snapshot.index);
  if (!closed_ && !dead_) core_.Applied(snapshot.index);
  return absl::OkStatus();
}

void Replica::OnCheckpointWanted(Position at_least,
                                 std::function<void(absl::StatusOr<std::shared_ptr<const Checkpoint>>)> done) {
  apply_.PushTask([this, at_least, done = std::move(done)] {
    {
      std::lock_guard lock(mutex_);
      if (closed_ || dead_) return done(Unavailable("this replica is stopping"));
    }
    std::shared_ptr<const Checkpoint> last = last_checkpoint_.lock();
    if (last != nullptr && last->point.position >= at_least) return done(last);
    const Position applied = apply_.applied();
    if (applied < at_least) {
      return done(Unavailable("this replica has applied ", applied.value(), " of ", at_least.value()));
    }
    const std::filesystem::path directory =
        directory_->checkpoints() / StrCat("outgoing-", start_.start, "-", ++checkpoints_taken_);
    FileSystem* const file_system = file_system_;
    std::shared_ptr<Checkpoint> checkpoint(new Checkpoint, [file_system](Checkpoint* c) {
      if (absl::Status status = file_system->RemoveAll(c->directory); !status.ok()) {
        LogWarn("replication", "checkpoint left behind", {{"status", status}});
      }
      delete c;
    });
    checkpoint->directory = directory;
    absl::Status made = file_system_->CreateDirectories(directory);
    if (made.ok()) made = machine_->TakeCheckpoint(directory);
    if (!made.ok()) return done(Annotate(made, "while taking a checkpoint"));
    {
      std::lock_guard lock(mutex_);
      std::optional<Term> term = core_.log().TermAt(applied);
      if (!term) return done(Unavailable("the log has moved on"));
      checkpoint->point = {applied, *term};
      checkpoint->configuration = raft::EncodeConfiguration(core_.ConfigurationAt(applied));
    }
    last_checkpoint_ = checkpoint;
    done(std::shared_ptr<const Checkpoint>(checkpoint));
  });
}

}  // namespace terrane::replication
