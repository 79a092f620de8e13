// A checkpoint as a sequence of chunks, and back into a directory, over as many streams as it takes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "replication/file_system.h"
#include "replication/transport.h"
#include "terrane/v1/raft.pb.h"

namespace terrane::replication {

// Where a stream goes on: behind `offset` bytes of `file`, in the checkpoint `id`. An empty id: a new one.
struct CheckpointPlace {
  std::string id;
  std::string file;
  uint64_t offset = 0;
};

// Gives the chunks of the checkpoint to `write`, in order; if `from` names this very checkpoint, those from there on.
// `pace` (may be null) is called before each piece of data with its size; it may block, and an error from it is the
// end. Blocks on the disk. kCancelled once `write` returns false; kInvalidArgument: `from` is no place in it.
absl::Status SendCheckpoint(FileSystem* file_system, const Checkpoint& checkpoint, const CheckpointPlace& from,
                            const std::function<absl::Status(uint64_t)>& pace,
                            const std::function<bool(v1::CheckpointChunk)>& write);

// Takes chunks, in order, of one stream after the other. One thread.
//
// Each file is compared with its checksum and synced as soon as it is whole. What does not match is thrown away, that
// file only, and the next stream begins with it; after the third time the checkpoint is given up. A stream of another
// checkpoint than the one before throws away what there is. Senders of before there were ids go on nowhere, and are
// compared at the end.
class CheckpointSink {
 public:
  // `directory` is made, and emptied when a checkpoint begins. kResourceExhausted from `check_space` (bytes to come;
  // may be null) refuses a checkpoint before its first byte.
  CheckpointSink(FileSystem* file_system, std::filesystem::path directory,
                 std::function<absl::Status(uint64_t)> check_space = nullptr)
      : file_system_(file_system), directory_(std::move(directory)), check_space_(std::move(check_space)) {}

  // The next stream is to begin here.
  CheckpointPlace Place() const;
  void BeginStream() { in_stream_ = false; }
  // kDataLoss: what came is wrong; Place() says what to ask for now. Other errors: the own disk.
  absl::Status Take(const v1::CheckpointChunk& chunk);
  // After the last chunk: everything is there, checked and synced. kUnavailable if not.
  absl::StatusOr<Checkpoint> Finish();

  // Of the one under way; 0 before its first chunk.
  Position position() const { return checkpoint_.point.position; }
  // Data that was taken, over all streams and checkpoints.
  uint64_t received() const { return received_; }

 private:
  absl::Status BeginCheckpoint(const v1::CheckpointHeader& header);
  absl::Status BeginFile(const v1::CheckpointFile& file);
  absl::Status TakeData(std::string_view data);
  absl::Status EndFileIfWhole();
  absl::Status End(const v1::CheckpointEnd& end);

  FileSystem* const file_system_;
  const std::filesystem::path directory_;
  const std::function<absl::Status(uint64_t)> check_space_;
  Checkpoint checkpoint_;   // id "": none, or one that cannot be gone on with
  bool in_stream_ = false;  // the header of this stream has come
  bool ended_ = false;
  uint64_t files_ = 0;  // whole, compared and synced
  uint32_t crc_ = 0;    // of all data, for senders without ids
  uint64_t received_ = 0;

  // The file under way, or the last one.
  v1::CheckpointFile file_;  // without a name: none yet
  std::unique_ptr<File> out_;
  FileSum sum_;
  uint64_t written_ = 0;
  bool whole_ = false;                     // counted in files_
  std::map<std::string, int> mismatches_;  // by name
};

}  // namespace terrane::replication
