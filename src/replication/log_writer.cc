#include "replication/log_writer.h"

#include <utility>

#include "common/status.h"

namespace terrane::replication {

LogWriter::LogWriter(std::unique_ptr<LogFile> file, Clock* clock, uint64_t max_batch_bytes, Callbacks callbacks)
    : file_(std::move(file)), clock_(clock), max_batch_bytes_(max_batch_bytes), callbacks_(std::move(callbacks)) {
  NoteFile();
}

LogWriter::~LogWriter() {
  Stop();
}

void LogWriter::Start() {
  thread_ = std::thread([this] { Run(); });
}

void LogWriter::Stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  std::unique_lock lock(mutex_);
  std::deque<CutRequest> cuts = std::exchange(cuts_, {});
  lock.unlock();
  for (CutRequest& cut : cuts) cut.done(Unavailable("the log of this replica has stopped"));
}

void LogWriter::Push(PersistJob job) {
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void LogWriter::Cut(Position durable, uint64_t keep_bytes, std::function<void(absl::StatusOr<LogPoint>)> done) {
  {
    std::lock_guard lock(mutex_);
    cuts_.push_back({durable, keep_bytes, std::move(done)});
  }
  wake_.notify_one();
}

std::vector<PersistJob> LogWriter::TakeJobs() {
  std::vector<PersistJob> taken;
  uint64_t bytes = 0;
  while (!jobs_.empty()) {
    PersistJob& next = jobs_.front();
    if (!taken.empty() && (next.snapshot || next.truncate_to || bytes >= max_batch_bytes_)) break;
    for (const raft::Entry& entry : next.entries) bytes += entry.data.size();
    taken.push_back(std::move(next));
    jobs_.pop_front();
  }
  return taken;
}

void LogWriter::Run() {
  std::unique_lock lock(mutex_);
  bool cut_next =
      false;  // a write has ended since the last cut: whoever answers it may have pushed the next job already
  while (true) {
    wake_.wait(lock, [this] { return stop_ || !jobs_.empty() || !cuts_.empty(); });
    if (stop_) {
      // So that the last batch can no longer be mistaken for a torn one. It says nothing: an error changes nothing.
      (void)file_->Append(LogBatch());
      return;
    }
    absl::Status status;
    if (!jobs_.empty() && !(cut_next && !cuts_.empty())) {
      std::vector<PersistJob> jobs = TakeJobs();
      lock.unlock();
      status = Write(std::move(jobs));
      cut_next = true;
    } else {
      cut_next = false;
      CutRequest cut = std::move(cuts_.front());
      cuts_.pop_front();
      lock.unlock();
      write_began_ = clock_->Now().count();
      absl::StatusOr<LogPoint> base = file_->Cut(cut.durable, cut.keep_bytes);
      write_began_ = 0;
      status = base.status();
      NoteFile();
      cut.done(std::move(base));
    }
    if (!status.ok()) {
      callbacks_.failed(std::move(status));
      return;
    }
    lock.lock();
  }
}

absl::Status LogWriter::Write(std::vector<PersistJob> jobs) {
  LogBatch batch;
  std::optional<std::string> configuration;
  std::vector<raft::Message> messages;
  bool any = false;
  for (PersistJob& job : jobs) {
    if (job.snapshot) {
      TERRANE_RETURN_IF_ERROR(callbacks_.install(*job.snapshot));
      TERRANE_RETURN_IF_ERROR(file_->Reset({job.snapshot->index, job.snapshot->term},
                                           raft::EncodeConfiguration(job.snapshot->configuration)));
      TERRANE_RETURN_IF_ERROR(callbacks_.installed(*job.snapshot));
    }
    if (job.truncate_to) batch.truncate_to = job.truncate_to;
    for (const raft::Entry& entry : job.entries) {
      batch.entries.push_back({entry.index, entry.term, static_cast<uint8_t>(entry.type), entry.data.view()});
    }
    if (job.hard_state) batch.hard_state = LogHardState{job.hard_state->term, ReplicaId(job.hard_state->vote.value())};
    if (job.configuration) configuration = std::move(job.configuration);
    any = any || job.truncate_to || !job.entries.empty() || job.hard_state;
    for (raft::Message& message : job.messages) messages.push_back(std::move(message));
  }
  if (any) {
    const size_t count = batch.entries.size();
    const MonotonicTime began = clock_->Now();
    write_began_ = began.count();
    TERRANE_RETURN_IF_ERROR(file_->Append(std::move(batch)));
    // Only now: if the batch began a segment, the header speaks of what was before it.
    if (configuration) file_->SetConfiguration(*std::move(configuration));
    write_began_ = 0;
    last_sync_ = (clock_->Now() - began).count();
    entries_ += count;
    ++batches_;
  }
  NoteFile();
  callbacks_.synced(jobs.back().sequence, std::move(messages));
  return absl::OkStatus();
}

void LogWriter::NoteFile() {
  bytes_written_ = file_->bytes_written();
  file_bytes_ = file_->bytes();
  segments_ = file_->segments();
}

}  // namespace terrane::replication
