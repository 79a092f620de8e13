// Internal: the directory of a store and which database in it is the present one.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/fault_injection.h"

namespace terrane::storage {

class Layout {
 public:
  Layout(std::filesystem::path directory, std::shared_ptr<StoreDisk> faults)
      : directory_(std::move(directory)), faults_(std::move(faults)) {}

  // Whether a store was ever made here. kDataLoss: there are databases, but nothing says which one counts.
  absl::StatusOr<bool> Exists() const;

  // The first database is made under another name and moved to its place when `current` names it already: a crash at
  // any moment leaves something that Exists() tells apart from damage.
  absl::StatusOr<std::filesystem::path> BeginCreation() const;
  absl::Status EndCreation() const;

  // kNotFound: the database that `current` names is missing.
  absl::StatusOr<std::filesystem::path> Current() const;
  absl::Status SetCurrent(const std::string& name) const;

  // Links the files of a checkpoint into a new database directory; durable on return.
  absl::StatusOr<std::filesystem::path> Import(const std::filesystem::path& checkpoint) const;

  // Databases that are not current, links of ingests that were under way, and files that came only in part.
  void RemoveLeftovers() const;

  std::filesystem::path segments() const { return directory_ / "segments"; }
  void RemoveSegment(const std::string& name) const;
  // Of what lies in segments().
  std::vector<std::string> SegmentNames() const;

 private:
  std::filesystem::path directory_;
  std::shared_ptr<StoreDisk> faults_;
};

}  // namespace terrane::storage
