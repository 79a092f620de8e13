// Splits a chunk with exact digests while writes go on (design: ownership_split.cc).
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "shard/core.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::shard {

// Thread-safe.
class Splitter {
 public:
  explicit Splitter(const Core* core) : core_(core) {}

  struct Result {
    EntryResult entry;
    std::string at;
  };
  // Blocks while the chunk is scanned, and before that while another call splits there: it is waited for, not ended.
  // Idempotent: if the range consists of several chunks here already, which the metadata service has not heard of, one
  // of their borders (or `at`, if it is one) is the answer. So a repetition gets the answer of the one that it waited
  // for; if that one failed, it begins anew.
  //   kNotFound            no such chunk is owned here
  //   kFailedPrecondition  it is in a move, or it has no middle
  //   kDeadlineExceeded, kCancelled  as the call is; what was begun is ended
  //   kDataLoss            what is on this replica's disk is not what its running digest says; nothing is split
  absl::StatusOr<Result> Split(const CallState& call, const terrane::v1::SplitChunkStep& step);

 private:
  // While it lives, no other call splits what overlaps with the range.
  class Turn {
   public:
    Turn(Splitter* splitter, CollectionId collection, KeyRange range)
        : splitter_(splitter), place_(collection, std::move(range)) {}
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    // Blocks until it is this one's; an error: nobody waits any more.
    absl::Status Wait(const CallState& call);

   private:
    Splitter* const splitter_;
    const std::pair<CollectionId, KeyRange> place_;
    bool mine_ = false;
  };

  absl::StatusOr<EntryResult> SplitOne(const CallState& call, const OwnedChunk& chunk, const std::string& at);
  absl::StatusOr<EntryResult> Begin(const OwnedChunk& chunk, const std::string& at);
  absl::StatusOr<EntryResult> Finish(const CallState& call, const OwnedChunk& chunk, const std::string& at,
                                     Position begin);

  const Core* const core_;
  std::mutex mutex_;
  std::condition_variable over_;
  std::vector<std::pair<CollectionId, KeyRange>> running_;  // do not overlap
};

}  // namespace terrane::shard
