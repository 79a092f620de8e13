// What a replicated log drives: the state machine of a shard or of the metadata service.
#pragma once

#include <any>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"

namespace terrane::replication {

// One entry that a majority holds synced, this replica included.
struct CommittedEntry {
  Position position;      // previous entry's + 1
  Term term;              // never smaller than the previous entry's
  std::string_view data;  // the bytes given to Propose; valid during Apply only; empty if `internal`
  // An entry of Raft itself (no-op of a new leader, membership). Nothing to do for it, but the applied position
  // moves over it.
  bool internal = false;
};

// What came of one entry; travels to the `done` of the proposal on the replica that proposed it, and is dropped on all
// others.
struct ApplyResult {
  absl::Status status;  // e.g. refused at apply: the entry is in the log and had no effect
  std::any value;       // whatever the state machine and its proposers agree on
};

// What Apply returns when the entry at `position` cannot be applied here, but others have applied it (the files that it
// names are gone): the host fetches a checkpoint at `position` or later from a peer, installs it and goes on behind it.
absl::Status NeedsCheckpoint(Position position, std::string_view why);
// The position, if the status is such a one.
std::optional<Position> CheckpointNeeded(const absl::Status& status);

// Implemented by the owner of the data. All methods are called on the apply thread, one at a time, except for
// AppliedPosition(), which ReplicatedLog::Open calls once before that thread starts. They may block; while one does,
// nothing is applied, but the log goes on. An error from any of them but TakeCheckpoint ends the process
// (Options::on_fatal).
class StateMachine {
 public:
  virtual ~StateMachine() = default;

  // Position of the last entry whose effect the state holds; 0 for none. At start it is what survived; it must lie
  // within the log, else ReplicatedLog::Open refuses.
  virtual Position AppliedPosition() = 0;

  // Applies the entries in order; they follow directly on AppliedPosition(). `results` has the size of `batch` and
  // starts as all OK. Must write the effect *and* the new applied position in one atomic step, and need not sync:
  // after a crash entries behind the surviving applied position are given again.
  // batch[i].position == AppliedPosition() + 1 + i.
  // An error is for a broken disk, not for an entry that is refused. Two are not fatal: NeedsCheckpoint, and kCancelled
  // from a process that is stopping: nothing is applied any more. After either the state may hold the effect of a first
  // part of `batch`; AppliedPosition() is asked how far.
  virtual absl::Status Apply(std::span<const CommittedEntry> batch, std::span<ApplyResult> results) = 0;

  // Makes the state durable and returns the position up to which it is: a start after a power cut will find
  // AppliedPosition() >= that. The log may be cut up to it. Called now and then, when the log has grown.
  virtual absl::StatusOr<Position> MakeDurable() = 0;

  // Writes a copy of the whole state, as of AppliedPosition(), as plain files into `directory`, which exists and is
  // empty. Subdirectories are not allowed. Hard links are fine. The host deletes the directory when peers are done.
  virtual absl::Status TakeCheckpoint(const std::filesystem::path& directory) = 0;

  // Replaces the whole state by the checkpoint in `directory`. Durable on return, and atomic: after a crash in the
  // middle the state is the old or the new one, and the host calls again with the same directory. The state machine may
  // move or link the files away.
  virtual absl::Status InstallCheckpoint(const std::filesystem::path& directory) = 0;

  // This replica leads in `term` and has applied everything that earlier terms committed (the no-op of its own term is
  // applied): from now on it may serve. Proposals for this term may already be on their way.
  virtual void OnLeaderStart(Term term) { (void)term; }
  // After OnLeaderStart: Leader() says so from now on, so that a new leader can make itself known at once.
  virtual void OnServing(Term term) { (void)term; }
  // It no longer leads in `term`; called once for each OnLeaderStart, some time after the fact. All proposals of the
  // term have had their `done` before.
  virtual void OnLeaderStop(Term term) { (void)term; }
};

}  // namespace terrane::replication
