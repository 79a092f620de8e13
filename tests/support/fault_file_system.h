// A file system in memory that loses, delays, fails and damages what is written: power cuts in milliseconds.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "replication/file_system.h"

namespace terrane::testing {

// Thread-safe. Sectors of 512 bytes are written whole or not at all. A write is in the "cache" until its file is
// synced; a power cut keeps a random subset of the cached sectors. A name that was made, removed or renamed is durable
// only after SyncDirectory; a power cut keeps some of the unsynced changes of names, in order.
class FaultFileSystem : public replication::FileSystem {
 public:
  FaultFileSystem();
  ~FaultFileSystem() override;

  // --- Faults ---

  // The power goes: what is not synced is lost, but for a subset chosen by `random`. All open files and locks of before
  // are dead: their calls fail and change nothing.
  void PowerCut(std::mt19937_64* random);
  // The same, and every later call fails too, but for reads of open files and the ends of locks, until PowerOn.
  void PowerOff(std::mt19937_64* random);
  void PowerOn();
  // The n-th sync of a file from now on (1 is the next) fails, and what it should have made durable is lost for good
  // while the cache looks as if it were not: the next sync succeeds (trap T50).
  void FailSync(int n);
  // The n-th write from now on fails.
  void FailWrite(int n);
  // Called before each sync of a file, on the thread that syncs, without a lock; may block. Empty: none.
  void SetSyncHook(std::function<void(const Path&)> hook);
  // Called before each call that changes or syncs something, on its thread, without a lock; may cut the power. Empty:
  // none. Not while files are open.
  void SetOperationHook(std::function<void()> hook) { operation_hook_ = std::move(hook); }
  // Planted mistake: syncs say OK and do nothing.
  void IgnoreSyncs(bool ignore);

  // What Space says; as much as anybody wants unless set.
  void SetSpace(replication::DiskSpace space);

  // Damage, applied to cache and disk.
  void FlipBit(const Path& path, uint64_t offset, int bit = 0);
  void ZeroSector(const Path& path, uint64_t sector);
  void Overwrite(const Path& path, uint64_t offset, std::string_view bytes);
  void Truncate(const Path& path, uint64_t size);
  void RemoveFile(const Path& path);
  std::string Content(const Path& path) const;
  void SetContent(const Path& path, std::string content);
  // A copy of the whole disk, and its return: last week's disk (trap T51).
  std::map<std::string, std::string> Image() const;
  void Restore(const std::map<std::string, std::string>& image);

  uint64_t syncs() const;
  uint64_t writes() const;

  // --- FileSystem ---
  absl::StatusOr<std::unique_ptr<replication::File>> Open(const Path& path, replication::OpenMode mode) override;
  absl::Status CreateDirectories(const Path& path) override;
  absl::StatusOr<std::vector<std::string>> List(const Path& directory) override;
  bool Exists(const Path& path) override;
  absl::Status Remove(const Path& path) override;
  absl::Status RemoveAll(const Path& path) override;
  absl::Status Rename(const Path& from, const Path& to) override;
  absl::Status SyncDirectory(const Path& directory) override;
  absl::StatusOr<replication::DiskSpace> Space(const Path& path) override;
  absl::StatusOr<std::unique_ptr<replication::FileLock>> Lock(const Path& path) override;

 private:
  friend class FaultFile;
  friend class FaultLock;
  struct Inode {
    std::string cache;            // what the running system sees
    std::string disk;             // what a power cut leaves for sure
    std::set<uint64_t> unsynced;  // sectors that differ
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;  // null: a directory
  struct NameChange {
    std::string directory;
    std::string remove;  // "" : nothing
    std::string add;
    std::shared_ptr<Inode> inode;
  };

  static std::string Key(const Path& path) { return path.lexically_normal().string(); }
  static void Apply(const NameChange& change, Names* names);
  void CutPower(std::mt19937_64* random);  // requires the lock
  absl::Status Powered(const Path& path) const;
  void ChangeName(NameChange change);
  absl::Status Write(uint64_t generation, Inode* inode, const Path& path, uint64_t offset, std::string_view bytes);
  absl::Status Sync(uint64_t generation, Inode* inode, const Path& path);
  Inode* Find(const Path& path) const;

  mutable std::mutex mutex_;
  replication::DiskSpace space_{uint64_t{1} << 50, uint64_t{1} << 50};
  uint64_t generation_ = 1;  // grows with each power cut
  bool off_ = false;
  Names names_;
  Names durable_names_;
  std::vector<NameChange> unsynced_names_;
  std::set<std::string> locks_;
  std::function<void(const Path&)> sync_hook_;
  std::function<void()> operation_hook_;
  bool ignore_syncs_ = false;
  int fail_sync_ = 0;
  int fail_write_ = 0;
  uint64_t syncs_ = 0;
  uint64_t writes_ = 0;
};

}  // namespace terrane::testing
