// Prepares the next segment file in the background: real zeros, synced, so that a write into it changes no metadata.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "replication/file_system.h"

namespace terrane::replication {

// Take, Prepare and Forget from one thread.
class SegmentAllocator {
 public:
  SegmentAllocator(FileSystem* file_system, std::filesystem::path directory);
  ~SegmentAllocator();

  // Starts to make segment `id` in the background, unless one is there or on its way.
  void Prepare(uint64_t id, uint64_t bytes);
  // An existing file of zeros may be used as segment `id`.
  void Adopt(uint64_t id, uint64_t bytes);
  // The size of the file of segment `id`, which has at least `bytes`, is all zeros and durable with its name. Waits for
  // the background or makes it now.
  absl::StatusOr<uint64_t> Take(uint64_t id, uint64_t bytes);

 private:
  struct Spare {
    uint64_t id = 0;
    uint64_t bytes = 0;
    bool ready = false;
    absl::Status status;  // of making it
  };
  absl::Status Make(uint64_t id, uint64_t bytes);
  void Run();

  FileSystem* const file_system_;
  const std::filesystem::path directory_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Spare> spare_;  // at most one
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace terrane::replication
