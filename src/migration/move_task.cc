#include "migration/move_task.h"

namespace terrane::migration {
namespace {

// Whose logged step it is that was timed, if any.
Milliseconds* TimedShard(Observations* seen, StepKind kind) {
  switch (kind) {
    case StepKind::kPin:
    case StepKind::kFence:
    case StepKind::kEndAttemptSource:
      return &seen->source_step;
    case StepKind::kPrepare:
    case StepKind::kEndAttemptTarget:
      return &seen->target_step;
    case StepKind::kImport:
    case StepKind::kVerify:
    case StepKind::kFenceReads:
    case StepKind::kComplete:
    case StepKind::kOwn:
    case StepKind::kRelease:
    case StepKind::kDropTarget:
    case StepKind::kDropSource:
      return nullptr;
  }
  return nullptr;
}

}  // namespace

bool MoveTask::Update(const v1::Migration& now_committed, uint64_t next_generation, MonotonicTime now) {
  const bool first = generation == 0;
  const bool new_attempt = first || record.attempt() != now_committed.attempt();
  const bool changed = new_attempt || record.stage() != now_committed.stage();
  if (changed && StageOf(now_committed) == Stage::kFencing) seen.began_switch = !first;
  record = now_committed;
  if (!changed) return false;
  generation = next_generation;
  seen.stage_seen = now;
  seen.steps = {};
  seen.verify.reset();
  seen.verify_restarts = 0;
  seen.proposing = false;
  seen.propose_not_before = MonotonicTime(0);
  seen.propose_error = absl::OkStatus();
  if (new_attempt) {
    seen.fence_sent.reset();
    seen.read_fence_sent.reset();
  }
  if (StageOf(record) == Stage::kCommitted && !seen.commit_seen) seen.commit_seen = now;
  return true;
}

void MoveTask::Sent(StepKind kind, MonotonicTime now) {
  StepState& state = seen.step(kind);
  state.in_flight = true;
  ++state.tries;
  if (kind == StepKind::kFence && !seen.fence_sent) seen.fence_sent = now;
  if (kind == StepKind::kFenceReads && !seen.read_fence_sent) seen.read_fence_sent = now;
}

void MoveTask::Answered(StepKind kind, MonotonicTime sent, MonotonicTime now, absl::StatusOr<StepAnswer> answer) {
  StepState& state = seen.step(kind);
  state.in_flight = false;
  state.last_end = now;
  if (!answer.ok()) {
    ++state.failures;
    state.error = answer.status();
    return;
  }
  state.failures = 0;
  state.error = absl::OkStatus();
  if (auto* import = std::get_if<v1::ImportStatus>(&*answer)) {
    seen.import = std::move(*import);
    seen.import_at = now;
    if (!IsRefusal(static_cast<absl::StatusCode>(seen.import->error_code()))) {
      seen.import_refused.reset();
    } else if (!seen.import_refused) {
      seen.import_refused = now;
    }
  } else if (auto* verify = std::get_if<v1::VerifyStatus>(&*answer)) {
    const bool again = seen.verify && seen.verify->done() && !seen.verify->equal();
    if (again) ++seen.verify_restarts;
    seen.verify = std::move(*verify);
  } else {
    state.answer = std::get<v1::StepResponse>(std::move(*answer));
    if (Milliseconds* timed = TimedShard(&seen, kind)) *timed = now - sent;
  }
}

v1::MigrationProgress MoveTask::Progress() const {
  v1::MigrationProgress progress;
  if (seen.import) {
    progress.set_bytes_copied(seen.import->bytes());
    progress.set_bytes_total(seen.import->bytes_total());
    progress.set_documents_copied(seen.import->documents());
    progress.set_source_applied(seen.import->source_applied());
    progress.set_cursor(seen.import->cursor());
    progress.set_mb_per_s(seen.import->mb_per_s());
  }
  if (seen.verify) progress.set_verified_bytes(seen.verify->bytes());
  const bool copying = StageOf(record) == Stage::kCopying && seen.import && !seen.import->pace().empty() &&
                       seen.import->error().empty();  // what stands still has no pace
  progress.set_pace(copying ? seen.import->pace() : waiting);
  return progress;
}

}  // namespace terrane::migration
