// A checkpoint as a sequence of chunks, and back into a directory.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "replication/file_system.h"
#include "replication/transport.h"
#include "terrane/v1/raft.pb.h"

namespace terrane::replication {

// Gives all chunks of the checkpoint to `write`, in order. Blocks on the disk. kCancelled once `write` returns false.
absl::Status ReadCheckpoint(FileSystem* file_system, const Checkpoint& checkpoint,
                            const std::function<bool(v1::CheckpointChunk)>& write);

// Takes chunks, in order. One thread.
class CheckpointSink {
 public:
  // `directory` exists and is empty.
  CheckpointSink(FileSystem* file_system, std::filesystem::path directory)
      : file_system_(file_system), directory_(std::move(directory)) {}
  absl::Status Take(const v1::CheckpointChunk& chunk);
  // After the last chunk: everything is there, checked and synced. kDataLoss if not.
  absl::StatusOr<Checkpoint> Finish();

 private:
  absl::Status Begin(const v1::CheckpointFile& file);
  absl::Status EndFile();

  FileSystem* const file_system_;
  const std::filesystem::path directory_;
  Checkpoint checkpoint_;
  std::unique_ptr<File> file_;
  std::string name_;
  uint64_t bytes_ = 0;    // that the file has to have
  uint64_t written_ = 0;  // of it
  uint64_t files_ = 0;
  uint32_t crc_ = 0;
  bool begun_ = false;
  bool ended_ = false;
};

}  // namespace terrane::replication
