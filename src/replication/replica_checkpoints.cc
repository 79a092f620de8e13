// Replica: checkpoints, from peers and for them.
#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/status.h"
#include "replication/replica.h"

namespace terrane::replication {
namespace {
constexpr std::chrono::minutes kComplainAgain{1};
}  // namespace

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
  const Position at_least = message.snapshot->index;
  const ReplicaId leader = message.from;
  FetchLocked(std::move(message), at_least, leader);
}

// Followers first, the leader last: it has enough to do.
std::vector<ReplicaId> Replica::FetchPeersLocked(ReplicaId leader) const {
  std::vector<ReplicaId> peers;
  const auto add = [&](ReplicaId id) {
    if (id != options_.identity.replica && id != leader && std::find(peers.begin(), peers.end(), id) == peers.end()) {
      peers.push_back(id);
    }
  };
  for (ReplicaId id : core_.configuration().voters) add(id);
  for (const Member& member : options_.members) add(member.replica);
  if (leader != ReplicaId() && leader != options_.identity.replica) peers.push_back(leader);
  return peers;
}

void Replica::FetchLocked(std::optional<raft::Message> message, Position at_least, ReplicaId leader) {
  fetching_ = true;
  if (fetcher_.joinable()) fetcher_.join();  // it has handed over its result already
  fetcher_ = std::thread([this, message = std::move(message), at_least, peers = FetchPeersLocked(leader)]() mutable {
    absl::StatusOr<Checkpoint> checkpoint = fetch_.Run(at_least, peers, &cancel_fetch_);
    Fetched fetched{std::move(message), std::move(checkpoint)};
    {
      std::lock_guard lock(inbox_mutex_);
      fetched_ = std::move(fetched);
    }
    inbox_wake_.notify_one();
  });
}

void Replica::DiscardFetchedLocked() {
  if (fetcher_.joinable()) fetcher_.join();  // it has handed over its result already
  fetcher_ = std::thread([this] {
    if (absl::Status status = fetch_.Discard(); !status.ok()) {
      LogWarn("replication", "checkpoint left behind", {{"status", status}});
    }
    std::lock_guard lock(mutex_);
    fetching_ = false;
  });
}

// Loop thread. False: to be called again with the same. The term may have changed since the fetch began, and the core
// takes nothing of an older one. But what is fetched is a state that was committed, which every later leader has: it is
// as good as if that leader had offered it. While there is none, it waits for one.
bool Replica::TakeFetched(Fetched* fetched) {
  std::lock_guard lock(mutex_);
  if (closed_ || dead_) return true;
  if (!fetched->message) {
    TakeStateLocked(std::move(fetched->checkpoint));
    return true;
  }
  if (fetched->checkpoint.ok() && fetched->message->term < core_.term() && !core_.IsLeader()) {
    if (core_.leader() == ReplicaId()) return false;
    fetched->message->term = core_.term();
    fetched->message->from = core_.leader();
  }
  const MonotonicTime now = Now();
  auto reference = std::make_shared<raft::SnapshotReference>();
  absl::Status status = fetched->checkpoint.status();
  if (status.ok()) {
    std::optional<raft::Configuration> configuration = raft::DecodeConfiguration(fetched->checkpoint->configuration);
    if (!configuration) status = DataLoss("the checkpoint names no valid members");
    if (configuration) reference->configuration = *std::move(configuration);
  }
  NoteFetch(status);
  if (!status.ok()) {
    core_.SnapshotFailed(*fetched->message);
    fetching_ = false;
    DriveLocked();
    return true;
  }
  reference->index = fetched->checkpoint->point.position;
  reference->term = fetched->checkpoint->point.term;
  reference->address = fetched->checkpoint->directory.string();
  fetched->message->snapshot = std::move(reference);
  core_.Step(*fetched->message, now);
  const uint64_t before = snapshots_taken_;
  DriveLocked();
  if (snapshots_taken_ == before) DiscardFetchedLocked();  // no longer wanted
  return true;
}

// Loop thread. A fetch is begun again some times a second until it succeeds: the same trouble is told once a minute.
void Replica::NoteFetch(const absl::Status& status) {
  const MonotonicTime now = Now();
  if (status.ok()) return fetch_complaint_.reset();
  if (fetch_complaint_ && fetch_complaint_->code == status.code() && now - fetch_complaint_->at < kComplainAgain)
    return;
  fetch_complaint_ = {status.code(), now};
  LogWarn("replication", "cannot fetch a checkpoint; trying again",
          {{"group", options_.identity.group}, {"replica", options_.identity.replica}, {"status", status}});
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

// --- For peers ---

void Replica::OnCheckpointWanted(Position at_least, const std::string& id,
                                 std::function<void(absl::StatusOr<std::shared_ptr<const Checkpoint>>)> done) {
  if (!id.empty()) {
    if (std::shared_ptr<const Checkpoint> kept = keeper_->Lend(at_least, id)) return done(std::move(kept));
  }
  apply_.PushTask([this, at_least, done = std::move(done)] {
    {
      std::lock_guard lock(mutex_);
      if (closed_ || dead_) return done(Unavailable("this replica is stopping"));
    }
    if (std::shared_ptr<const Checkpoint> kept = keeper_->Lend(at_least)) return done(std::move(kept));
    const Position applied = apply_.applied();
    if (applied < at_least) {
      return done(Unavailable("this replica has applied ", applied.value(), " of ", at_least.value()));
    }
    absl::StatusOr<std::shared_ptr<const Checkpoint>> taken = TakeCheckpoint(applied);
    if (!taken.ok()) return done(taken.status());
    keeper_->Keep(*taken);
    std::shared_ptr<const Checkpoint> lent = keeper_->Lend(at_least);
    if (lent == nullptr) return done(Unavailable("this replica is stopping"));
    done(std::move(lent));
  });
}

// Apply thread.
absl::StatusOr<std::shared_ptr<const Checkpoint>> Replica::TakeCheckpoint(Position applied) {
  const uint64_t number = ++checkpoints_taken_;
  FileSystem* const file_system = file_system_;
  std::shared_ptr<Checkpoint> checkpoint(new Checkpoint, [file_system](Checkpoint* c) {
    if (absl::Status status = file_system->RemoveAll(c->directory); !status.ok()) {
      LogWarn("replication", "checkpoint left behind", {{"status", status}});
    }
    delete c;
  });
  checkpoint->id = StrCat(start_.incarnation, "-", start_.start, "-", number);
  checkpoint->directory = directory_->checkpoints() / StrCat("outgoing-", start_.start, "-", number);
  absl::Status made = file_system_->CreateDirectories(checkpoint->directory);
  if (made.ok()) made = machine_->TakeCheckpoint(checkpoint->directory);
  TERRANE_RETURN_IF_ERROR(Annotate(made, "while taking a checkpoint"));
  std::lock_guard lock(mutex_);
  std::optional<Term> term = core_.log().TermAt(applied);
  if (!term) return Unavailable("the log has moved on");
  checkpoint->point = {applied, *term};
  checkpoint->configuration = raft::EncodeConfiguration(core_.ConfigurationAt(applied));
  return checkpoint;
}

// The log behind what a peer was offered, while it fetches that. Who is silent is not waited for.
Position Replica::NeededByFetchersLocked(Position limit) const {
  if (!core_.IsLeader()) return limit;
  const MonotonicTime silence = 4 * options_.timeouts.election_max;
  for (const raft::PeerStatus& peer : core_.peers()) {
    // Offered is what the log begins behind.
    if (peer.state == raft::ProgressState::kSnapshot && Now() - peer.heard_at < silence) {
      limit = std::min(limit, core_.log().base());
    }
  }
  return limit;
}

// Loop thread. Files are removed by a thread of their own: it may take a while.
void Replica::LetCheckpointGo() {
  std::shared_ptr<const Checkpoint> expired = keeper_->Expired();
  if (expired == nullptr) return;
  if (cleaner_.joinable()) cleaner_.join();  // long over: one expires after a while only
  cleaner_ = std::thread([expired = std::move(expired)]() mutable { expired.reset(); });
}

}  // namespace terrane::replication
