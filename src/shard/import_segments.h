// Fetches a range from the source segment by segment and builds their files, ahead of whoever ingests them.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shard/import_source.h"
#include "shard/ownership.h"
#include "storage/store.h"

namespace terrane::shard {

struct ReadySegment {
  KeyRange range;
  Position position;  // of the source, that it reflects
  storage::BuiltSegment built;
  int64_t chunk_bytes = 0;  // of the whole chunk, as the source says
};

struct SegmentRequest {
  MoveRef move;
  CopyId source_copy;
  CopyId copy;     // here
  KeyRange range;  // what is missing
  Position pin;    // no segment may reflect less (trap T58)
  int64_t segment_bytes = 0;
};

// The first part of the copy's range that no segment covers, up to the next one. REQUIRES: !Covers(chunk.range).
KeyRange MissingRange(const OwnedChunk& chunk);

// Fetches one segment that begins at request.range.min, and builds its files. Blocks.
absl::StatusOr<ReadySegment> FetchSegment(storage::Store* store, ImportSource* source, const SegmentRequest& request);

// A thread of its own, which yields to requests. The next segment is fetched while the one before is ingested; at most
// two are ready and waiting.
class SegmentPipeline {
 public:
  using Request = SegmentRequest;
  SegmentPipeline(storage::Store* store, ImportSource* source, Request request);
  // Waits for the call under way; stop the source, or Cancel, to make that quick.
  ~SegmentPipeline();

  // The next segment in key order; nullopt when the whole range was given out. An error ends the pipeline. Blocks.
  absl::StatusOr<std::optional<ReadySegment>> Next();
  void Cancel();

 private:
  void Run();

  storage::Store* const store_;
  ImportSource* const source_;
  const Request request_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<ReadySegment> ready_;
  std::optional<absl::Status> end_;  // nothing comes behind what is ready
  bool cancelled_ = false;
  std::thread thread_;
};

}  // namespace terrane::shard
