// The thread that writes the log: everything that waits goes out with one write and one sync.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "raft/types.h"
#include "replication/log_file.h"

namespace terrane::replication {

// What one Ready of the core wants persisted.
struct PersistJob {
  uint64_t sequence = 0;
  std::optional<raft::SnapshotReference> snapshot;  // replaces all; its data is at snapshot->address
  std::optional<LogPoint> truncate_to;
  std::vector<raft::Entry> entries;
  std::optional<raft::HardState> hard_state;
  std::optional<std::string> configuration;  // members after this job, if they changed
  std::vector<raft::Message> messages;       // to send when all of it is synced
};

// Thread-safe.
class LogWriter {
 public:
  struct Callbacks {
    // Replaces the state machine by the checkpoint; returns when that is durable.
    std::function<absl::Status(const raft::SnapshotReference&)> install;
    // The log is reset behind it, too.
    std::function<absl::Status(const raft::SnapshotReference&)> installed;
    // Everything up to `sequence` is synced. `messages` of it, in order.
    std::function<void(uint64_t sequence, std::vector<raft::Message> messages)> synced;
    // The first error; nothing is written after it.
    std::function<void(absl::Status)> failed;
  };

  LogWriter(std::unique_ptr<LogFile> file, Clock* clock, uint64_t max_batch_bytes, Callbacks callbacks);
  ~LogWriter();

  // Nothing is written before it.
  void Start();
  // In the order of sequences.
  void Push(PersistJob job);
  // LogFile::Cut, before the next write but one, however many jobs wait; `done` on the writer's thread (or that of
  // Stop).
  void Cut(Position durable, uint64_t keep_bytes, std::function<void(absl::StatusOr<LogPoint> base)> done);
  // Ends after the write under way; jobs that wait are dropped, cuts answered kUnavailable. Not from a callback.
  void Stop();

  // When the write under way began; 0: none is.
  MonotonicTime write_began() const { return MonotonicTime(write_began_.load()); }
  uint64_t batches() const { return batches_; }
  uint64_t entries() const { return entries_; }
  uint64_t bytes_written() const { return bytes_written_; }
  uint64_t file_bytes() const { return file_bytes_; }
  uint64_t segments() const { return segments_; }
  std::chrono::nanoseconds last_sync() const { return std::chrono::nanoseconds(last_sync_.load()); }

 private:
  struct CutRequest {
    Position durable;
    uint64_t keep_bytes;
    std::function<void(absl::StatusOr<LogPoint>)> done;
  };

  void Run();
  // Takes as many jobs as fit into one batch: a snapshot or a truncation begins a new one.
  std::vector<PersistJob> TakeJobs();
  absl::Status Write(std::vector<PersistJob> jobs);
  void NoteFile();

  const std::unique_ptr<LogFile> file_;  // the writer's thread only, after Start
  Clock* const clock_;
  const uint64_t max_batch_bytes_;
  const Callbacks callbacks_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<PersistJob> jobs_;
  std::deque<CutRequest> cuts_;
  bool stop_ = false;

  std::atomic<int64_t> write_began_{0};
  std::atomic<uint64_t> batches_{0}, entries_{0}, bytes_written_{0}, file_bytes_{0}, segments_{0};
  std::atomic<int64_t> last_sync_{0};
  std::thread thread_;
};

}  // namespace terrane::replication
