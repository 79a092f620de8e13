// Internal: how the store makes its parts.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/ids.h"
#include "storage/apply_batch.h"
#include "storage/database.h"
#include "storage/read_view.h"
#include "storage/segment.h"

namespace terrane::storage {

std::shared_ptr<const ReadView> MakeReadView(std::shared_ptr<Database> database, CopyReferences references);

// What a batch needs of its store.
struct BatchHooks {
  std::function<std::shared_ptr<Database>()> database;  // the present one
  std::function<void(Position, std::vector<std::string> ingested)> committed;
};
std::unique_ptr<ApplyBatch> MakeApplyBatch(BatchHooks hooks);

std::unique_ptr<SegmentWriter> MakeSegmentWriter(std::filesystem::path directory, CopyId copy, std::string_view label,
                                                 const StoreOptions& options);
absl::StatusOr<std::unique_ptr<SegmentReceiver>> MakeSegmentReceiver(const std::filesystem::path& directory,
                                                                     const SegmentFile& file,
                                                                     const std::shared_ptr<StoreDisk>& faults);
// Of a file that is still coming; gone after a restart.
inline constexpr std::string_view kPartialSuffix = ".part";
// Size and XXH3-64 of a file.
absl::StatusOr<std::pair<int64_t, uint64_t>> FileChecksum(const std::filesystem::path& path);
// fsync of a directory or file.
absl::Status SyncPath(const std::filesystem::path& path);
// "c<copy>-": how the names of a copy's segment files begin.
std::string SegmentNamePrefix(CopyId copy);

}  // namespace terrane::storage
