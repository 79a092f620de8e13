#include "shard/import_driver.h"

#include <algorithm>
#include <future>
#include <utility>

#include "common/clock.h"
#include "common/logging.h"
#include "common/status.h"
#include "rpc/status.h"
#include "shard/convert.h"
#include "shard/import_repair.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

constexpr std::chrono::milliseconds kFirstPause{20};
constexpr std::chrono::milliseconds kGreatestPause{1000};
constexpr std::string_view kPace = "as fast as the shards allow";

}  // namespace

ImportDriver::ImportDriver(ImportHost host, std::unique_ptr<ImportSource> source, CopyId copy, const MoveRef& move,
                           const Options& options, std::shared_ptr<std::atomic<int>> completing)
    : host_(std::move(host)),
      source_(std::move(source)),
      copy_(copy),
      options_(options),
      completing_(std::move(completing)),
      tail_(&host_, source_.get()),
      move_(move) {
  status_.set_pace(std::string(kPace));
  thread_ = std::thread([this] { Run(); });
}

ImportDriver::~ImportDriver() {
  BeginStop();
  thread_.join();
  // Its posts are refused from now on, so it ends.
  std::unique_ptr<VerifyRun> verify;
  {
    std::lock_guard lock(mutex_);
    verify = std::move(verify_);
  }
}

void ImportDriver::BeginStop() {
  std::lock_guard lock(mutex_);
  stopping_ = true;
  source_->Stop();
  if (pipeline_ != nullptr) pipeline_->Cancel();
  if (verify_ != nullptr) verify_->Cancel();
  changed_.notify_all();
}

bool ImportDriver::BeginStopOf(const MoveRef& move) {
  const MoveRef own = Move();
  if (own.id != move.id || own.attempt > move.attempt) return false;
  BeginStop();
  return true;
}

bool ImportDriver::ended() const {
  std::lock_guard lock(mutex_);
  return ended_;
}

MoveRef ImportDriver::Move() const {
  std::lock_guard lock(mutex_);
  return move_;
}

void ImportDriver::Renew(const MoveRef& move, std::vector<std::string> endpoints) {
  source_->SetEndpoints(std::move(endpoints));
  std::lock_guard lock(mutex_);
  if (move.attempt <= move_.attempt) return;
  move_ = move;
  changed_.notify_all();
}

v1::ImportStatus ImportDriver::Status() const {
  v1::ImportStatus status;
  {
    std::lock_guard lock(mutex_);
    status = status_;
  }
  const std::shared_ptr<const Ownership> ownership = host_.ownership();
  const std::vector<const OwnedChunk*> chunks = ownership->OfCopy(copy_);
  if (chunks.size() != 1) return status;
  const OwnedChunk& chunk = *chunks.front();
  status.set_documents(chunk.digest.documents.count);
  status.set_bytes(chunk.digest.documents.bytes + chunk.digest.retries.bytes);
  if (!chunk.import) {
    status.set_copied(true);
    return status;
  }
  status.set_segments(static_cast<int64_t>(chunk.import->segments.size()));
  status.set_copied(chunk.import->Covers(chunk.range));
  status.set_cursor(std::max(status.cursor(), chunk.import->Cursor().value()));
  status.set_lag_entries(
      static_cast<int64_t>(status.source_applied() > status.cursor() ? status.source_applied() - status.cursor() : 0));
  return status;
}

v1::VerifyStatus ImportDriver::Verify(bool restart) {
  std::unique_ptr<VerifyRun> old;  // ends outside of the lock: its tasks take it
  std::lock_guard only_one(verify_start_);
  std::unique_lock lock(mutex_);
  const bool stale = verify_ != nullptr && (verify_->move() != move_ || (restart && verify_->Status().done()));
  if (stale) {
    old = std::move(verify_);
    lock.unlock();
    old.reset();
    lock.lock();
  }
  if (stopping_) {
    v1::VerifyStatus stopping;
    stopping.set_error("this replica does not lead any more");
    return stopping;
  }
  if (verify_ == nullptr) {
    VerifyRun::Options options{.move = move_, .copy = copy_, .range_bytes = options_.verify_range_bytes};
    verify_ = std::make_unique<VerifyRun>(&host_, source_.get(), options,
                                          [this](auto run, auto done) { Post(std::move(run), std::move(done)); });
  }
  return verify_->Status();
}

absl::StatusOr<EntryResult> ImportDriver::Complete(const v1::CompleteStep& step, std::chrono::nanoseconds timeout) {
  struct Answer {
    std::promise<absl::StatusOr<EntryResult>> promise;
    absl::StatusOr<EntryResult> result = Unavailable("the import was not asked");
  };
  auto answer = std::make_shared<Answer>();
  std::future<absl::StatusOr<EntryResult>> future = answer->promise.get_future();
  Post(
      [answer, step](ImportTail& tail) {
        answer->result = tail.Complete(step);
        return answer->result.status();
      },
      [answer](absl::Status status) {
        if (!status.ok()) answer->result = std::move(status);
        answer->promise.set_value(std::move(answer->result));
      });
  ++*completing_;
  const std::future_status waited = future.wait_for(timeout);
  --*completing_;
  if (waited != std::future_status::ready) {
    return absl::DeadlineExceededError("the import did not get to the fence in time; it may still do so");
  }
  return future.get();
}

void ImportDriver::Post(std::function<absl::Status(ImportTail&)> run, std::function<void(absl::Status)> done) {
  {
    std::lock_guard lock(mutex_);
    if (!stopping_ && !ended_) {
      tasks_.push_back({std::move(run), std::move(done)});
      source_->Interrupt();
      changed_.notify_all();
      return;
    }
  }
  done(MakeStatus(absl::StatusCode::kCancelled, "the import has ended"));
}

void ImportDriver::SetError(const absl::Status& status) {
  status_.set_error(status.ok() ? "" : std::string(MessageOf(status)));
  status_.set_error_code(static_cast<int>(status.code()));
}

bool ImportDriver::Rest(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, time, [this] { return stopping_ || !tasks_.empty(); });
  return !stopping_;
}

bool ImportDriver::AwaitOther(const MoveRef& move) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return stopping_ || move_ != move || !tasks_.empty(); });
  return !stopping_;
}

bool ImportDriver::RunTasks() {
  bool any = false;
  while (true) {
    Task task;
    {
      std::lock_guard lock(mutex_);
      if (tasks_.empty() || stopping_) return any;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    any = true;
    absl::Status status = task.run(tail_);
    if (!status.ok()) tail_valid_ = false;
    task.done(std::move(status));
    // What the next one works on may be another record now.
    return any;
  }
}

void ImportDriver::FailTasks(const absl::Status& status) {
  std::deque<Task> tasks;
  {
    std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
  }
  for (Task& task : tasks) task.done(status);
}

void ImportDriver::Run() {
  std::chrono::milliseconds pause = kFirstPause;
  while (Rest(std::chrono::milliseconds(0))) {
    const MoveRef move = Move();
    const absl::Status status = Step(move);
    // What became of an older attempt's step is nobody's concern.
    const bool interrupted = status.code() == absl::StatusCode::kCancelled || Move() != move;
    {
      std::lock_guard lock(mutex_);
      if (!interrupted) SetError(status);
      status_.set_cursor(tail_.read_to().value());
      status_.set_source_applied(tail_.source_applied().value());
      status_.set_apply_entries_per_s(tail_.entries_per_s());
    }
    if (status.ok() || interrupted) {
      pause = kFirstPause;
      continue;
    }
    tail_valid_ = false;
    if (!Wanted(move).ok()) {
      // There is nothing to do for this attempt, and never will be again.
      FailTasks(status);
      if (!AwaitOther(move)) break;
      pause = kFirstPause;
      continue;
    }
    LogWarn("import", "a step of an import failed; it is tried again",
            {{"copy", copy_}, {"migration", move.id}, {"status", status}});
    // Whoever waits should hear of it now rather than after the pause.
    FailTasks(status);
    if (!Rest(pause)) break;
    pause = std::min(2 * pause, kGreatestPause);
  }
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
  }
  FailTasks(MakeStatus(absl::StatusCode::kCancelled, "the import has ended"));
}

absl::Status ImportDriver::Wanted(const MoveRef& move) const {
  const std::shared_ptr<const Ownership> ownership = host_.ownership();
  if (ownership->IsDead(move)) {
    return rpc::WithReason(
        FailedPrecondition("attempt ", move.attempt.value(), " of migration ", move.id.value(), " has ended"),
        v1::ErrorDetail::STALE_ATTEMPT);
  }
  const std::vector<const OwnedChunk*> chunks = ownership->OfCopy(copy_);
  if (chunks.size() != 1 || !chunks.front()->import) return NotFound("copy ", copy_.value(), " is not being imported");
  return absl::OkStatus();
}

absl::Status ImportDriver::Step(const MoveRef& move) {
  TERRANE_RETURN_IF_ERROR(Wanted(move));
  const std::shared_ptr<const Ownership> ownership = host_.ownership();
  const std::vector<const OwnedChunk*> chunks = ownership->OfCopy(copy_);
  if (chunks.size() != 1 || !chunks.front()->import) return NotFound("copy ", copy_.value(), " is not being imported");
  const OwnedChunk& chunk = *chunks.front();
  if (chunk.state != ChunkState::kImporting) {
    // K stands: there is nothing to do but to say so.
    FailTasks(FailedPrecondition("copy ", copy_.value(), " is complete"));
    Rest(options_.poll_wait);
    return absl::OkStatus();
  }
  if (!chunk.import->Covers(chunk.range)) {
    FailTasks(Unavailable("copy ", copy_.value(), " is still being copied"));
    return Copy(chunk);
  }
  if (chunk.import->open_position.value() != 0) {
    tail_valid_ = false;
    return RepairRange(host_, source_.get(),
                       {.move = move,
                        .source_copy = chunk.import->source_copy,
                        .copy = copy_,
                        .range = chunk.import->open_range,
                        .min_position = std::max(chunk.import->Cursor(), chunk.import->open_position)});
  }
  if (!tail_valid_ || tail_move_ != move) {
    tail_.Refresh(chunk, move);
    tail_valid_ = true;
    tail_move_ = move;
  }
  if (RunTasks()) {
    tail_valid_ = false;
    return absl::OkStatus();
  }
  TERRANE_RETURN_IF_ERROR(GiveWay());
  return tail_.Poll(options_.poll_wait);
}

absl::Status ImportDriver::Copy(const OwnedChunk& chunk) {
  const MoveRef move = Move();
  SegmentPipeline pipeline(host_.store, source_.get(),
                           {.move = move,
                            .source_copy = chunk.import->source_copy,
                            .copy = copy_,
                            .range = MissingRange(chunk),
                            .pin = chunk.import->pin,
                            .segment_bytes = options_.segment_bytes});
  {
    std::lock_guard lock(mutex_);
    pipeline_ = &pipeline;
    if (stopping_) pipeline.Cancel();
  }
  const MonotonicTime start = Clock::System()->Now();
  int64_t bytes = 0;
  absl::Status status;
  while (status.ok()) {
    absl::StatusOr<std::optional<ReadySegment>> segment = pipeline.Next();
    status = segment.status();
    if (!status.ok() || !segment->has_value()) break;
    status = WaitForCompaction();
    if (status.ok()) status = GiveWay();
    if (status.ok()) status = IngestSegment(**segment, move);
    if (!status.ok()) break;
    const storage::ChunkDigest& digest = (*segment)->built.digest;
    bytes += digest.documents.bytes + digest.retries.bytes;
    const double seconds = std::chrono::duration<double>(Clock::System()->Now() - start).count();
    std::lock_guard lock(mutex_);
    status_.set_mb_per_s(static_cast<double>(bytes) / 1e6 / std::max(seconds, 1e-6));
    status_.set_bytes_total((*segment)->chunk_bytes);
    SetError(absl::OkStatus());
  }
  std::lock_guard lock(mutex_);
  pipeline_ = nullptr;
  pipeline.Cancel();
  return status;
}

absl::Status ImportDriver::IngestSegment(const ReadySegment& segment, const MoveRef& move) {
  v1::ShardEntry entry;
  v1::IngestSegment* ingest = entry.mutable_ingest_segment();
  *ingest->mutable_move() = ToProto(move);
  ingest->set_copy_id(copy_.value());
  *ingest->mutable_range() = ToProto(segment.range);
  ingest->set_source_position(segment.position.value());
  for (const storage::SegmentFile& file : segment.built.files) ToProto(file, ingest->add_files());
  ToProto(segment.built.digest, ingest->mutable_digest());
  if (host_.hold) {
    const auto cancelled = [this, &move] {
      std::lock_guard lock(mutex_);
      return stopping_ || move_ != move;
    };
    TERRANE_RETURN_IF_ERROR(host_.hold(move, copy_, segment.built.files, cancelled));
  }
  return ProposeImportEntry(host_, std::move(entry), move).status();
}

absl::Status ImportDriver::WaitForCompaction() {
  constexpr std::chrono::milliseconds kLook{20};
  bool waited = false;
  while (host_.store->Statistics().level0_files > options_.level0_limit) {
    std::unique_lock lock(mutex_);
    if (!std::exchange(waited, true)) status_.set_pace("waits for compaction");
    changed_.wait_for(lock, kLook, [this] { return stopping_; });
    if (stopping_) return MakeStatus(absl::StatusCode::kCancelled, "the import is stopping");
  }
  if (waited) {
    std::lock_guard lock(mutex_);
    status_.set_pace(std::string(kPace));
  }
  return absl::OkStatus();
}

absl::Status ImportDriver::GiveWay() {
  constexpr std::chrono::milliseconds kLook{5};
  auto switching = [this] {
    if (*completing_ > 0) return true;
    const std::shared_ptr<const Ownership> ownership = host_.ownership();
    for (const OwnedChunk* chunk : ownership->All()) {
      if (chunk->copy == copy_) continue;
      if (chunk->state == ChunkState::kWriteFenced || chunk->state == ChunkState::kReadFenced ||
          chunk->state == ChunkState::kComplete) {
        return true;
      }
    }
    return false;
  };
  const MonotonicTime deadline = Clock::System()->Now() + options_.give_way;
  while (switching() && Clock::System()->Now() < deadline) {
    // The end of a switch is an entry of this shard's log.
    host_.store->WaitAppliedBeyond(host_.store->AppliedPosition(), kLook);
    std::lock_guard lock(mutex_);
    if (stopping_) return MakeStatus(absl::StatusCode::kCancelled, "the import is stopping");
    if (!tasks_.empty()) break;
  }
  return absl::OkStatus();
}

}  // namespace terrane::shard
