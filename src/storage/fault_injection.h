// Makes a store's disk slow, failing, or forgetful. Only tests and the bench make one.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"

namespace terrane::storage {

// Thread-safe. Give the same object to one store at a time.
class FaultInjection {
 public:
  static std::shared_ptr<FaultInjection> Create();
  virtual ~FaultInjection() = default;

  // Every sync of a file takes at least this long.
  virtual void SetSyncDelay(std::chrono::microseconds delay) = 0;
  // From now on every write and sync fails (kind: no space left), or none any more.
  virtual void FailWrites(bool fail = true) = 0;

  // A power cut: nothing that is written from now on, and nothing that was not synced before, will be there after
  // Restore. Then destroy the store, call Restore, and open it again. With `seed` != 0 a random part of the unsynced
  // tail of each file survives, in 512-byte sectors; the others read as zeros or are cut off.
  virtual void PowerCut(uint64_t seed = 0) = 0;
  virtual absl::Status Restore() = 0;  // also ends FailWrites

  virtual uint64_t Syncs() const = 0;
  virtual uint64_t BytesWritten() const = 0;
};

}  // namespace terrane::storage
