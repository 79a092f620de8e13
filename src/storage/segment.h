// A piece of a chunk as files that a store ingests in one step.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "storage/digest.h"

namespace terrane::v1 {
class SegmentFile;
}

namespace terrane::storage {

struct SegmentFile {
  std::string name;    // in the store's segments directory; unique, the same on every replica
  std::string family;  // "documents", "retries" or "indexes"
  int64_t bytes = 0;
  uint64_t checksum = 0;  // XXH3-64 of the whole file
};

void ToProto(const SegmentFile& file, v1::SegmentFile* out);
SegmentFile FromProto(const v1::SegmentFile& file);

struct BuiltSegment {
  std::vector<SegmentFile> files;  // none if the segment is empty
  ChunkDigest digest;              // of the documents and retry records in it
  int64_t bytes = 0;               // of the files
};

// Takes one file of a segment from another replica. One thread at a time; blocks on the disk. What came is removed when
// it is destroyed before Finish. Made by Store::ReceiveSegmentFile.
class SegmentReceiver {
 public:
  virtual ~SegmentReceiver() = default;

  // The next bytes; kDataLoss when they are more than the file has.
  virtual absl::Status Append(std::string_view data) = 0;
  // Bytes that came so far.
  virtual int64_t received() const = 0;
  // Everything came. On return the file and its name are synced. kDataLoss: size or checksum are not those of the file;
  // it does not get its name then.
  virtual absl::Status Finish() = 0;
};

// Builds the files of one segment. One thread at a time; blocks on the disk. Removes its files when it is destroyed
// before Finish. Made by Store::NewSegment.
class SegmentWriter {
 public:
  virtual ~SegmentWriter() = default;

  // Documents must come in ascending order of (shard key, id), each once; retry records in that of (shard key, id,
  // session, statement): kInvalidArgument otherwise, and the segment is of no use any more. Documents and retry records
  // may alternate as they like. The second order of the records and the index entries (which may come in any order) are
  // sorted here, in memory up to a bound, then in several files.
  virtual absl::Status AddDocument(std::string_view shard_key, std::string_view id, std::string_view document) = 0;
  virtual absl::Status AddRetry(std::string_view shard_key, std::string_view id, std::string_view session,
                                int64_t statement, std::string_view record) = 0;
  virtual absl::Status AddIndexEntry(uint32_t index, std::string_view values, std::string_view shard_key,
                                     std::string_view id) = 0;

  // Bytes of documents and records added so far.
  virtual int64_t AddedBytes() const = 0;

  // Closes the files. On return they and their names are synced, so that an entry may name them (trap T60).
  virtual absl::StatusOr<BuiltSegment> Finish() = 0;
};

}  // namespace terrane::storage
