// Splits a chunk with exact digests while writes go on (design: ownership_split.cc).
#pragma once

#include "absl/status/statusor.h"
#include "shard/core.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::shard {

// Thread-safe.
class Splitter {
 public:
  explicit Splitter(const Core* core) : core_(core) {}

  // Blocks while the smaller part of the work lasts: one scan of the left side. Idempotent: a chunk that is split at
  // `at` already is a success. Without `at` the middle of the bytes is taken; the answer to a repetition is then that
  // there is no such chunk.
  //   kNotFound            no such chunk is owned here
  //   kFailedPrecondition  it is in a move, another split is under way, or it has no middle
  absl::StatusOr<EntryResult> Split(const CallState& call, const terrane::v1::SplitChunkStep& step);

 private:
  absl::StatusOr<EntryResult> Begin(const terrane::v1::SplitChunkStep& step, const std::string& at);
  absl::StatusOr<EntryResult> Finish(const CallState& call, const terrane::v1::SplitChunkStep& step,
                                     const std::string& at, Position begin);

  const Core* const core_;
};

}  // namespace terrane::shard
