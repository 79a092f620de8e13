// Replica: the loop, what comes from peers and goes to them.
#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/start_number.h"
#include "common/status.h"
#include "replication/replica.h"

namespace terrane::replication {
namespace {

constexpr MonotonicTime kLongestSleep = std::chrono::milliseconds(100);
constexpr MonotonicTime kGreetingInterval = std::chrono::milliseconds(50);

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
  std::optional<Fetched> fetched;
  while (true) {
    std::deque<PeerBatch> batches;
    {
      std::unique_lock lock(inbox_mutex_);
      const MonotonicTime sleep = MonotonicTime(loop_deadline_.load()) - Now();
      inbox_wake_.wait_for(lock, std::max(sleep, MonotonicTime(0)),
                           [this] { return stop_loop_ || wake_loop_ || !inbox_.empty() || fetched_; });
      if (stop_loop_) return;
      wake_loop_ = false;
      batches.swap(inbox_);
      inbox_bytes_ = 0;
      if (fetched_) fetched = std::exchange(fetched_, std::nullopt);
    }
    LetCheckpointGo();
    TakeBatches(std::move(batches));
    if (fetched && TakeFetched(&*fetched)) fetched.reset();
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
    if (inbox_bytes_ + cost > options_.max_inbox_bytes && inbox_bytes_ > 0) return;  // Raft repairs what is lost
    inbox_bytes_ += cost;
    inbox_.push_back(std::move(batch));
  }
  inbox_wake_.notify_one();
}

// Appends wait while the state machine is behind, and keep their order; heartbeats and all else do not, so that nobody
// takes this replica for dead. The leader sends no more than its window.
void Replica::TakeBatches(std::deque<PeerBatch> batches) {
  while (!held_.empty() && !MustHold()) {
    held_bytes_ -= CostOf(held_.front());
    PeerBatch batch = std::move(held_.front());
    held_.pop_front();
    TakeBatch(std::move(batch));
  }
  for (PeerBatch& batch : batches) {
    if (!held_.empty() || MustHold()) Hold(&batch);
    TakeBatch(std::move(batch));
  }
  holding_ = !held_.empty();
  // It may have caught up in between.
  if (holding_ && !MustHold()) WakeLoop();
}

bool Replica::MustHold() {
  if (apply_.queued_bytes() <= options_.max_unapplied_bytes) return false;
  // What is queued waits for a state that has come, and that for the log to come to its position.
  std::lock_guard lock(mutex_);
  return !state_fetched_;
}

void Replica::Hold(PeerBatch* batch) {
  PeerBatch held = *batch;
  const auto is_append = [](const raft::Message& m) { return m.type == raft::MessageType::kAppend; };
  std::erase_if(held.messages, [&](const raft::Message& m) { return !is_append(m); });
  std::erase_if(batch->messages, is_append);
  if (held.messages.empty()) return;
  held.greeting = false;
  const uint64_t cost = CostOf(held);
  if (held_bytes_ + cost > options_.max_inbox_bytes && !held_.empty()) return;  // Raft repairs what is lost
  held_bytes_ += cost;
  held_.push_back(std::move(held));
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
  if (batch.acknowledged != start_) {
    // The clock of an earlier start: the machine may have been started anew since.
    for (raft::Message& message : batch.messages) {
      if (message.type == raft::MessageType::kHeartbeat) message.echo = 0;
    }
  }
  bool named = false;  // the group knows the sender by this very directory
  {
    std::lock_guard lock(mutex_);
    if (closed_ || dead_) return;
    switch (SenderLocked(batch)) {
      case Sender::kMember:
        break;
      case Sender::kJoining:
        joining_[batch.from] = {batch.start, Now()};
        return;
      case Sender::kOtherDirectory:
        return FollowOtherDirectoryLocked(std::move(batch));
    }
    named = RecordOf(core_.configuration(), batch.from).incarnation == batch.start.incarnation;
  }
  absl::Status heard = directory_->Hear(batch.from, batch.start, named);
  if (!heard.ok() && !absl::IsFailedPrecondition(heard))
    return Fatal(Annotate(heard, "cannot write down a peer's start"));
  std::lock_guard lock(mutex_);
  if (closed_ || dead_) return;
  const MemberRecord record = RecordOf(core_.configuration(), batch.from);
  if (record.incarnation == 0 || heard.ok()) {
    const StartId known = directory_->Known(batch.from);
    if (std::exchange(heard_[batch.from], known) != known) core_.PeerStarted(batch.from);
  }
  if (!heard.ok()) {
    const bool old_copy = directory_->Known(batch.from).incarnation == batch.start.incarnation;
    return old_copy ? RefuseLocked(batch, MessageOf(heard)) : FollowOtherDirectoryLocked(std::move(batch));
  }
  complained_.erase(batch.from);
  joining_.erase(batch.from);  // the directory that the group knows is back: the other one was there by mistake
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
    if (!directory_->founder()) {
      bool replaced = false;
      {
        std::lock_guard lock(mutex_);
        replaced = !JoiningLocked() && batch.replaced_at > core_.configuration_index();
      }
      if (replaced) {
        Rejoin(FailedPrecondition(where, " is an old one: as of position ", batch.replaced_at.value(),
                                  " the group knows this replica with another"));
      }
      // Else it was meant for the directory before this one, which is gone.
      return false;
    }
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
  if (IsOldCopy(start_.start, known.start)) {
    Fatal(FailedPrecondition(where, " is an old copy: replica ", batch.from.value(), " has heard of start ",
                             StartCount(known.start), ", this is ",
                             StartCount(known.start) == StartCount(start_.start) ? "another start " : "start ",
                             StartCount(start_.start)));
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

PeerBatch Replica::MakeBatchLocked(ReplicaId to) {
  PeerBatch batch;
  batch.cluster = options_.identity.cluster;
  batch.group = options_.identity.group;
  batch.from = options_.identity.replica;
  batch.to = to;
  batch.start = start_;
  batch.acknowledged = heard_[to];
  batch.joining = JoiningLocked();
  return batch;
}

void Replica::SendBatchLocked(ReplicaId to, bool greeting, bool urgent, std::vector<raft::Message> messages) {
  PeerBatch batch = MakeBatchLocked(to);
  batch.greeting = greeting;
  batch.messages = std::move(messages);
  options_.transport->Send(std::move(batch), urgent);
}

}  // namespace terrane::replication
