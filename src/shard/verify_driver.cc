#include "shard/verify_driver.h"

#include <algorithm>
#include <future>
#include <optional>
#include <utility>

#include "common/logging.h"
#include "common/status.h"
#include "shard/background.h"
#include "shard/convert.h"
#include "shard/import_repair.h"
#include "shard/peer_audit.h"
#include "shard/state_records.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

constexpr std::chrono::milliseconds kFirstPause{20};
constexpr std::chrono::milliseconds kGreatestPause{1000};

}  // namespace

// Where the run and the import's thread agree on a position: the cursor that the source's snapshot must reach, the
// position that it has, and this side's view at it.
class VerifyRun::Meeting {
 public:
  using View = std::shared_ptr<const storage::ReadView>;

  void SetCursor(Position cursor) {
    Set([&] { cursor_ = cursor; });
  }
  void SetSource(Position source) {
    Set([&] { source_position_ = source; });
  }
  void SetView(View view) {
    Set([&] { view_ = std::move(view); });
  }
  void Fail(const absl::Status& status) {
    Set([&] {
      if (failed_.ok()) failed_ = status;
    });
  }
  absl::StatusOr<Position> Cursor() { return Await(cursor_); }
  absl::StatusOr<Position> Source() { return Await(source_position_); }
  absl::StatusOr<View> TakeView() { return Await(view_); }

 private:
  template <typename Function>
  void Set(const Function& set) {
    std::lock_guard lock(mutex_);
    set();
    changed_.notify_all();
  }
  template <typename T>
  absl::StatusOr<T> Await(std::optional<T>& value) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return value || !failed_.ok(); });
    if (!value) return failed_;
    return *value;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Position> cursor_;
  std::optional<Position> source_position_;
  std::optional<View> view_;
  absl::Status failed_;
};

bool VerifyRun::IsPassing(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kResourceExhausted:
      return true;
    default:
      return false;
  }
}

VerifyRun::VerifyRun(const ImportHost* host, ImportSource* source, const Options& options, Post post)
    : host_(host), source_(source), options_(options), post_(std::move(post)), thread_([this] { Run(); }) {}

VerifyRun::~VerifyRun() {
  Cancel();
  thread_.join();
}

void VerifyRun::Cancel() {
  std::lock_guard lock(mutex_);
  cancelled_ = true;
  changed_.notify_all();
}

bool VerifyRun::Cancelled() const {
  std::lock_guard lock(mutex_);
  return cancelled_;
}

v1::VerifyStatus VerifyRun::Status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

void VerifyRun::Run() {
  YieldToRequests();
  std::chrono::milliseconds pause = kFirstPause;
  while (true) {
    const absl::Status status = Verify();
    std::unique_lock lock(mutex_);
    if (cancelled_) return;
    status_.set_error(status.ok() ? "" : std::string(MessageOf(status)));
    if (status.ok() || !IsPassing(status)) {
      status_.set_equal(status.ok());
      status_.set_done(true);
      return;
    }
    changed_.wait_for(lock, pause, [this] { return cancelled_; });
    if (cancelled_) return;
    pause = std::min(2 * pause, kGreatestPause);
  }
}

absl::StatusOr<OwnedChunk> VerifyRun::Chunk() const {
  const std::shared_ptr<const Ownership> ownership = host_->ownership();
  const std::vector<const OwnedChunk*> chunks = ownership->OfCopy(options_.copy);
  if (chunks.size() != 1 || !chunks.front()->import) {
    return FailedPrecondition("copy ", options_.copy.value(), " is not being imported");
  }
  return *chunks.front();
}

absl::Status VerifyRun::Verify() {
  for (int round = 0; round < kMaxRounds; ++round) {
    TERRANE_ASSIGN_OR_RETURN(const OwnedChunk chunk, Chunk());
    TERRANE_ASSIGN_OR_RETURN(const Round result, Compare(chunk));
    if (result.different.empty() && result.scanned == result.running) return AuditOthers(chunk);
    TERRANE_RETURN_IF_ERROR(MayMend(result));
    for (const KeyRange& range : result.different) TERRANE_RETURN_IF_ERROR(Repair(chunk, range));
    // Equal to the source on disk, so what was scanned is right and the sum is not.
    if (result.different.empty()) TERRANE_RETURN_IF_ERROR(Recertify(chunk, result.scanned - result.running));
  }
  return DataLoss("source and target still differ after ", kMaxRounds, " rounds");
}

// Repairs and Recertify are entries, which all replicas apply: what sets a damaged one right would set the running
// digests of the sound ones wrong.
absl::Status VerifyRun::MayMend(const Round& round) const {
  if (round.scanned == round.running || !host_->peers) return absl::OkStatus();
  const std::vector<PeerReplica> others = host_->peers()->Others();
  if (std::none_of(others.begin(), others.end(), [](const PeerReplica& other) { return other.voter; })) {
    return absl::OkStatus();
  }
  absl::Status damaged = DataLoss("copy ", options_.copy.value(), " is damaged on the target's leader: its scan gives ",
                                  round.scanned.ToString(), ", its running digest is ", round.running.ToString());
  LogError("verify", "this replica's copy is damaged", {{"migration", options_.move.id}, {"status", damaged}});
  return damaged;
}

// Their running digests follow from the same entries as ours, so each needs only be compared with itself.
absl::Status VerifyRun::AuditOthers(const OwnedChunk& chunk) const {
  if (!host_->peers) return absl::OkStatus();
  const std::unique_ptr<PeerReplicas> peers = host_->peers();
  return AuditPeers(peers.get(), options_.copy, chunk.range, host_->store->AppliedPosition(),
                    [this] { return Cancelled(); });
}

absl::StatusOr<VerifyRun::Round> VerifyRun::Compare(const OwnedChunk& chunk) {
  auto meeting = std::make_shared<Meeting>();
  post_(
      [meeting, store = host_->store, copy = options_.copy](ImportTail& tail) -> absl::Status {
        meeting->SetCursor(tail.read_to());
        const absl::StatusOr<Position> source = meeting->Source();
        if (!source.ok()) return absl::OkStatus();  // not the tail's failure
        TERRANE_RETURN_IF_ERROR(tail.To(*source));
        TERRANE_ASSIGN_OR_RETURN(Meeting::View view, store->View(copy));
        meeting->SetView(std::move(view));
        return absl::OkStatus();
      },
      [meeting](const absl::Status& status) {
        if (!status.ok()) meeting->Fail(status);
      });
  TERRANE_ASSIGN_OR_RETURN(const Position cursor, meeting->Cursor());

  v1::HashRangeRequest request;
  *request.mutable_move() = ToProto(options_.move);
  request.set_copy_id(chunk.import->source_copy.value());
  *request.mutable_range() = ToProto(chunk.range);
  request.set_range_bytes(options_.range_bytes);
  request.set_min_position(cursor.value());
  Round round;
  Meeting::View view;
  std::optional<std::string> reached = chunk.range.min;  // nullopt: +infinity
  {
    std::lock_guard lock(mutex_);
    status_.set_documents(0);
    status_.set_bytes(0);
  }
  const absl::Status status = source_->HashRange(request, [&](const v1::RangeDigest& theirs) -> absl::Status {
    if (Cancelled()) return MakeStatus(absl::StatusCode::kCancelled, "the verification was stopped");
    if (view == nullptr) {
      meeting->SetSource(Position(theirs.position()));
      TERRANE_ASSIGN_OR_RETURN(view, meeting->TakeView());
    }
    if (!theirs.has_range()) return absl::OkStatus();
    const KeyRange part = FromProto(theirs.range());
    if (!reached || part.min != *reached || !chunk.range.Contains(part)) {
      return Internal("the source hashed ", part.ToString(), " out of its place");
    }
    reached = part.max;
    TERRANE_ASSIGN_OR_RETURN(const storage::ChunkDigest ours, storage::ScanDigest(*view, options_.copy, part));
    round.scanned += ours;
    if (ours != storage::FromProto(theirs.digest())) round.different.push_back(part);
    std::lock_guard lock(mutex_);
    status_.set_documents(round.scanned.documents.count);
    status_.set_bytes(round.scanned.documents.bytes + round.scanned.retries.bytes);
    return absl::OkStatus();
  });
  if (!status.ok()) {
    meeting->Fail(status);
    return status;
  }
  if (view == nullptr || reached != chunk.range.max) {
    meeting->Fail(Unavailable("the source ended its hashes in the middle"));
    return Unavailable("the source ended its hashes in the middle");
  }
  TERRANE_ASSIGN_OR_RETURN(const Ownership ownership, LoadOwnership(*view));
  const OwnedChunk* then = ownership.Find(options_.copy, chunk.range);
  if (then == nullptr) return FailedPrecondition("copy ", options_.copy.value(), " is gone");
  round.running = then->digest;
  return round;
}

absl::Status VerifyRun::Repair(const OwnedChunk& chunk, const KeyRange& range) {
  LogWarn("verify", "a range differs from the source and is copied again",
          {{"copy", options_.copy}, {"migration", options_.move.id}, {"range", range.ToString()}});
  {
    std::lock_guard lock(mutex_);
    *status_.add_repaired() = ToProto(range);
  }
  auto done = std::make_shared<std::promise<absl::Status>>();
  std::future<absl::Status> future = done->get_future();
  post_(
      [this, source_copy = chunk.import->source_copy, range](ImportTail& tail) {
        return RepairRange(*host_, source_,
                           {.move = options_.move,
                            .source_copy = source_copy,
                            .copy = options_.copy,
                            .range = range,
                            .min_position = tail.read_to()});
      },
      [done](absl::Status status) { done->set_value(std::move(status)); });
  return future.get();
}

absl::Status VerifyRun::Recertify(const OwnedChunk& chunk, const storage::ChunkDigest& difference) {
  LogWarn("verify", "the running digest of the copy is set to what was scanned, which equals the source",
          {{"copy", options_.copy}, {"migration", options_.move.id}});
  v1::ShardEntry entry;
  v1::Recertify* recertify = entry.mutable_recertify();
  recertify->set_copy_id(options_.copy.value());
  *recertify->mutable_range() = ToProto(chunk.range);
  ToProto(difference, recertify->mutable_difference());
  return ProposeImportEntry(*host_, std::move(entry), options_.move).status();
}

}  // namespace terrane::shard
