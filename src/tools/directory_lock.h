// Who changes a local cluster.
#pragma once

#include <filesystem>
#include <utility>

#include "absl/status/statusor.h"

namespace terrane::tools {

// An exclusive lock on the directory of a cluster itself; the end of the process gives it up.
class DirectoryLock {
 public:
  // Blocks while another process has it. kNotFound: no such directory; the message says how to make a cluster.
  static absl::StatusOr<DirectoryLock> Take(const std::filesystem::path& directory);
  DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  DirectoryLock& operator=(DirectoryLock&&) = delete;
  ~DirectoryLock() { Release(); }
  void Release();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace terrane::tools
