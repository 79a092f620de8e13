// Internal: which files and names of a store would survive a power cut, for fault_injection.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <shared_mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace terrane::storage {

// Thread-safe. The files themselves are real; this knows what of them was synced. Removed files are kept beside their
// directory until it is synced, so that a power cut can bring them back. After a cut everything goes on as before, for
// an error would make RocksDB do things that it does not do without power; all of it is undone by Restore.
class FaultDisk {
 public:
  // While one lives the power does not go. A false one: the disk is full.
  class Operation {
   public:
    explicit operator bool() const { return !full_; }

   private:
    friend class FaultDisk;
    std::shared_lock<std::shared_mutex> lock_;
    bool full_ = false;
  };
  // Calls the hook first. One at a time per thread.
  Operation Begin();

  // ---- within an Operation, after the deed ----
  void Created(const std::string& path);
  // It was there before and is written on.
  void Opened(const std::string& path, uint64_t size);
  void Synced(const std::string& path, uint64_t bytes);
  void DirectorySynced(const std::string& directory);
  // `to` is the same file under another name.
  void Linked(const std::string& from, const std::string& to);

  // ---- the deed itself; false with errno: it failed ----
  bool Remove(const std::string& path);
  bool Rename(const std::string& from, const std::string& to);

  void Cut(uint64_t seed);
  absl::Status Restore();

  // Whether a planted mistake skips the sync of this file.
  bool SkipsSync(const std::string& path) const;
  void IgnoreSyncsOf(std::string suffix);

  std::function<void()> hook;
  std::atomic<int64_t> delay_us{0};
  std::atomic<bool> fail{false};
  std::atomic<bool> real_syncs{true};
  std::atomic<uint64_t> syncs{0};
  std::atomic<uint64_t> bytes{0};

 private:
  struct NameChange {
    std::string directory;  // whose sync makes it durable
    std::string from;       // renamed or removed; "": made
    std::string to;         // made, or the new name; "": removed
    std::string grave;      // where the file is that had the name which was removed or taken; "": there was none
    uint64_t grave_synced = 0;
  };

  std::string Bury(const std::string& path);
  absl::Status UndoNames(size_t kept, bool removals);
  absl::Status Forget(const std::string& path, uint64_t synced, std::mt19937_64* random) const;
  void MoveRecords(const std::string& from, const std::string& to);

  mutable std::shared_mutex power_;  // shared: an operation is under way
  mutable std::mutex mutex_;
  std::map<std::string, uint64_t> files_;  // written by this process -> how many bytes of it are synced
  std::vector<NameChange> changes_;        // that no sync has made durable, in order
  std::string ignore_;
  // After a cut:
  bool cut_ = false;
  uint64_t seed_ = 0;
  size_t changes_before_cut_ = 0;
  std::map<std::string, uint64_t> sizes_;  // of the files at that moment
  uint64_t graves_ = 0;
};

}  // namespace terrane::storage
