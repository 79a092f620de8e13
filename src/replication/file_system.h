// The files of a replicated log, behind an interface so that tests can lose, delay, fail and damage what is written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace terrane {
class DiskFaults;
}

namespace terrane::replication {

// An open file. One thread at a time.
class File {
 public:
  virtual ~File() = default;
  // Writes all of `bytes` at `offset`; may extend the file. Durable only after Sync.
  virtual absl::Status Write(uint64_t offset, std::string_view bytes) = 0;
  // The bytes at `offset`; fewer than `size` at the end of the file.
  virtual absl::StatusOr<std::string> Read(uint64_t offset, size_t size) = 0;
  virtual absl::StatusOr<uint64_t> Size() = 0;
  // Everything written to this file so far survives a power cut (the name only after SyncDirectory).
  virtual absl::Status Sync() = 0;
};

// Held as long as it lives; the operating system lets go of it when the process ends in any way.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

// Of the disk that holds a path.
struct DiskSpace {
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;
};

enum class OpenMode { kRead, kWrite, kCreate };  // kCreate: read and write, made or emptied

// Thread-safe. Errors name the path; kNotFound if it is not there.
class FileSystem {
 public:
  using Path = std::filesystem::path;
  virtual ~FileSystem() = default;

  virtual absl::StatusOr<std::unique_ptr<File>> Open(const Path& path, OpenMode mode) = 0;
  virtual absl::Status CreateDirectories(const Path& path) = 0;
  // Names in the directory, sorted; empty if it does not exist.
  virtual absl::StatusOr<std::vector<std::string>> List(const Path& directory) = 0;
  virtual bool Exists(const Path& path) = 0;
  // No error if it is not there.
  virtual absl::Status Remove(const Path& path) = 0;
  virtual absl::Status RemoveAll(const Path& path) = 0;
  virtual absl::Status Rename(const Path& from, const Path& to) = 0;
  // Names made, renamed and removed in the directory so far survive a power cut.
  virtual absl::Status SyncDirectory(const Path& directory) = 0;
  virtual absl::StatusOr<DiskSpace> Space(const Path& path) = 0;
  // kFailedPrecondition if another process (or another holder in this one) has it.
  virtual absl::StatusOr<std::unique_ptr<FileLock>> Lock(const Path& path) = 0;

  // The machine's; lives for ever.
  static FileSystem* System();
};

// The whole file replaced at once: a crash leaves the old content or the new. Durable on return.
absl::Status WriteFileAtomically(FileSystem* file_system, const std::filesystem::path& path, std::string_view content);
// The whole file.
absl::StatusOr<std::string> ReadFile(FileSystem* file_system, const std::filesystem::path& path);

// `base` on a disk that goes wrong by rules; for tests and the bench. `base` outlives it, and it its files.
std::unique_ptr<FileSystem> MakeDiskFaultFileSystem(FileSystem* base, std::shared_ptr<DiskFaults> faults);

}  // namespace terrane::replication
