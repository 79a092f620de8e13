#include "replication/checkpoint_fetch.h"

#include "common/disk.h"
#include "common/logging.h"
#include "common/status.h"

namespace terrane::replication {

absl::StatusOr<Checkpoint> CheckpointFetch::Run(Position at_least, const std::vector<ReplicaId>& peers,
                                                const std::atomic<bool>* cancelled) {
  const auto finish = [this]() -> absl::StatusOr<Checkpoint> {
    absl::StatusOr<Checkpoint> checkpoint = sink_->Finish();
    sink_.reset();  // the directory is the caller's now
    return checkpoint;
  };
  if (sink_ && !sink_->Place().id.empty() && sink_->position() >= at_least) {
    absl::Status status = FetchFrom(from_, at_least, cancelled);
    if (status.ok()) return finish();
    if (absl::IsCancelled(status) || absl::IsResourceExhausted(status)) return status;
    if (options_.clock->Now() - progress_ < options_.patience) return status;
  }
  absl::Status status = Unavailable("there is nobody to fetch a checkpoint from");
  for (ReplicaId peer : peers) {
    TERRANE_RETURN_IF_ERROR(Discard());
    sink_.emplace(options_.file_system, options_.directory, [this](uint64_t bytes) { return CheckSpace(bytes); });
    from_ = peer;
    status = Annotate(FetchFrom(peer, at_least, cancelled), StrCat("from replica ", peer.value()));
    if (status.ok()) return finish();
    if (absl::IsCancelled(status) || absl::IsResourceExhausted(status)) return status;
    if (!sink_->Place().id.empty()) return status;  // perhaps it can go on there
  }
  return status;
}

absl::Status CheckpointFetch::FetchFrom(ReplicaId peer, Position at_least, const std::atomic<bool>* cancelled) {
  while (true) {
    const uint64_t before = sink_->received();
    sink_->BeginStream();
    absl::Status status = options_.transport->FetchCheckpoint(peer, at_least, &*sink_, cancelled);
    const uint64_t brought = sink_->received() - before;
    received_ += brought;
    if (brought > 0) progress_ = options_.clock->Now();
    if (status.ok() || *cancelled || brought == 0 || sink_->Place().id.empty()) return status;
    LogInfo("replication", "goes on with a checkpoint",
            {{"from", peer}, {"file", sink_->Place().file}, {"offset", sink_->Place().offset}, {"status", status}});
  }
}

absl::Status CheckpointFetch::CheckSpace(uint64_t bytes) const {
  TERRANE_ASSIGN_OR_RETURN(const DiskSpace space, options_.file_system->Space(options_.directory));
  const uint64_t reserve = DefaultDiskReserve(space.total_bytes);
  if (space.free_bytes >= bytes + reserve) return absl::OkStatus();
  return MakeStatus(absl::StatusCode::kResourceExhausted, "the disk of ", options_.directory.string(), " has ",
                    space.free_bytes, " bytes free; a checkpoint of ", bytes, " bytes needs ", bytes + reserve,
                    ", what is kept free included");
}

absl::Status CheckpointFetch::Discard() {
  sink_.reset();
  return options_.file_system->RemoveAll(options_.directory);
}

}  // namespace terrane::replication
