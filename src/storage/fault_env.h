// Internal: the RocksDB side of fault_injection.h.
#pragma once

#include <rocksdb/env.h>

#include <filesystem>
#include <memory>

#include "absl/status/status.h"
#include "storage/fault_injection.h"

namespace terrane::storage {

// The machine's environment when `faults` is null; else one that lives as long as it.
rocksdb::Env* EnvOf(const std::shared_ptr<StoreDisk>& faults);

// Names made, renamed and removed in the directory so far survive a power cut.
absl::Status SyncDirectory(const std::shared_ptr<StoreDisk>& faults, const std::filesystem::path& directory);

}  // namespace terrane::storage
