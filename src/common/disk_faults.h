// A disk that goes wrong by rules (disk_rules.h), for tests: replication/file_system.h and storage/fault_injection.h
// each wrap their files with the same object, so one set of rules speaks of the whole disk of a replica. Without one,
// neither wraps anything.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/disk_rules.h"

namespace terrane {

// Thread-safe.
class DiskFaults {
 public:
  // `always` hold at all times; behind them those of `file`, as it is at the moment of each operation: whoever writes
  // it replaces it by a rename (one that is not there: no rules; ""; no file). With a new file the counts begin again,
  // and what is stalled is judged anew. kInvalidArgument: the file as it is now is wrong. If it is so later, the
  // process ends with exit code 2.
  static absl::StatusOr<std::shared_ptr<DiskFaults>> Create(std::vector<DiskRule> always, std::filesystem::path file);

  // To be asked before each operation; returns when its delays and stalls are over. `grows` as for DiskRules.
  DiskVerdict Before(DiskOperation operation, std::string_view path, uint64_t grows = 0);

  // What the disk has left by the rules; nullopt: they do not say.
  std::optional<uint64_t> Room();

 private:
  // What tells one version of the file from the next.
  struct Version {
    uint64_t inode = 0;
    int64_t changed_ns = 0;
    bool operator==(const Version&) const = default;
  };

  DiskFaults(std::vector<DiskRule> always, std::filesystem::path file)
      : always_(std::move(always)), file_(std::move(file)) {}
  // Requires the lock. True: the rules are others than before.
  absl::StatusOr<bool> Read();
  void ReadOrEnd();
  void Note(const DiskVerdict& verdict, std::string_view path);

  const std::vector<DiskRule> always_;
  const std::filesystem::path file_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Version version_;
  DiskRules rules_;
  std::vector<bool> noted_;  // by rule: the log says that it was met
  uint64_t generation_ = 0;  // of the rules
};

}  // namespace terrane
