// Splits a chunk with exact digests while writes go on (design: ownership_split.cc).
#pragma once

#include <string>

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
  // Blocks while the chunk is scanned. Idempotent: if the range consists of several chunks here already, which the
  // metadata service has not heard of, one of their borders (or `at`, if it is one) is the answer.
  //   kNotFound            no such chunk is owned here
  //   kFailedPrecondition  it is in a move, another split is under way, or it has no middle
  //   kDataLoss            what is on this replica's disk is not what its running digest says; nothing is split
  absl::StatusOr<Result> Split(const CallState& call, const terrane::v1::SplitChunkStep& step);

 private:
  absl::StatusOr<EntryResult> SplitOne(const CallState& call, const OwnedChunk& chunk, const std::string& at);
  absl::StatusOr<EntryResult> Begin(const OwnedChunk& chunk, const std::string& at);
  absl::StatusOr<EntryResult> Finish(const CallState& call, const OwnedChunk& chunk, const std::string& at,
                                     Position begin);

  const Core* const core_;
};

}  // namespace terrane::shard
