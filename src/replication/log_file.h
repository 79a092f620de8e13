// Writes log/: batches in preallocated segments. docs/data-layout.md has the format, log_recovery.h the reading.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "replication/file_system.h"
#include "replication/log_format.h"
#include "replication/log_recovery.h"

namespace terrane::replication {

class SegmentAllocator;

// One thread at a time; every call blocks on the disk. After the first error all calls return that error and touch the
// disk no more: a failed sync is never retried (trap T50).
class LogFile {
 public:
  struct Options {
    uint64_t segment_bytes = 8 << 20;  // of a new segment; one that must hold a larger batch is larger
    uint64_t incarnation = 0;          // of the directory
  };

  // A new log in `directory`, which is emptied first; holds `hard_state` and `entries` behind {0, 0}. Durable on
  // return.
  static absl::StatusOr<std::unique_ptr<LogFile>> Create(FileSystem* file_system, std::filesystem::path directory,
                                                         Options options, LogHardState hard_state,
                                                         const std::vector<LogEntryView>& entries);

  // The log that is there; `recovered` receives what it holds. Cuts off a torn last batch, durably. The caller
  // sets the configuration and appends an empty batch, so that what was there before can no longer be mistaken for a
  // torn one. Errors of RecoverLog.
  static absl::StatusOr<std::unique_ptr<LogFile>> Open(FileSystem* file_system, std::filesystem::path directory,
                                                       Options options, RecoveredLog* recovered);
  ~LogFile();

  // One write, one sync (three more when a segment is full). Durable on return.
  // REQUIRES: entries follow on last() or on truncate_to; truncate_to is in the log or its base; first_segment and
  // sealed_by are not set.
  absl::Status Append(LogBatch batch);

  // Removes whole segments from the beginning that hold nothing behind `durable`, but keeps the newest ones that
  // together have at least `keep_bytes`. Durable. Returns the new base().
  absl::StatusOr<LogPoint> Cut(Position durable, uint64_t keep_bytes);

  // Replaces everything by an empty log behind `base`, with the hard state kept: the state up to `base` came from a
  // peer. Durable and atomic.
  absl::Status Reset(LogPoint base, std::string configuration);

  // Members as of last(), for the header of the next segment; to be called after Open, and before an Append that
  // changes them.
  void SetConfiguration(std::string configuration) { configuration_ = std::move(configuration); }

  // Last entry before the log.
  LogPoint base() const { return segments_.front().begins_after; }
  LogPoint last() const { return last_; }
  // Sizes of the segments in use.
  uint64_t bytes() const;
  size_t segments() const { return segments_.size(); }
  uint64_t bytes_written() const { return bytes_written_; }

 private:
  LogFile(FileSystem* file_system, std::filesystem::path directory, Options options);

  absl::Status AppendBatch(LogBatch batch);
  absl::Status WriteBatch(const EncodedBatch& encoded);
  // Seals the segment in use and goes on in a new one with room for `bytes`.
  absl::Status Roll(uint64_t bytes, uint64_t first_segment, LogPoint last);
  absl::Status Begin(uint64_t id, uint64_t bytes, SegmentHeader header);
  absl::Status RemoveBefore(uint64_t first_segment);
  absl::Status Guard(absl::Status status);

  FileSystem* const file_system_;
  const std::filesystem::path directory_;
  const Options options_;
  std::unique_ptr<SegmentAllocator> allocator_;

  absl::Status broken_;               // the first error
  std::vector<LogSegment> segments_;  // oldest first; the last one is being written; never empty
  std::unique_ptr<File> file_;        // of segments_.back()
  uint64_t offset_ = 0;               // where the next batch goes; there is always room for the sealing batch
  uint64_t next_number_ = 1;
  uint32_t chain_ = 0;
  LogHardState hard_state_;
  LogPoint last_;
  std::string configuration_;
  uint64_t bytes_written_ = 0;
};

}  // namespace terrane::replication
