// What the coordinator does next for one move: a function of the committed record and of what it has seen since.
//
// Pure: no thread, clock or network; the host (coordinator.h) performs what it is told and calls again whenever an
// answer, a change of the record or the time of `wake_at` arrives. Everything that is asked for may be asked twice, by
// two coordinators at once, and late: shards check migration and attempt at apply, the metadata service compares stage
// and attempt. The record alone is the memory; what is observed may be lost at any time (trap T43).
//
// Rules that hold here, whatever was seen (docs/migration.md):
//   I5  F is sent in FENCING only, K and G only after F's own answer, the commit only after both answers, all of them
//   of
//       this attempt.
//   I6  An attempt is ended on a shard (which opens the fence) only when the record says that it is over. An unknown
//       outcome of the commit is no such thing (trap T07); no timer is (trap T08).
//   I7  Nothing that can be undone only by an operator is done before the commit; nothing is undone after it.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "migration/pause.h"
#include "migration/stages.h"
#include "migration/steps.h"

namespace terrane::migration {

// Attempts at a switch before the move is aborted.
inline constexpr uint32_t kMaxAttempts = 3;
// An import that is refused for so long without anything between is not going to succeed: no space on the target, a
// block of the source that cannot be read. Long enough for a failover, and for a replica to take another's place.
inline constexpr std::chrono::seconds kImportRefusedAborts{60};

// One kind of step, tried since the record came into its present stage and attempt.
struct StepState {
  bool in_flight = false;
  std::optional<v1::StepResponse> answer;  // it succeeded; never asked again in this stage and attempt
  int failures = 0;                        // in a row
  absl::Status error;                      // of the last try
  MonotonicTime last_end{0};               // when the last try came back
  int tries = 0;
};

// What never changes during a move, from the collection's record.
struct MoveContext {
  std::string collection;
  std::string shard_key;  // BSON pattern
  uint64_t epoch = 0;
  std::vector<std::string> source_endpoints;  // leader first, as far as known
};

struct Observations {
  MonotonicTime now{0};
  WallTime wall{0};
  MoveContext context;

  // Since the record came into its present stage and attempt; the host forgets them at each change.
  MonotonicTime stage_seen{0};
  std::array<StepState, kStepKinds> steps;
  std::optional<v1::VerifyStatus> verify;
  int verify_restarts = 0;
  bool proposing = false;               // a command for this move is on its way
  MonotonicTime propose_not_before{0};  // pause after one that failed
  absl::Status propose_error;           // of the last one; a refused commit ends the attempt

  // Kept over stages.
  std::optional<v1::ImportStatus> import;
  MonotonicTime import_at{0};
  // Since when every answer said that the import's last step was refused, and not merely that somebody is away.
  std::optional<MonotonicTime> import_refused;
  std::optional<Milliseconds> metadata_commit;  // duration of the last commit of this coordinator
  MonotonicTime metadata_commit_at{0};
  Milliseconds source_step{0};  // duration of the last logged step there; 0: not known
  Milliseconds target_step{0};
  std::optional<MonotonicTime> fence_sent;       // of the present attempt
  std::optional<MonotonicTime> read_fence_sent;  // likewise
  std::optional<MonotonicTime> commit_seen;
  // This coordinator was there when the present attempt entered FENCING: nobody has sent a fence before fence_sent.
  bool began_switch = false;

  bool admitted = true;   // PLANNED: its turn has come
  std::string admission;  // why not, for people
  std::string pause_at;   // setting test.pause_at: a stage, or "fencing.commit"; for tests only

  StepState& step(StepKind kind) { return steps[static_cast<size_t>(kind)]; }
  const StepState& step(StepKind kind) const { return steps[static_cast<size_t>(kind)]; }
};

struct Plan {
  std::vector<Step> sends;                     // to be sent now; none of them is in flight
  std::optional<v1::MetadataCommand> command;  // to be proposed now; only if none is on its way
  std::optional<MonotonicTime> wake_at;        // call again then, if nothing happens before
  std::string waiting;                         // for people: what it waits for
};

// Not merely unavailable: whoever asks again hears the same, unless somebody does something about it.
bool IsRefusal(absl::StatusCode code);

Plan NextStep(const v1::Migration& record, const Observations& seen);

}  // namespace terrane::migration
