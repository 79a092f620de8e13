// Internal: looking at what lies on disk.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/database.h"
#include "storage/store.h"

namespace terrane::storage {

absl::StatusOr<DiskUsage> AskDisk(const StoreOptions& options);
void FillStatistics(const Database& database, StoreStatistics* statistics);
absl::StatusOr<std::vector<CopyOnDisk>> CopiesOnDisk(const Database& database);
uint64_t EstimateRange(const Database& database, Family family, const RawRange& range);
absl::StatusOr<std::string> FindMiddleKey(DocumentCursor& documents, const KeyRange& range);

}  // namespace terrane::storage
