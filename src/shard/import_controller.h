// The target's part of a move, as the coordinator drives it: pulls, tails, verifies, completes. Implemented by the
// import driver; the move service hands over to it.
#pragma once

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/ids.h"
#include "shard/ownership.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::shard {

// Thread-safe. Called only while this replica leads; all work goes through the log, so what a former leader has begun
// is found in the ownership (Applier::View) and goes on.
class ImportController {
 public:
  virtual ~ImportController() = default;

  // Starts the import of a prepared copy, or looks at it; returns at once.
  virtual absl::StatusOr<terrane::v1::ImportStatus> Import(const terrane::v1::ImportStep& step) = 0;
  // Starts the verification, or looks at it; returns at once.
  virtual absl::StatusOr<terrane::v1::VerifyStatus> Verify(const terrane::v1::VerifyStep& step) = 0;
  // Takes the source's last entries up to F and proposes them with K. Blocks until K is applied (its result, also a
  // refused one) or `deadline` is over. kAlready after a K that stands.
  virtual absl::StatusOr<EntryResult> Complete(const terrane::v1::CompleteStep& step, MonotonicTime deadline) = 0;

  // An attempt has ended here: its work is to stop (it would be refused anyway). Does not block.
  virtual void AttemptEnded(const MoveRef& move, CopyId copy) = 0;
  // Stops all work, also Complete() under way, and joins. Idempotent.
  virtual void Stop() = 0;
};

}  // namespace terrane::shard
