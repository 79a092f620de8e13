// Proves that source and target hold the same on disk, and mends what differs.
//
// A round: the source hashes its chunk from a snapshot at a position S of its choice, in sub-ranges; the tail stops at
// exactly S, the target takes its snapshot there, the tail goes on, and the target hashes the same sub-ranges (traps
// T29, T30). Sub-ranges that differ are written again through the log; then there is another round. The last one finds
// nothing, and each side's scan equals its own running digest: from there on the running digests stay comparable. After
// a repair the target's running digest is set by what was scanned (Recertify). Where there are other voters, a target
// whose scan differs from its running digest is damaged itself: that ends the verification by name, with nothing
// repaired. At last every other voter of the target hashes its own copy (peer_audit.h): a damaged one ends the
// verification by name. Memory: one digest per differing range.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shard/import_host.h"
#include "shard/import_source.h"
#include "shard/import_tail.h"
#include "shard/ownership.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::shard {

// A thread of its own, which yields to requests. Thread-safe.
class VerifyRun {
 public:
  struct Options {
    MoveRef move;
    CopyId copy;
    int64_t range_bytes = 8 << 20;
  };
  // Runs something on the import's thread between two batches of the tail; `done` is always called, also when it cannot
  // be run.
  using Post =
      std::function<void(std::function<absl::Status(ImportTail&)> run, std::function<void(absl::Status)> done)>;

  // Rounds that still find a difference end the verification by name.
  static constexpr int kMaxRounds = 5;
  // Worth another try by itself; everything else is an answer.
  static bool IsPassing(const absl::Status& status);

  // `host` and `source` outlive it.
  VerifyRun(const ImportHost* host, ImportSource* source, const Options& options, Post post);
  // Ends the run and waits for it.
  ~VerifyRun();

  // Never blocks.
  void Cancel();
  const MoveRef& move() const { return options_.move; }
  // done and equal: source and target were the same at S, on disk and in their running digests. done and not equal:
  // `error` says why; the source serves on. Not done: `error` is the last failure, which is tried again.
  terrane::v1::VerifyStatus Status() const;

 private:
  class Meeting;
  struct Round {
    std::vector<KeyRange> different;
    storage::ChunkDigest scanned;
    storage::ChunkDigest running;
  };

  void Run();
  absl::Status Verify();
  absl::StatusOr<Round> Compare(const OwnedChunk& chunk);
  absl::Status MayMend(const Round& round) const;
  absl::Status AuditOthers(const OwnedChunk& chunk) const;
  absl::Status Repair(const OwnedChunk& chunk, const KeyRange& range);
  absl::Status Recertify(const OwnedChunk& chunk, const storage::ChunkDigest& difference);
  absl::StatusOr<OwnedChunk> Chunk() const;
  bool Cancelled() const;

  const ImportHost* const host_;
  ImportSource* const source_;
  const Options options_;
  const Post post_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;
  terrane::v1::VerifyStatus status_;
  std::thread thread_;
};

}  // namespace terrane::shard
