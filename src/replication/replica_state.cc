// Replica: the state machine cannot apply an entry that others have applied (StateMachine, NeedsCheckpoint). The log is
// whole and goes on, votes included; only the state is fetched from a peer, installed once the own log has come to its
// position, and goes on behind it.
//
// A crash in between needs no note: the state is the old or the new one, and both lie within the log. With the old one
// the entry is met again.
#include <utility>

#include "common/logging.h"
#include "common/status.h"
#include "replication/replica.h"

namespace terrane::replication {
namespace {

constexpr absl::string_view kPayload = "terrane.dev/needs-checkpoint";
constexpr MonotonicTime kFetchAgain = std::chrono::milliseconds(200);

}  // namespace

absl::Status NeedsCheckpoint(Position position, std::string_view why) {
  absl::Status status = FailedPrecondition(std::string(why));
  status.SetPayload(kPayload, absl::Cord(std::to_string(position.value())));
  return status;
}

std::optional<Position> CheckpointNeeded(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayload);
  if (!payload) return std::nullopt;
  return Position(std::stoull(std::string(*payload)));
}

// Apply thread.
void Replica::OnNeedsCheckpoint(Position position, const absl::Status& why) {
  bool alone = false;
  {
    std::lock_guard lock(mutex_);
    alone = AloneLocked();
  }
  if (alone) return Fatal(Annotate(why, "there is no other replica to take the state from"));
  LogWarn("replication", "the state of this replica must come from a peer",
          {{"group", options_.identity.group},
           {"replica", options_.identity.replica},
           {"position", position},
           {"why", MessageOf(why)}});
  {
    std::lock_guard lock(mutex_);
    if (closed_ || dead_) return;
    state_needed_ = position;
    core_.Applied(apply_.applied());
  }
  WakeLoop();
}

// Loop thread, with each turn.
void Replica::DriveStateLocked(MonotonicTime now) {
  if (!state_needed_) return;
  // It cannot serve: somebody else should lead.
  if (core_.IsLeader()) {
    core_.TransferLeadership(ReplicaId(), now);
    DriveLocked();
  }
  if (state_fetched_) {
    const Position position = state_fetched_->point.position;
    if (state_installing_ || handed_to_apply_ < position) return;
    // What is committed at one position is the same everywhere.
    const std::optional<Term> term = core_.log().TermAt(position);
    if (term && *term != state_fetched_->point.term) {
      LogError("replication", "a peer's checkpoint is of another history",
               {{"group", options_.identity.group}, {"replica", options_.identity.replica}, {"position", position}});
      state_fetched_.reset();
      fetching_ = false;
      next_state_fetch_ = now + kFetchAgain;
      return;
    }
    state_installing_ = true;
    apply_.PushTask([this, checkpoint = *state_fetched_] { InstallState(checkpoint); });
    return;
  }
  if (!fetching_ && now >= next_state_fetch_) FetchLocked(std::nullopt, *state_needed_, core_.leader());
}

// Loop thread.
void Replica::TakeStateLocked(absl::StatusOr<Checkpoint> checkpoint) {
  if (!checkpoint.ok() || !state_needed_ || checkpoint->point.position < *state_needed_) {
    NoteFetch(checkpoint.status());
    next_state_fetch_ = Now() + kFetchAgain;
    if (checkpoint.ok()) return DiscardFetchedLocked();
    fetching_ = false;
    return;
  }
  state_fetched_ = *std::move(checkpoint);
}

// Apply thread.
void Replica::InstallState(const Checkpoint& checkpoint) {
  if (dead_) return;
  const Position position = checkpoint.point.position;
  if (absl::Status status = machine_->InstallCheckpoint(checkpoint.directory); !status.ok()) {
    return FailState(status, "while installing a fetched checkpoint");
  }
  apply_.SetApplied(position);
  ++snapshots_installed_;
  LogInfo("replication", "installed a checkpoint; the log was whole",
          {{"group", options_.identity.group}, {"replica", options_.identity.replica}, {"position", position}});
  if (absl::Status status = file_system_->RemoveAll(checkpoint.directory); !status.ok()) {
    LogWarn("replication", "checkpoint left behind", {{"status", status}});
  }
  std::lock_guard lock(mutex_);
  state_fetched_.reset();
  state_installing_ = false;
  state_needed_.reset();
  fetching_ = false;
  if (!closed_ && !dead_) core_.Applied(position);
}

}  // namespace terrane::replication
