// Makes a store's disk slow, failing, damaging or forgetful. Only tests and the bench make one.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"

namespace rocksdb {
class Env;
}
namespace terrane {
class DiskFaults;
}

namespace terrane::storage {

// Stands between a store and the machine's disk. Thread-safe.
class StoreDisk {
 public:
  virtual ~StoreDisk() = default;
  // For the store alone; lives as long as this.
  virtual rocksdb::Env* env() = 0;
  // What is left by its rules; nullopt: they do not say.
  virtual std::optional<uint64_t> Room() { return std::nullopt; }
};

// One that goes wrong by rules (common/disk_rules.h), which others may share.
std::shared_ptr<StoreDisk> MakeDiskFaultStoreDisk(std::shared_ptr<DiskFaults> faults);

// One that can lose its power. Give the same object to one store at a time.
class FaultInjection : public StoreDisk {
 public:
  static std::shared_ptr<FaultInjection> Create();

  // Every sync of a file takes at least this long.
  virtual void SetSyncDelay(std::chrono::microseconds delay) = 0;
  // From now on every write and sync fails (kind: no space left), or none any more.
  virtual void FailWrites(bool fail = true) = 0;

  // A power cut. The store does not notice: its disk goes on, but nothing that is written from now on, and nothing that
  // was not synced before, will be there after Restore. Then destroy the store, call Restore, and open it again. With
  // `seed` != 0 a random beginning of the unsynced tail of each file survives; of the write-ahead log a random part of
  // that, in 512-byte sectors, where the others read as zeros. Of the names that were made, removed or changed in a
  // directory since it was last synced, the first few survive; without a seed those that were removed stay so, and the
  // others are gone. What was there when the store was opened counts as synced. No operation is half done at that
  // moment.
  virtual void PowerCut(uint64_t seed = 0) = 0;
  virtual absl::Status Restore() = 0;  // also ends FailWrites

  // Called before each operation that changes or syncs something, on the thread that does it, without a lock; may cut
  // the power. Empty: none. Not while the store is open.
  virtual void SetOperationHook(std::function<void()> hook) = 0;
  // False: syncs count, and decide what survives a PowerCut, but the machine is not asked for them. For speed.
  virtual void SetRealSyncs(bool real) = 0;
  // Planted mistake: syncs of files whose names end like this say OK and do nothing. "": no mistake.
  virtual void IgnoreSyncsOf(std::string suffix) = 0;

  virtual uint64_t Syncs() const = 0;
  virtual uint64_t BytesWritten() const = 0;
};

}  // namespace terrane::storage
