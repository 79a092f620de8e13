// What the coordinator knows of one move that is under way. Owned by the coordinator's thread. Private to
// src/migration.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/timer.h"
#include "migration/next_step.h"
#include "terrane/v1/cluster.pb.h"

namespace terrane::migration {

struct MoveTask {
  v1::Migration record;
  Observations seen;
  uint64_t generation = 0;  // of (stage, attempt): answers to questions of an older one are dropped
  std::optional<Timer::Id> timer;
  std::string waiting;

  // Takes over the record as it is committed now. True: stage or attempt is another one.
  bool Update(const v1::Migration& now_committed, uint64_t next_generation, MonotonicTime now);
  // A step goes out.
  void Sent(StepKind kind, MonotonicTime now);
  // Its answer of this generation.
  void Answered(StepKind kind, MonotonicTime sent, MonotonicTime now, absl::StatusOr<StepAnswer> answer);
  v1::MigrationProgress Progress() const;
};

}  // namespace terrane::migration
