#include "shard/segment_files.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <utility>

#include "common/logging.h"
#include "common/status.h"
#include "rpc/status.h"
#include "shard/background.h"
#include "shard/convert.h"
#include "storage/segment.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
using storage::SegmentFile;

namespace {

// A peer that has this many calls under way is not asked again; it will fetch when it applies.
constexpr size_t kCallsPerPeer = 2;
// Enough for every peer of a group of five: those that do not answer take no thread that the others need.
constexpr int kHolders = 4 * kCallsPerPeer;
constexpr std::chrono::milliseconds kHoldCallTimeout{30000};
constexpr std::chrono::milliseconds kLookAgain{50};
constexpr size_t kChunkBytes = 1 << 20;

// "c20-m7-a1-...": whose file it is.
struct FileOwner {
  CopyId copy;
  MoveRef move;
};
// Takes letter, number and the '-' behind them off the front.
template <typename Number>
bool TakePart(std::string_view* name, char letter, Number* out) {
  if (name->empty() || name->front() != letter) return false;
  const auto [end, error] = std::from_chars(name->data() + 1, name->data() + name->size(), *out);
  if (error != std::errc() || end == name->data() + name->size() || *end != '-') return false;
  name->remove_prefix(static_cast<size_t>(end + 1 - name->data()));
  return true;
}
std::optional<FileOwner> OwnerOf(std::string_view name) {
  uint32_t copy = 0;
  uint64_t id = 0;
  uint32_t attempt = 0;
  if (!TakePart(&name, 'c', &copy) || !TakePart(&name, 'm', &id) || !TakePart(&name, 'a', &attempt)) {
    return std::nullopt;
  }
  return FileOwner{CopyId(copy), {MigrationId(id), Attempt(attempt)}};
}

// A name that came over the wire becomes a path.
absl::Status CheckName(CopyId copy, std::string_view name) {
  const auto owner = OwnerOf(name);
  if (owner && owner->copy == copy && name.find('/') == std::string_view::npos && name.ends_with(".sst")) {
    return absl::OkStatus();
  }
  return InvalidArgument("'", name, "' does not name a segment file of copy ", copy.value());
}

}  // namespace

bool IsGarbage(const Ownership& ownership, std::string_view file_name) {
  const auto owner = OwnerOf(file_name);
  if (!owner) return false;
  const std::vector<const OwnedChunk*> chunks = ownership.OfCopy(owner->copy);
  if (!chunks.empty()) return chunks.front()->state != ChunkState::kImporting;
  return ownership.IsDead(owner->move);
}

// Shared by the caller and the calls to the peers, which may outlast it.
struct SegmentFiles::Holding {
  v1::HoldSegmentRequest request;
  std::mutex mutex;
  std::condition_variable changed;
  struct Peer {
    bool asked = false;  // a call is under way
    bool holds = false;
    MonotonicTime again{0};
    absl::Status last;
  };
  std::vector<Peer> peers;
};

SegmentFiles::SegmentFiles(Options options)
    : options_(std::move(options)), holders_(std::make_unique<Executor>("hold", kHolders)) {}

SegmentFiles::~SegmentFiles() {
  Stop();
}

void SegmentFiles::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }
  if (options_.peers) options_.peers->Stop();
}

bool SegmentFiles::Stopped() const {
  std::lock_guard lock(mutex_);
  return stopped_;
}

bool SegmentFiles::Rest(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, time, [this] { return stopped_; });
}

// ---- the leader ----

absl::Status SegmentFiles::HoldOnMajority(const MoveRef& move, CopyId copy, std::span<const SegmentFile> files,
                                          const std::function<bool()>& cancelled) {
  if (files.empty() || !options_.peers) return absl::OkStatus();
  std::vector<PeerReplica> voters = options_.peers->Others();
  std::erase_if(voters, [](const PeerReplica& peer) { return !peer.voter; });
  const size_t needed = (voters.size() + 1) / 2;  // beside this one
  if (needed == 0) return absl::OkStatus();

  auto holding = std::make_shared<Holding>();
  *holding->request.mutable_move() = ToProto(move);
  holding->request.set_copy_id(copy.value());
  holding->request.set_from(options_.endpoint());
  for (const SegmentFile& file : files) storage::ToProto(file, holding->request.add_files());
  holding->peers.resize(voters.size());
  const MonotonicTime deadline = Clock::System()->Now() + options_.hold_timeout;
  while (true) {
    const MonotonicTime now = Clock::System()->Now();
    size_t hold = 0;
    std::string why;
    for (size_t i = 0; i < voters.size(); ++i) {
      std::unique_lock lock(holding->mutex);
      Holding::Peer& peer = holding->peers[i];
      hold += peer.holds ? 1 : 0;
      if (!peer.holds && !peer.last.ok()) why = StrCat(why, "; ", voters[i].endpoint, ": ", MessageOf(peer.last));
      if (peer.holds || peer.asked || now < peer.again) continue;
      peer.asked = true;
      lock.unlock();
      AskToHold(holding, voters[i], i);
    }
    if (hold >= needed) return absl::OkStatus();
    if (Stopped() || cancelled()) return MakeStatus(absl::StatusCode::kCancelled, "the import is stopping");
    if (now >= deadline) {
      return Unavailable("no majority of this shard's replicas holds a segment of copy ", copy.value(), ": ", hold + 1,
                         " of ", voters.size() + 1, why);
    }
    std::unique_lock lock(holding->mutex);
    holding->changed.wait_for(lock, kLookAgain);
  }
}

void SegmentFiles::AskToHold(const std::shared_ptr<Holding>& holding, const PeerReplica& peer, size_t index) {
  auto answered = [this, holding, index](absl::Status status) {
    std::lock_guard lock(holding->mutex);
    Holding::Peer& state = holding->peers[index];
    state.asked = false;
    state.holds = status.ok();
    state.again = Clock::System()->Now() + options_.pause;
    state.last = std::move(status);
    holding->changed.notify_all();
  };
  {
    std::lock_guard lock(mutex_);
    if (asked_to_hold_.count(peer.endpoint) >= kCallsPerPeer) {
      return answered(Unavailable("it is still busy with the segments before"));
    }
    asked_to_hold_.insert(peer.endpoint);
  }
  const bool posted = holders_->Post([this, holding, peer, answered] {
    absl::Status status = options_.peers->HoldSegment(peer, holding->request, kHoldCallTimeout).status();
    {
      std::lock_guard lock(mutex_);
      asked_to_hold_.erase(asked_to_hold_.find(peer.endpoint));
    }
    answered(std::move(status));
  });
  if (posted) return;
  {
    std::lock_guard lock(mutex_);
    asked_to_hold_.erase(asked_to_hold_.find(peer.endpoint));
  }
  answered(MakeStatus(absl::StatusCode::kCancelled, "this replica is stopping"));
}

// ---- whoever lacks a file ----

absl::StatusOr<v1::HoldSegmentResponse> SegmentFiles::Hold(const v1::HoldSegmentRequest& request) {
  const MoveRef move = FromProto(request.move());
  const CopyId copy(request.copy_id());
  if (options_.ownership()->IsDead(move)) {
    return rpc::WithReason(
        FailedPrecondition("attempt ", move.attempt.value(), " of migration ", move.id.value(), " has ended"),
        v1::ErrorDetail::STALE_ATTEMPT);
  }
  if (!options_.peers) return FailedPrecondition("this shard has one replica");
  const PeerReplica from{.replica = ReplicaId(0), .endpoint = request.from()};
  v1::HoldSegmentResponse response;
  int64_t fetched = 0;
  for (const v1::SegmentFile& named : request.files()) {
    const SegmentFile file = storage::FromProto(named);
    TERRANE_RETURN_IF_ERROR(CheckName(copy, file.name));
    // Here and not in Obtain: what is committed is applied whatever the space, or the deletes behind it never were.
    if (!options_.store->HasSegmentFile(file)) {
      TERRANE_RETURN_IF_ERROR(options_.store->CheckSpace(static_cast<uint64_t>(file.bytes)));
    }
    TERRANE_RETURN_IF_ERROR(Obtain(copy, file, std::span(&from, 1), &fetched));
  }
  response.set_fetched_bytes(fetched);
  return response;
}

absl::Status SegmentFiles::Provide(CopyId copy, std::span<const SegmentFile> files) {
  if (!options_.peers) return absl::OkStatus();         // what is missing is the ingest's to name
  MonotonicTime missed_since = Clock::System()->Now();  // by everybody who answers
  bool said = false;
  while (true) {
    absl::Status status;
    for (const SegmentFile& file : files) {
      if (options_.store->HasSegmentFile(file)) continue;
      const std::vector<PeerReplica> peers = options_.peers->Others();
      if (peers.empty()) return absl::OkStatus();
      int64_t fetched = 0;
      status = Obtain(copy, file, peers, &fetched);
      if (!status.ok()) break;
      LogInfo("shard", "fetched a segment file that an entry names",
              {{"copy", copy}, {"file", file.name}, {"bytes", fetched}});
    }
    if (status.ok()) return status;
    if (Stopped()) return MakeStatus(absl::StatusCode::kCancelled, "this replica is stopping");
    if (!std::exchange(said, true)) {
      LogWarn("shard", "an entry names a segment file that cannot be had; nothing is applied meanwhile",
              {{"copy", copy}, {"status", status}});
    }
    const MonotonicTime now = Clock::System()->Now();
    if (absl::IsNotFound(status)) return status;
    // Somebody does not answer. If the others all say no, that one may have it, or may be gone for good.
    if (status.code() != absl::StatusCode::kAborted) {
      missed_since = now;
    } else if (now - missed_since >= options_.patience) {
      return NotFound(MessageOf(status));
    }
    if (options_.hand_on) options_.hand_on();
    if (!Rest(options_.pause)) return MakeStatus(absl::StatusCode::kCancelled, "this replica is stopping");
  }
}

absl::Status SegmentFiles::Obtain(CopyId copy, const SegmentFile& file, std::span<const PeerReplica> peers,
                                  int64_t* fetched) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopped_ || !fetching_.contains(file.name); });
    if (stopped_) return MakeStatus(absl::StatusCode::kCancelled, "this replica is stopping");
    fetching_.insert(file.name);
  }
  absl::Status status;
  if (!options_.store->HasSegmentFile(file)) {
    status = FetchFrom(peers, copy, file);
    if (status.ok()) *fetched += file.bytes;
  }
  std::lock_guard lock(mutex_);
  fetching_.erase(file.name);
  changed_.notify_all();
  return status;
}

absl::Status SegmentFiles::FetchFrom(std::span<const PeerReplica> peers, CopyId copy, const SegmentFile& file) {
  std::unique_ptr<storage::SegmentReceiver> receiver;
  size_t without = 0;
  absl::Status last = NotFound("nobody else has segment file ", file.name);
  for (const PeerReplica& peer : peers) {
    if (receiver == nullptr) {
      TERRANE_ASSIGN_OR_RETURN(receiver, options_.store->ReceiveSegmentFile(file));
    }
    // Goes on where the one before broke off: the bytes are the same everywhere, or the checksum says so.
    absl::Status status = options_.peers->FetchFile(peer, copy, file.name, receiver->received(),
                                                    [&](std::string_view data) { return receiver->Append(data); });
    if (status.ok()) status = receiver->Finish();
    if (status.ok()) return status;
    if (absl::IsNotFound(status)) {
      ++without;
      continue;
    }
    if (absl::IsDataLoss(status)) receiver.reset();
    last = Annotate(status, StrCat("fetching segment file ", file.name, " from ", peer.endpoint));
  }
  if (without == peers.size()) return NotFound("no other replica has segment file ", file.name);
  if (without > 0)
    return Aborted(without, " other replicas do not have segment file ", file.name, "; ", MessageOf(last));
  return last;
}

absl::Status SegmentFiles::Read(CopyId copy, const std::string& name, int64_t offset,
                                const std::function<bool(std::string)>& emit) const {
  TERRANE_RETURN_IF_ERROR(CheckName(copy, name));
  std::ifstream in(options_.store->SegmentPath(name), std::ios::binary);
  if (!in) return NotFound("segment file ", name, " is not here");
  in.seekg(std::max<int64_t>(0, offset));
  while (true) {
    std::string chunk(kChunkBytes, '\0');
    in.read(chunk.data(), static_cast<std::streamsize>(chunk.size()));
    chunk.resize(static_cast<size_t>(std::max<std::streamsize>(0, in.gcount())));
    const bool last = chunk.size() < kChunkBytes;
    if (!chunk.empty() && !emit(std::move(chunk))) return MakeStatus(absl::StatusCode::kCancelled, "nobody listens");
    if (in.bad()) return DataLoss("segment file ", name, " cannot be read");
    if (last) return absl::OkStatus();
  }
}

// ---- tidying ----

Position SegmentFiles::AppliedByAll() {
  Position least(UINT64_MAX);
  for (const PeerReplica& peer : options_.peers->Others()) {
    const absl::StatusOr<Position> applied = options_.peers->Applied(peer);
    if (!applied.ok()) return Position(0);
    least = std::min(least, *applied);
  }
  return least;
}

void SegmentFiles::Tidy() {
  const std::vector<storage::KeptSegmentFile> kept = options_.store->KeptSegmentFiles();
  if (!kept.empty()) {
    Position greatest;
    for (const storage::KeptSegmentFile& file : kept) greatest = std::max(greatest, file.position);
    Position limit = options_.store->AppliedPosition();
    if (options_.peers) {
      const Position first = options_.log_first();
      Position needless(first.value() == 0 ? 0 : first.value() - 1);
      if (greatest > needless) needless = std::max(needless, AppliedByAll());
      limit = std::min(limit, needless);
    }
    if (absl::Status status = options_.store->ForgetSegmentFiles(limit); !status.ok()) {
      LogWarn("shard", "segment files were not removed", {{"status", status}});
    }
  }
  // The ownership first: what is kept is asked file by file later, so a file that an entry takes in meanwhile is seen.
  const std::shared_ptr<const Ownership> ownership = options_.ownership();
  options_.store->RemoveSegmentFiles([&](std::string_view name) { return IsGarbage(*ownership, name); });
}

}  // namespace terrane::shard
