// Whether a store's disk hangs.
#pragma once

#include "common/clock.h"
#include "storage/store.h"

namespace terrane::storage {

// When the write or the sync of the write-ahead log that is under way began; 0: none is, or the store is not on a
// disk. Not of files that are taken in or dropped: those may take their time. Thread-safe, does not block on the disk.
MonotonicTime WriteUnderWaySince(const Store& store);

}  // namespace terrane::storage
