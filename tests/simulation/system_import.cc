#include "simulation/system_import.h"

#include <algorithm>
#include <utility>

#include "rpc/status.h"
#include "shard/convert.h"
#include "shard/import_repair.h"
#include "shard/source_choice.h"
#include "shard/state_records.h"
#include "shard/verify_driver.h"
#include "simulation/system.h"

namespace terrane::simulation {

using shard::ChunkState;
using shard::EntryResult;
using shard::MoveRef;
using shard::OwnedChunk;

namespace {

constexpr Time kCallTimeout = 500ms;
// One call in so many asks any replica; in the first kind of import, which is one of three, hardly any two that follow
// each other have the same view of the source.
constexpr uint64_t kAnyReplicaOften = 2;
constexpr uint64_t kAnyReplica = 10;
constexpr Time kPollWait = 100ms;
constexpr int64_t kSegmentBytes = 1500;
constexpr int64_t kRangeBytes = 1000;
constexpr size_t kRepairBytes = 150;

}  // namespace

// The replicas of the source shard; each call asks one of them, as SourceChoice says, or now and then any.
class ImportTask::Source final : public shard::ImportSource {
 public:
  explicit Source(ImportTask* task)
      : task_(*task), any_one_in_(task->replica_.world().random().OneIn(3) ? kAnyReplicaOften : kAnyReplica) {}

  absl::Status ReadSegment(const v1::ReadSegmentRequest& request,
                           const std::function<absl::Status(v1::SegmentBatch*)>& on_batch) override {
    TERRANE_ASSIGN_OR_RETURN(v1::SegmentBatch batch,
                             Ask<v1::SegmentBatch>("read segment", [request](ShardReplica* from, auto reply) {
                               from->ReadSegment(request, std::move(reply));
                             }));
    // A byte changes on its way; a repair would be tried until it is right, so it is spared.
    World& world = task_.replica_.world();
    if (request.max_bytes() > 0 && batch.documents_size() > 0 &&
        world.Chance(task_.replica_.system().damage_permille)) {
      std::string* document = batch.mutable_documents(0)->mutable_document();
      if (!document->empty()) document->back() ^= 1;
      world.Probe("segment damaged on its way");
    }
    return on_batch(&batch);
  }
  absl::Status HashRange(const v1::HashRangeRequest& request,
                         const std::function<absl::Status(const v1::RangeDigest&)>& on_digest) override {
    using Digests = std::vector<v1::RangeDigest>;
    TERRANE_ASSIGN_OR_RETURN(const Digests digests, Ask<Digests>("hash", [request](ShardReplica* from, auto reply) {
                               from->HashRange(request, std::move(reply));
                             }));
    for (const v1::RangeDigest& digest : digests) TERRANE_RETURN_IF_ERROR(on_digest(digest));
    return absl::OkStatus();
  }
  absl::StatusOr<v1::OplogBatch> ReadOplog(const v1::ReadOplogRequest& request, bool interruptible) override {
    interruptible_ = interruptible;
    auto batch = Ask<v1::OplogBatch>(
        "read oplog", [request](ShardReplica* from, auto reply) { from->ReadOplog(request, std::move(reply)); });
    interruptible_ = interrupted_ = false;
    return batch;
  }
  void Interrupt() override {
    interrupted_ = true;
    task_.Wake();
  }
  void Stop() override {}
  void SetEndpoints(std::vector<std::string>) override {}

 private:
  template <typename R>
  absl::StatusOr<R> Ask(const char* what,
                        std::function<void(ShardReplica*, std::function<void(absl::StatusOr<R>)>)> ask) {
    if (task_.stopping()) return MakeStatus(absl::StatusCode::kCancelled, "stopping");
    if (task_.endpoints_.empty()) return Unavailable("no endpoint of the source is known");
    World& world = task_.replica_.world();
    choice_.SetEndpoints(task_.endpoints_);
    std::string endpoint = choice_.ForBulk(world.now()).endpoint;
    if (world.random().OneIn(any_one_in_)) endpoint = task_.endpoints_[world.random().Below(task_.endpoints_.size())];
    ShardReplica* from = task_.replica_.system().FindReplica(endpoint);
    auto answer = std::make_shared<std::optional<absl::StatusOr<R>>>();
    world.Call<R>(
        &task_.replica_, from, what, kCallTimeout, [from, ask](auto reply) { ask(from, std::move(reply)); },
        [answer, wake = task_.Waker()](absl::StatusOr<R> result) {
          *answer = std::move(result);
          wake();
        });
    const bool came = task_.Await([this, answer] { return answer->has_value() || (interruptible_ && interrupted_); },
                                  2 * kCallTimeout);
    if (!answer->has_value() && (came || task_.stopping())) {
      return MakeStatus(absl::StatusCode::kCancelled, "interrupted");
    }
    if (!answer->has_value()) *answer = absl::DeadlineExceededError("no answer in time");
    const absl::Status& status = (*answer)->status();
    if (status.ok()) {
      choice_.Worked(endpoint, world.now());
    } else if (absl::IsDataLoss(status)) {
      choice_.Damaged(endpoint, world.now());
    } else {
      choice_.Failed(endpoint, world.now());
    }
    return **answer;
  }

  ImportTask& task_;
  const uint64_t any_one_in_;
  shard::SourceChoice choice_;
  bool interruptible_ = false;
  bool interrupted_ = false;
};

ImportTask::ImportTask(ShardReplica* replica, CopyId copy, const MoveRef& move, std::vector<std::string> endpoints)
    : BlockingTask(replica),
      replica_(*replica),
      copy_(copy),
      move_(move),
      endpoints_(std::move(endpoints)),
      source_(std::make_unique<Source>(this)),
      tail_(&host_, source_.get()) {
  host_.store = &replica_.store();
  host_.ownership = [this] { return replica_.applier()->View(); };
  host_.clock = replica;
  host_.propose = [this](v1::ShardEntry entry, std::function<void(absl::StatusOr<EntryResult>)> done) {
    if (stopping()) return done(MakeStatus(absl::StatusCode::kCancelled, "stopping"));
    replica_.ProposeEntry(std::move(entry),
                          [done = std::move(done), wake = Waker()](absl::StatusOr<EntryResult> result) {
                            done(std::move(result));
                            wake();
                          });
  };
  host_.await = [this](const std::function<bool()>& ready, std::chrono::nanoseconds timeout) {
    return Await(ready, timeout);
  };
}

ImportTask::~ImportTask() = default;

void ImportTask::Renew(const MoveRef& move, std::vector<std::string> endpoints) {
  endpoints_ = std::move(endpoints);
  if (move.attempt <= move_.attempt) return;
  move_ = move;
  Wake();
}

absl::StatusOr<OwnedChunk> ImportTask::Chunk() const {
  const auto ownership = replica_.applier()->View();
  const std::vector<const OwnedChunk*> chunks = ownership->OfCopy(copy_);
  if (chunks.size() != 1 || !chunks.front()->import) {
    return NotFound("copy ", copy_.value(), " is not being imported");
  }
  return *chunks.front();
}

absl::Status ImportTask::Wanted() const {
  if (replica_.applier()->View()->IsDead(move_)) return FailedPrecondition("the attempt has ended");
  return Chunk().status();
}

v1::ImportStatus ImportTask::Status() const {
  v1::ImportStatus status;
  status.set_error(error_);
  status.set_cursor(tail_.read_to().value());
  status.set_source_applied(tail_.source_applied().value());
  status.set_apply_entries_per_s(tail_.entries_per_s());
  const auto chunk = Chunk();
  if (!chunk.ok()) {
    status.set_copied(replica_.applier()->View()->OfCopy(copy_).size() == 1);
    return status;
  }
  status.set_segments(static_cast<int64_t>(chunk->import->segments.size()));
  status.set_copied(chunk->import->Covers(chunk->range));
  status.set_cursor(std::max(status.cursor(), chunk->import->Cursor().value()));
  status.set_lag_entries(
      static_cast<int64_t>(status.source_applied() > status.cursor() ? status.source_applied() - status.cursor() : 0));
  return status;
}

v1::VerifyStatus ImportTask::Verify(bool restart) {
  const bool stale = verify_wanted_ && (verify_move_ != move_ || (restart && verify_.done()));
  if (!verify_wanted_ || stale) {
    verify_wanted_ = true;
    verify_move_ = move_;
    verify_ = v1::VerifyStatus();
    source_->Interrupt();
    Wake();
  }
  return verify_;
}

void ImportTask::Complete(const v1::CompleteStep& step, CompleteDone done) {
  if (stopping() || ended()) return done(MakeStatus(absl::StatusCode::kCancelled, "the import has ended"));
  completions_.push_back({step, std::move(done)});
  source_->Interrupt();
  Wake();
}

void ImportTask::FailCompletions(const absl::Status& status) {
  for (Completion& completion : std::exchange(completions_, {})) completion.done(status);
}

void ImportTask::Body() {
  Time pause = 20ms;
  while (!stopping()) {
    const MoveRef move = move_;
    const absl::Status status = Step();
    const bool interrupted = absl::IsCancelled(status) || move_ != move;
    if (!interrupted) error_ = status.ok() ? "" : std::string(MessageOf(status));
    if (status.ok() || interrupted) {
      pause = 20ms;
      // Whatever it does takes a moment.
      Await([] { return false; }, 1ms);
      continue;
    }
    if (replica_.world().tracing()) {
      replica_.world().Trace(StrCat(replica_.name(), " import of copy ", copy_.value(), ": ", status.ToString()));
    }
    tail_valid_ = false;
    FailCompletions(status);
    if (!Wanted().ok()) {
      Await([&] { return move_ != move || !completions_.empty(); }, 1h);
      continue;
    }
    Await([this] { return !completions_.empty(); }, pause);
    pause = std::min<Time>(2 * pause, 1000ms);
  }
  FailCompletions(MakeStatus(absl::StatusCode::kCancelled, "the import has ended"));
}

absl::Status ImportTask::Step() {
  TERRANE_RETURN_IF_ERROR(Wanted());
  TERRANE_ASSIGN_OR_RETURN(const OwnedChunk chunk, Chunk());
  if (chunk.state != ChunkState::kImporting) {
    FailCompletions(FailedPrecondition("the copy is complete"));
    Await([this] { return !completions_.empty(); }, kPollWait);
    return absl::OkStatus();
  }
  if (!chunk.import->Covers(chunk.range)) {
    FailCompletions(Unavailable("the copy is still being copied"));
    return Copy(chunk);
  }
  if (chunk.import->open_position.value() != 0) {
    replica_.world().Probe("an open range is begun again");
    tail_valid_ = false;
    return RepairRange(host_, source_.get(),
                       {.move = move_,
                        .source_copy = chunk.import->source_copy,
                        .copy = copy_,
                        .range = chunk.import->open_range,
                        .min_position = std::max(chunk.import->Cursor(), chunk.import->open_position),
                        .batch_bytes = kRepairBytes});
  }
  if (!tail_valid_ || tail_move_ != move_) {
    tail_.Refresh(chunk, move_);
    tail_valid_ = true;
    tail_move_ = move_;
  }
  if (!completions_.empty()) {
    Completion completion = std::move(completions_.front());
    completions_.pop_front();
    absl::StatusOr<EntryResult> result = tail_.Complete(completion.step);
    completion.done(std::move(result));
    tail_valid_ = false;
    return absl::OkStatus();
  }
  if (verify_wanted_ && verify_move_ == move_ && !verify_.done() && replica_.world().now() >= verify_not_before_) {
    const absl::Status status = RunVerify();
    tail_valid_ = false;
    verify_.set_error(status.ok() ? "" : std::string(MessageOf(status)));
    verify_not_before_ = replica_.world().now() + 20ms;
    if (status.ok() || !shard::VerifyRun::IsPassing(status)) {
      verify_.set_equal(status.ok());
      verify_.set_done(true);
    }
    return absl::OkStatus();
  }
  return tail_.Poll(std::chrono::duration_cast<std::chrono::milliseconds>(kPollWait));
}

absl::Status ImportTask::Copy(const OwnedChunk& chunk) {
  const MoveRef move = move_;
  TERRANE_ASSIGN_OR_RETURN(const shard::ReadySegment segment, FetchSegment(host_.store, source_.get(),
                                                                           {.move = move,
                                                                            .source_copy = chunk.import->source_copy,
                                                                            .copy = copy_,
                                                                            .range = MissingRange(chunk),
                                                                            .pin = chunk.import->pin,
                                                                            .segment_bytes = kSegmentBytes}));
  TERRANE_RETURN_IF_ERROR(SpreadFiles(segment.built.files));
  v1::ShardEntry entry;
  v1::IngestSegment* ingest = entry.mutable_ingest_segment();
  *ingest->mutable_move() = ToProto(move);
  ingest->set_copy_id(copy_.value());
  *ingest->mutable_range() = shard::ToProto(segment.range);
  ingest->set_source_position(segment.position.value());
  for (const storage::SegmentFile& file : segment.built.files) ToProto(file, ingest->add_files());
  ToProto(segment.built.digest, ingest->mutable_digest());
  return ProposeImportEntry(host_, std::move(entry), move).status();
}

// A majority holds the files, synced, before an entry names them (trap T60).
absl::Status ImportTask::SpreadFiles(const std::vector<storage::SegmentFile>& files) {
  const auto& replicas = replica_.group().replicas;
  const size_t needed = replicas.size() / 2;  // besides this one
  if (files.empty() || needed == 0) return absl::OkStatus();
  auto held = std::make_shared<size_t>(0);
  for (RaftReplica* raft_peer : replicas) {
    if (raft_peer == &replica_) continue;
    auto* peer = static_cast<ShardReplica*>(raft_peer);
    std::vector<std::pair<std::string, std::shared_ptr<const storage::MemorySegment>>> content;
    for (const storage::SegmentFile& file : files) content.emplace_back(file.name, replica_.FindFile(file.name));
    replica_.world().Call<bool>(
        &replica_, peer, "hold segment", kCallTimeout,
        [peer, content](auto reply) {
          for (const auto& [name, bytes] : content) peer->HoldFile(name, bytes);
          reply(true);
        },
        [held, wake = Waker()](const absl::StatusOr<bool>& answer) {
          if (answer.ok()) ++*held;
          wake();
        });
  }
  if (Await([held, needed] { return *held >= needed; }, kCallTimeout)) return absl::OkStatus();
  return Unavailable("no majority holds the files of the segment");
}

// ---- verification ---------------------------------------------------------------------------------------------------

absl::Status ImportTask::RunVerify() {
  for (int round = 0; round < shard::VerifyRun::kMaxRounds; ++round) {
    TERRANE_ASSIGN_OR_RETURN(const OwnedChunk chunk, Chunk());
    tail_.Refresh(chunk, move_);
    TERRANE_ASSIGN_OR_RETURN(const Round result, Compare(chunk));
    if (result.different.empty() && result.scanned == result.running) return absl::OkStatus();
    for (const KeyRange& range : result.different) {
      replica_.world().Probe("range repaired");
      *verify_.add_repaired() = shard::ToProto(range);
      TERRANE_RETURN_IF_ERROR(RepairRange(host_, source_.get(),
                                          {.move = move_,
                                           .source_copy = chunk.import->source_copy,
                                           .copy = copy_,
                                           .range = range,
                                           .min_position = tail_.read_to(),
                                           .batch_bytes = kRepairBytes}));
    }
    if (!result.different.empty()) continue;
    v1::ShardEntry entry;
    v1::Recertify* recertify = entry.mutable_recertify();
    recertify->set_copy_id(copy_.value());
    *recertify->mutable_range() = shard::ToProto(chunk.range);
    ToProto(result.scanned - result.running, recertify->mutable_difference());
    TERRANE_RETURN_IF_ERROR(ProposeImportEntry(host_, std::move(entry), move_).status());
  }
  return DataLoss("source and target still differ after ", shard::VerifyRun::kMaxRounds, " rounds");
}

absl::StatusOr<ImportTask::Round> ImportTask::Compare(const OwnedChunk& chunk) {
  v1::HashRangeRequest request;
  *request.mutable_move() = ToProto(move_);
  request.set_copy_id(chunk.import->source_copy.value());
  *request.mutable_range() = shard::ToProto(chunk.range);
  request.set_range_bytes(kRangeBytes);
  request.set_min_position(tail_.read_to().value());
  Round round;
  std::shared_ptr<const storage::ReadView> view;
  std::optional<std::string> reached = chunk.range.min;  // nullopt: +infinity
  TERRANE_RETURN_IF_ERROR(source_->HashRange(request, [&](const v1::RangeDigest& theirs) -> absl::Status {
    if (view == nullptr) {
      TERRANE_RETURN_IF_ERROR(tail_.To(Position(theirs.position())));
      TERRANE_ASSIGN_OR_RETURN(view, host_.store->View(copy_));
    }
    if (!theirs.has_range()) return absl::OkStatus();
    const KeyRange part = shard::FromProto(theirs.range());
    if (!reached || part.min != *reached || !chunk.range.Contains(part)) {
      return Internal("the source hashed a range out of its place");
    }
    reached = part.max;
    TERRANE_ASSIGN_OR_RETURN(const storage::ChunkDigest ours, storage::ScanDigest(*view, copy_, part));
    round.scanned += ours;
    if (ours != storage::FromProto(theirs.digest())) round.different.push_back(part);
    return absl::OkStatus();
  }));
  if (view == nullptr || reached != chunk.range.max) return Unavailable("the source ended its hashes in the middle");
  TERRANE_ASSIGN_OR_RETURN(const shard::Ownership ownership, shard::LoadOwnership(*view));
  const OwnedChunk* then = ownership.Find(copy_, chunk.range);
  if (then == nullptr) return FailedPrecondition("the copy is gone");
  round.running = then->digest;
  return round;
}

}  // namespace terrane::simulation
