// One function per stage (stage_*.cc), called by NextStep. Private to src/migration.
#pragma once

#include <string>

#include "migration/next_step.h"

namespace terrane::migration {

// The record, what was seen, and the plan being made.
class StageContext {
 public:
  StageContext(const v1::Migration& record, const Observations& seen, Plan* plan)
      : record(record), seen(seen), plan(plan) {}

  const v1::Migration& record;
  const Observations& seen;
  Plan* const plan;

  // Asks for a step that is answered once; sends it unless it is answered, in flight or to be tried later. Returns the
  // answer once it is there.
  const v1::StepResponse* Once(StepKind kind, const std::string& shard, StepRequest request,
                               std::chrono::milliseconds timeout);
  // Asks for a step that is asked again and again, `interval` after its last answer.
  void Poll(StepKind kind, const std::string& shard, StepRequest request, MonotonicTime interval);

  void Propose(v1::MetadataCommand command);
  // Takes the record to `to` (or leaves it where it is) with the fields of `update`.
  void Advance(Stage to, v1::Migration update = {});
  // The attempt is over: the fence is given up (only in FENCING), or the whole move.
  void EndAttempt(bool abort, const std::string& why);

  // A step was refused for good (not merely unavailable) often enough to give the move up; sets `why`.
  bool RefusedForGood(StepKind kind, std::string* why) const;

  void WakeAt(MonotonicTime when);
  void Wait(std::string why) { plan->waiting = std::move(why); }
  // Pace of looking at something that has been under way since the stage began: frequent at first.
  MonotonicTime PollInterval(std::chrono::milliseconds least, std::chrono::milliseconds most) const;

  v1::MoveRef Ref() const;
  v1::ImportStep ImportRequest() const;
  v1::PinStep PinRequest() const;
  v1::PrepareStep PrepareRequest(uint64_t pin) const;
  // Whether the target's lag counts: it has heard from the source where that one is, and its last step did not fail. A
  // leader of the target that begins says 0, one whose link broke goes on saying the last lag (trap T28).
  bool LagIsMeasured() const;
  // Waits for that, and says why.
  void WaitForLag();
  // Durations of the switch as far as this coordinator has measured them.
  SwitchCosts Costs() const;
  v1::EndAttemptStep EndAttemptRequest(uint32_t attempt, bool abort, bool source) const;
};

void PlanPlanned(StageContext& context);
void PlanPreparing(StageContext& context);
void PlanCopying(StageContext& context);
void PlanCatchingUp(StageContext& context);
void PlanVerifying(StageContext& context);
void PlanFencing(StageContext& context);
void PlanCommitted(StageContext& context);
void PlanReversible(StageContext& context);
void PlanCleaning(StageContext& context);
void PlanAborting(StageContext& context);

}  // namespace terrane::migration
