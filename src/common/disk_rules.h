// Which operations on a disk go wrong: rules for tests, as text, one in a line, # begins a comment:
//
//   OPERATION FILES [from N] [times M] ACTION
//
//   sync any stall                   every sync waits until the rules change
//   sync any delay 50ms              every sync takes this much longer
//   write log from 3 times 1 fail    the third write to a segment of the log fails with EIO
//   read sst times 1 flip            the next read of a table file has a flipped bit
//   write any full 1MB               the disk has room for so many more bytes; the write that crosses it is short
//
// OPERATION  read, write, sync (of a file or a directory)
// FILES      log (segments of a replicated log), wal, sst, manifest (of RocksDB), other (identity, peers, directories
//            and so on), any
// N          counts the operations that the rule speaks of since the rules were set, 1 is the first; without `times`
//            all from there on
//
// Pure: no disk, no clock, no thread. disk_faults.h puts them between a process and its disk.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace terrane {

enum class DiskOperation { kRead, kWrite, kSync };
enum class DiskFiles { kLog, kWal, kSst, kManifest, kOther };
enum class DiskAction { kFail, kStall, kDelay, kFlip, kFull };

// By its name alone.
DiskFiles DiskFilesOf(std::string_view path);

struct DiskRule {
  DiskOperation operation = DiskOperation::kSync;
  std::optional<DiskFiles> files;  // nullopt: any
  uint64_t from = 1;
  std::optional<uint64_t> times;
  DiskAction action = DiskAction::kFail;
  std::chrono::milliseconds delay{0};  // kDelay
  uint64_t room = 0;                   // kFull
  std::string text;                    // as it was written
};

// kInvalidArgument: names the line and what was expected.
absl::StatusOr<std::vector<DiskRule>> ParseDiskRules(std::string_view text);

// What is to become of one operation. Several may be set.
struct DiskVerdict {
  bool fail = false;
  bool stall = false;
  bool full = false;
  uint64_t fits = 0;             // if full: of the bytes by which the file grows
  std::optional<uint64_t> flip;  // which bit, modulo the number of bits
  std::chrono::milliseconds delay{0};
  std::vector<size_t> rules;  // that have decided so
};

// One thread at a time.
class DiskRules {
 public:
  DiskRules() = default;
  explicit DiskRules(std::vector<DiskRule> rules);

  // `grows`: by how many bytes a write makes its file longer. What is overwritten takes no room, and what is removed
  // gives none back.
  DiskVerdict Decide(DiskOperation operation, DiskFiles files, uint64_t grows);

  // What is left of the room for files of any kind; nullopt: no rule speaks of it.
  std::optional<uint64_t> Room() const;
  const std::vector<DiskRule>& rules() const { return rules_; }

 private:
  std::vector<DiskRule> rules_;
  std::vector<uint64_t> met_;   // by rule: operations so far
  std::vector<uint64_t> room_;  // by rule
};

// Changes one bit of `size` > 0 bytes.
void FlipBit(char* data, size_t size, uint64_t bit);

}  // namespace terrane
