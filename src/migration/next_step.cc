#include "migration/next_step.h"

#include <algorithm>

#include "common/strings.h"
#include "migration/stage_steps.h"

namespace terrane::migration {
namespace {

using std::chrono::milliseconds;

// Tries of a step that is refused for good before the move is given up.
constexpr int kRefusalsToGiveUp = 5;

MonotonicTime Backoff(Stage stage, int failures) {
  // The switch is paid for by everybody who writes; elsewhere there is time.
  bool hurry = stage == Stage::kFencing || stage == Stage::kCommitted;
  milliseconds first(hurry ? 2 : 10);
  milliseconds most(hurry ? 50 : 1000);
  return std::min<MonotonicTime>(first * (1 << std::min(failures - 1, 10)), most);
}

bool PausedHere(const v1::Migration& record, const Observations& seen) {
  return !seen.pause_at.empty() && seen.pause_at == NameOf(StageOf(record));
}

void Dispatch(StageContext& context) {
  switch (StageOf(context.record)) {
    case Stage::kPlanned:
      return PlanPlanned(context);
    case Stage::kPreparing:
      return PlanPreparing(context);
    case Stage::kCopying:
      return PlanCopying(context);
    case Stage::kCatchingUp:
      return PlanCatchingUp(context);
    case Stage::kVerifying:
      return PlanVerifying(context);
    case Stage::kFencing:
      return PlanFencing(context);
    case Stage::kCommitted:
      return PlanCommitted(context);
    case Stage::kReversible:
      return PlanReversible(context);
    case Stage::kCleaning:
      return PlanCleaning(context);
    case Stage::kAborting:
      return PlanAborting(context);
    case Stage::kRollingBack:  // no command leads there yet
    case Stage::kDone:
    case Stage::kAborted:
    case Stage::kRolledBack:
      return;
  }
}

// The deadline of the record, and as much time of this coordinator's own since it saw the stage: a wall clock that
// jumps back does not keep writers waiting (trap T44).
bool DeadlinePassed(StageContext& context) {
  const auto& seen = context.seen;
  MonotonicTime own_end = seen.stage_seen + milliseconds(context.record.max_pause_ms());
  int64_t left_ms = context.record.fence_deadline_ms() - seen.wall.count();
  if (left_ms <= 0 || seen.now >= own_end) return true;
  context.WakeAt(std::min<MonotonicTime>(own_end, seen.now + milliseconds(left_ms)));
  return false;
}

}  // namespace

std::string_view NameOf(StepKind kind) {
  switch (kind) {
    case StepKind::kPin:
      return "pin";
    case StepKind::kPrepare:
      return "prepare";
    case StepKind::kImport:
      return "import";
    case StepKind::kVerify:
      return "verify";
    case StepKind::kFence:
      return "fence";
    case StepKind::kFenceReads:
      return "fence reads";
    case StepKind::kComplete:
      return "complete";
    case StepKind::kOwn:
      return "own";
    case StepKind::kRelease:
      return "release";
    case StepKind::kEndAttemptSource:
      return "end attempt (source)";
    case StepKind::kEndAttemptTarget:
      return "end attempt (target)";
    case StepKind::kDropTarget:
      return "drop copy (target)";
    case StepKind::kDropSource:
      return "drop copy (source)";
  }
  return "unknown";
}

bool IsRefusal(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kPermissionDenied:
      return true;
    default:  // of absl's codes, not of our states: ask again
      return false;
  }
}

Plan NextStep(const v1::Migration& record, const Observations& seen) {
  Plan plan;
  StageContext context(record, seen, &plan);
  const Stage stage = StageOf(record);
  if (IsEnded(stage)) return plan;

  if (BeforeCommit(stage) && record.abort_requested()) {
    context.EndAttempt(/*abort=*/true, record.reason().empty() ? "abort was asked for" : record.reason());
    context.Wait("is being aborted");
    return plan;
  }
  if (stage == Stage::kFencing && DeadlinePassed(context)) {
    std::string why = StrCat("the switch was not done within ", record.max_pause_ms(), " ms");
    for (StepKind kind : {StepKind::kFence, StepKind::kComplete, StepKind::kFenceReads}) {
      if (seen.step(kind).answer) continue;
      StrAppend(&why, ": no answer to '", NameOf(kind), "'");
      if (!seen.step(kind).error.ok()) StrAppend(&why, ", last error ", FromAbsl(seen.step(kind).error.message()));
      break;
    }
    context.EndAttempt(/*abort=*/record.attempt() >= kMaxAttempts, why);
    context.Wait("the attempt is over");
    return plan;
  }
  if (PausedHere(record, seen)) {
    context.Wait(StrCat("setting test.pause_at holds it in ", NameOf(stage)));
    return plan;
  }
  Dispatch(context);
  return plan;
}

// ---- StageContext ---------------------------------------------------------------------------------------------------

const v1::StepResponse* StageContext::Once(StepKind kind, const std::string& shard, StepRequest request,
                                           milliseconds timeout) {
  const StepState& state = seen.step(kind);
  if (state.answer) return &*state.answer;
  if (state.in_flight) return nullptr;
  if (state.failures > 0) {
    MonotonicTime next = state.last_end + Backoff(StageOf(record), state.failures);
    if (!state.error.ok() && plan->waiting.empty()) {
      Wait(StrCat("'", NameOf(kind), "' on ", shard, " failed ", state.failures,
                  " times, is tried again: ", FromAbsl(state.error.message())));
    }
    if (seen.now < next) {
      WakeAt(next);
      return nullptr;
    }
  }
  plan->sends.push_back(Step{kind, shard, std::move(request), timeout});
  return nullptr;
}

void StageContext::Poll(StepKind kind, const std::string& shard, StepRequest request, MonotonicTime interval) {
  const StepState& state = seen.step(kind);
  if (state.in_flight) return;
  MonotonicTime next = state.tries == 0 ? seen.now : state.last_end + interval;
  if (state.failures > 0) {
    next = std::max(next, state.last_end + Backoff(StageOf(record), state.failures));
    if (!state.error.ok()) {
      Wait(StrCat("'", NameOf(kind), "' on ", shard, " failed ", state.failures,
                  " times, is tried again: ", FromAbsl(state.error.message())));
    }
  }
  if (seen.now < next) return WakeAt(next);
  plan->sends.push_back(Step{kind, shard, std::move(request), milliseconds(2000)});
}

void StageContext::Propose(v1::MetadataCommand command) {
  if (seen.proposing || plan->command) return;
  if (seen.now < seen.propose_not_before) return WakeAt(seen.propose_not_before);
  command.set_now_ms(seen.wall.count());
  plan->command = std::move(command);
}

void StageContext::Advance(Stage to, v1::Migration update) {
  v1::MetadataCommand command;
  auto* advance = command.mutable_advance_migration();
  advance->set_id(record.id());
  advance->set_from(record.stage());
  advance->set_attempt(record.attempt());
  advance->set_to(ToProto(to));
  *advance->mutable_update() = std::move(update);
  Propose(std::move(command));
}

void StageContext::EndAttempt(bool abort, const std::string& why) {
  v1::MetadataCommand command;
  auto* end = command.mutable_end_attempt();
  end->set_id(record.id());
  end->set_attempt(record.attempt());
  end->set_abort(abort);
  end->set_why(why);
  Propose(std::move(command));
}

bool StageContext::RefusedForGood(StepKind kind, std::string* why) const {
  if (kind == StepKind::kImport && seen.import_refused &&
      seen.import_at - *seen.import_refused >= kImportRefusedAborts) {
    *why = StrCat("the import was refused for ", kImportRefusedAborts.count(), " s: ", seen.import->error());
    return true;
  }
  const StepState& state = seen.step(kind);
  if (state.failures == 0 || !IsRefusal(state.error.code())) return false;
  if (state.error.code() != absl::StatusCode::kDataLoss && state.failures < kRefusalsToGiveUp) return false;
  *why = StrCat("'", NameOf(kind), "' was refused: ", FromAbsl(state.error.message()));
  return true;
}

void StageContext::WakeAt(MonotonicTime when) {
  if (!plan->wake_at || when < *plan->wake_at) plan->wake_at = when;
}

MonotonicTime StageContext::PollInterval(milliseconds least, milliseconds most) const {
  return std::clamp<MonotonicTime>((seen.now - seen.stage_seen) / 10, least, most);
}

v1::MoveRef StageContext::Ref() const {
  v1::MoveRef ref;
  ref.set_migration_id(record.id());
  ref.set_attempt(record.attempt());
  return ref;
}

v1::ImportStep StageContext::ImportRequest() const {
  v1::ImportStep step;
  *step.mutable_move() = Ref();
  step.set_copy_id(record.target_copy());
  for (const std::string& endpoint : seen.context.source_endpoints) step.add_source_endpoints(endpoint);
  return step;
}

v1::PinStep StageContext::PinRequest() const {
  v1::PinStep step;
  auto* entry = step.mutable_entry();
  *entry->mutable_move() = Ref();
  entry->set_collection_id(record.collection_id());
  *entry->mutable_range() = record.range();
  entry->set_copy_id(record.source_copy());
  return step;
}

v1::PrepareStep StageContext::PrepareRequest(uint64_t pin) const {
  v1::PrepareStep step;
  auto* entry = step.mutable_entry();
  *entry->mutable_move() = Ref();
  entry->set_collection_id(record.collection_id());
  entry->set_epoch(seen.context.epoch);
  *entry->mutable_range() = record.range();
  entry->set_copy_id(record.target_copy());
  entry->set_token(record.token());
  entry->set_source(record.source());
  entry->set_source_copy(record.source_copy());
  entry->set_collection(seen.context.collection);
  entry->set_shard_key(seen.context.shard_key);
  entry->set_pin(pin);
  return step;
}

bool StageContext::LagIsMeasured() const {
  return seen.import && seen.import->source_applied() != 0 && seen.import->error().empty();
}

void StageContext::WaitForLag() {
  const bool failed = seen.import && !seen.import->error().empty();
  Wait(failed ? StrCat("nobody knows how far the target is behind; it tries again: ", seen.import->error())
              : "the target has not heard from the source yet how far it is behind");
}

SwitchCosts StageContext::Costs() const {
  SwitchCosts costs;
  if (seen.import) {
    costs.lag_entries = seen.import->lag_entries();
    costs.apply_entries_per_s = seen.import->apply_entries_per_s();
  }
  costs.metadata_commit = seen.metadata_commit.value_or(Milliseconds(0));
  costs.source_step = seen.source_step.count() > 0 ? seen.source_step : costs.metadata_commit;
  costs.target_step = seen.target_step.count() > 0 ? seen.target_step : costs.metadata_commit;
  return costs;
}

v1::EndAttemptStep StageContext::EndAttemptRequest(uint32_t attempt, bool abort, bool source) const {
  v1::EndAttemptStep step;
  auto* entry = step.mutable_entry();
  entry->mutable_move()->set_migration_id(record.id());
  entry->mutable_move()->set_attempt(attempt);
  entry->set_collection_id(record.collection_id());
  *entry->mutable_range() = record.range();
  entry->set_token(record.token());
  entry->set_abort(abort);
  entry->set_copy_id(source ? record.source_copy() : record.target_copy());
  return step;
}

}  // namespace terrane::migration
