// All imports of a shard, for the steps Import, Verify and Complete of a move. Runs on the leader; state that matters
// is in the shard's log, so it can be thrown away at any time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shard/import_controller.h"
#include "shard/import_driver.h"
#include "shard/import_host.h"
#include "shard/import_source.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::shard {

// Thread-safe. The copies of a move that was given up or is over have no driver any more after the next call.
class ImportManager final : public ImportController {
 public:
  struct Options {
    ImportHost host;
    std::function<std::unique_ptr<ImportSource>(std::vector<std::string> endpoints)> make_source;
    // OK if this replica leads and may propose; else NOT_LEADER.
    std::function<absl::Status()> serving;
    ImportDriver::Options driver;
  };
  explicit ImportManager(Options options);
  // Stops.
  ~ImportManager() override;

  // Start it or look at it; do not block on the source. Errors: NOT_LEADER; STALE_ATTEMPT for an attempt that has
  // ended; kNotFound for a copy that was never prepared here. Failures that are tried again are in the answer's
  // `error`.
  absl::StatusOr<terrane::v1::ImportStatus> Import(const terrane::v1::ImportStep& step) override;
  absl::StatusOr<terrane::v1::VerifyStatus> Verify(const terrane::v1::VerifyStep& step) override;

  // K's position and the digest that both sides have; DATA_LOSS with DIGEST_MISMATCH if they differ.
  absl::StatusOr<EntryResult> Complete(const terrane::v1::CompleteStep& step, MonotonicTime deadline) override;
  void AttemptEnded(const MoveRef& move, CopyId copy) override;

  // This replica leads no more: ends all drivers, without waiting. Never blocks; for the apply thread.
  void LeaderStopped();
  // Ends all drivers and waits for them.
  void Stop() override;

 private:
  // The driver of the copy, made if need be.
  absl::StatusOr<std::shared_ptr<ImportDriver>> Driver(const terrane::v1::MoveRef& move, CopyId copy,
                                                       std::vector<std::string> endpoints);
  // The record of a copy that this move imports, or has imported.
  absl::StatusOr<OwnedChunk> Record(const MoveRef& move, CopyId copy) const;
  // Takes out what has ended; to be destroyed without the lock, which LeaderStopped needs on the apply thread.
  std::vector<std::shared_ptr<ImportDriver>> Reap();

  const Options options_;
  const std::shared_ptr<std::atomic<int>> completing_ = std::make_shared<std::atomic<int>>(0);
  std::mutex mutex_;
  std::map<CopyId, std::shared_ptr<ImportDriver>> drivers_;
  std::vector<std::shared_ptr<ImportDriver>> ending_;
  bool stopped_ = false;
};

}  // namespace terrane::shard
