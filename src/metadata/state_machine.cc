#include "metadata/state_machine.h"

#include "common/status.h"
#include "metadata/snapshot_file.h"
#include "migration/stages.h"

namespace terrane::metadata {
namespace {

// condition_variable_any waits on system clocks; ours goes on while the machine sleeps.
std::chrono::steady_clock::time_point SteadyDeadline(MonotonicTime deadline) {
  const auto left = deadline - Clock::System()->Now();
  return std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(left);
}

absl::StatusOr<v1::MetadataCommand> Parse(const replication::CommittedEntry& entry) {
  v1::MetadataCommand command;
  if (!command.ParseFromArray(entry.data.data(), static_cast<int>(entry.data.size()))) {
    return DataLoss("entry ", entry.position.value(), " of the metadata log is no command");
  }
  // Whoever refused what a newer version carries out would have another state than it from then on.
  if (command.command_case() == v1::MetadataCommand::COMMAND_NOT_SET ||
      (command.has_advance_migration() && !migration::IsKnownStage(command.advance_migration().to()))) {
    return FailedPrecondition("entry ", entry.position.value(),
                              " of the metadata log is not one that this program knows; start a newer version of it");
  }
  return command;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetadataStateMachine>> MetadataStateMachine::Open(std::filesystem::path directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return absl::InternalError(StrCat("creating ", directory.string(), ": ", error.message()));
  std::unique_ptr<MetadataStateMachine> machine(new MetadataStateMachine(directory));
  auto snapshot = ReadSnapshotFile(directory / kSnapshotFileName);
  if (absl::IsNotFound(snapshot.status())) return machine;
  if (!snapshot.ok()) return snapshot.status();
  TERRANE_ASSIGN_OR_RETURN(machine->state_, State::FromProto(snapshot->state));
  machine->applied_ = snapshot->applied;
  return machine;
}

bool MetadataStateMachine::WaitUntil(MonotonicTime deadline, const std::function<bool(const State&)>& fn) const {
  std::shared_lock lock(mutex_);
  bool held = false;
  changed_.wait_until(lock, SteadyDeadline(deadline), [&] { return (held = fn(state_)) || interrupted_; });
  return held;
}

void MetadataStateMachine::Interrupt() {
  std::unique_lock lock(mutex_);
  interrupted_ = true;
  changed_.notify_all();
}

std::unique_ptr<WatchHub::Subscription> MetadataStateMachine::Subscribe(Revision from, std::function<void()> wake) {
  std::shared_lock lock(mutex_);
  auto snapshot = [this] {
    auto routes = std::make_shared<v1::WatchEvent>(state_.Routes());
    if (decorate_) decorate_(routes.get());
    return routes;
  };
  // Of who leads the shards no delta tells. Of one that nobody knows to be led there is nothing to say.
  auto leaders = [this]() -> SharedEvent {
    v1::WatchEvent known;
    for (const auto& [name, shard] : state_.shards()) *known.add_shards() = shard;
    if (decorate_) decorate_(&known);
    auto event = std::make_shared<v1::WatchEvent>();
    event->set_revision(state_.revision().value());
    for (v1::Shard& shard : *known.mutable_shards()) {
      if (!shard.leader_endpoint().empty()) *event->add_shards() = std::move(shard);
    }
    return event->shards().empty() ? nullptr : event;
  };
  return hub_.Subscribe(from, state_.revision(), snapshot, std::move(wake), leaders);
}

void MetadataStateMachine::PublishVolatile(v1::WatchEvent event) {
  // Alone, and with what is known by now: of two at once the last one told is the newer. In order with the deltas: what
  // it says of a revision is true.
  std::unique_lock lock(mutex_);
  event.set_revision(state_.revision().value());
  if (decorate_) decorate_(&event);
  hub_.PublishVolatile(std::make_shared<const v1::WatchEvent>(std::move(event)));
}

v1::WatchEvent MetadataStateMachine::Routes() const {
  v1::WatchEvent routes = Read([](const State& state) { return state.Routes(); });
  if (decorate_) decorate_(&routes);
  return routes;
}

absl::Status MetadataStateMachine::Apply(std::span<const replication::CommittedEntry> batch,
                                         std::span<replication::ApplyResult> results) {
  std::vector<Applied> all;
  {
    std::unique_lock lock(mutex_);
    for (size_t i = 0; i < batch.size(); ++i) {
      if (batch[i].internal) {
        applied_ = batch[i].position;
        continue;
      }
      TERRANE_ASSIGN_OR_RETURN(const v1::MetadataCommand command, Parse(batch[i]));
      applied_ = batch[i].position;
      Applied applied = state_.Apply(command);
      results[i].value = applied.result;
      if (applied.HasRoutes()) {
        v1::WatchEvent event = std::move(applied.delta);
        if (decorate_) decorate_(&event);
        hub_.Publish(std::make_shared<const v1::WatchEvent>(std::move(event)));
      }
      all.push_back(std::move(applied));
    }
    changed_.notify_all();
  }
  if (listener_ != nullptr && !all.empty()) listener_->OnApplied(all);
  return absl::OkStatus();
}

absl::StatusOr<Position> MetadataStateMachine::MakeDurable() {
  TERRANE_RETURN_IF_ERROR(TakeCheckpoint(directory_));
  return applied_;
}

absl::Status MetadataStateMachine::TakeCheckpoint(const std::filesystem::path& directory) {
  Snapshot snapshot;
  snapshot.applied = applied_;
  snapshot.state = Read([](const State& state) { return state.ToProto(); });
  return WriteSnapshotFile(directory / kSnapshotFileName, snapshot);
}

absl::Status MetadataStateMachine::InstallCheckpoint(const std::filesystem::path& directory) {
  TERRANE_ASSIGN_OR_RETURN(Snapshot snapshot, ReadSnapshotFile(directory / kSnapshotFileName));
  TERRANE_ASSIGN_OR_RETURN(State state, State::FromProto(snapshot.state));
  TERRANE_RETURN_IF_ERROR(WriteSnapshotFile(directory_ / kSnapshotFileName, snapshot));
  std::unique_lock lock(mutex_);
  state_ = std::move(state);
  applied_ = snapshot.applied;
  hub_.Reset();
  changed_.notify_all();
  return absl::OkStatus();
}

void MetadataStateMachine::OnLeaderStart(Term term) {
  if (listener_ != nullptr) listener_->OnLeaderStart(term);
}
void MetadataStateMachine::OnLeaderStop(Term term) {
  if (listener_ != nullptr) listener_->OnLeaderStop(term);
}

}  // namespace terrane::metadata
