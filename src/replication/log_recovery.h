// Reads log/ at start and decides between the end of the log, an honest power cut and damage (traps T49, T72).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "replication/file_system.h"
#include "replication/log_format.h"

namespace terrane::replication {

// "segment-0000000007.log"
std::string SegmentFileName(uint64_t segment);

// A segment in use.
struct LogSegment {
  uint64_t id = 0;
  LogPoint begins_after;  // last entry before it
  uint64_t bytes = 0;     // size of the file
  // Entries before its beginning were taken back after it was begun; the log must not be cut to begin here, since the
  // header's word on the entry before it is no longer true.
  bool undercut = false;
};
// Marks what a truncation to `point` undercuts.
void MarkUndercut(std::vector<LogSegment>* segments, LogPoint point);

struct RecoveredLog {
  LogHardState hard_state;
  LogPoint base;                   // last entry before `entries`; {0, 0} if nothing was ever cut
  std::string base_configuration;  // members as of `base`
  std::vector<LogEntry> entries;   // base.position + 1 and on, without a gap
  LogPoint last() const { return entries.empty() ? base : LogPoint{entries.back().position, entries.back().term}; }

  // Where writing goes on.
  std::vector<LogSegment> segments;  // in use, oldest first; never empty
  uint64_t next_number = 0;
  uint32_t chain = 0;
  uint64_t offset = 0;  // in the last segment
  // What the caller has to do before it writes: the log is only read here.
  uint64_t torn_bytes = 0;          // of the last segment, from `offset` on: zero them (cut off a torn batch)
  std::optional<uint64_t> unbegun;  // this segment's file is there and not in use: zero its first sector or remove it
  std::vector<std::string> leftovers;  // file names to remove
};

// kDataLoss: damage, named with file and offset. kFailedPrecondition: newer format, or files of another incarnation.
absl::StatusOr<RecoveredLog> RecoverLog(FileSystem* file_system, const std::filesystem::path& directory,
                                        uint64_t incarnation);

}  // namespace terrane::replication
