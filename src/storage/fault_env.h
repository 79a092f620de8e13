// Internal: the RocksDB side of fault_injection.h.
#pragma once

#include <rocksdb/env.h>

#include <memory>

#include "storage/fault_injection.h"

namespace terrane::storage {

// The machine's environment when `faults` is null; else one that lives as long as it.
rocksdb::Env* EnvOf(const std::shared_ptr<FaultInjection>& faults);

}  // namespace terrane::storage
