// COMMITTED to DONE, and ABORTING to ABORTED: the outcome stands in the record; the shards are told until they have
// confirmed, however long it takes. Nothing here is ever given up or undone.
#include "common/strings.h"
#include "migration/stage_steps.h"

namespace terrane::migration {

using std::chrono::milliseconds;

namespace {

constexpr milliseconds kStepTimeout(5000);

v1::DropCopyStep DropRequest(const StageContext& context, uint32_t copy) {
  v1::DropCopyStep step;
  step.mutable_entry()->set_collection_id(context.record.collection_id());
  step.mutable_entry()->set_copy_id(copy);
  *step.mutable_entry()->mutable_range() = context.record.range();
  *step.mutable_entry()->mutable_move() = context.Ref();
  return step;
}

double MsBetween(const std::optional<MonotonicTime>& from, const std::optional<MonotonicTime>& to) {
  return from && to ? Milliseconds(*to - *from).count() : 0;
}

// How long writes and reads were held. A coordinator that has not seen the switch from its beginning to the commit
// knows only between which moments both happened: no fence was asked for before the record entered FENCING, which is
// when its deadline was set, and it was committed before this coordinator saw that. Both by wall clocks, perhaps of two
// hosts. 0: not even that is known.
void SetPauses(const StageContext& context, v1::MigrationFigures* figures) {
  const v1::Migration& record = context.record;
  const Observations& seen = context.seen;
  if (!seen.commit_seen) return;
  const double writes = MsBetween(seen.fence_sent, seen.commit_seen);
  const double reads = MsBetween(seen.read_fence_sent, seen.commit_seen);
  if (seen.began_switch && seen.fence_sent && seen.read_fence_sent) {
    figures->set_write_pause_ms(writes);
    figures->set_read_pause_ms(reads);
    return;
  }
  figures->set_pauses_are_bounds(true);
  if (record.fence_deadline_ms() == 0) return;
  const double since_commit = Milliseconds(seen.now - *seen.commit_seen).count();
  const double entered_ms = static_cast<double>(record.fence_deadline_ms() - record.max_pause_ms());
  // Both clocks are read in whole milliseconds.
  const double bound = static_cast<double>(seen.wall.count()) + 1 - since_commit - entered_ms;
  // A wall clock that was set back says less than what was seen here.
  if (bound <= 0 || bound < writes) return;
  figures->set_write_pause_ms(bound);
  figures->set_read_pause_ms(bound);
}

}  // namespace

void PlanCommitted(StageContext& context) {
  const v1::Migration& record = context.record;
  context.Wait("both shards are told of the new owner");
  v1::OwnStep own;
  *own.mutable_entry()->mutable_move() = context.Ref();
  own.mutable_entry()->set_copy_id(record.target_copy());
  own.mutable_entry()->set_token(record.token() + 1);
  const auto* owned = context.Once(StepKind::kOwn, record.target(), std::move(own), kStepTimeout);

  v1::ReleaseStep release;
  auto* entry = release.mutable_entry();
  *entry->mutable_move() = context.Ref();
  entry->set_collection_id(record.collection_id());
  *entry->mutable_range() = record.range();
  entry->set_copy_id(record.source_copy());
  auto* to = entry->mutable_to();
  to->set_collection_id(record.collection_id());
  *to->mutable_range() = record.range();
  to->set_copy_id(record.target_copy());
  to->set_token(record.token() + 1);
  to->set_shard(record.target());
  entry->set_complete(record.complete());
  const auto* released = context.Once(StepKind::kRelease, record.source(), std::move(release), kStepTimeout);
  if (owned == nullptr || released == nullptr) return;

  v1::Migration update;
  auto* figures = update.mutable_figures();
  *figures = record.figures();
  SetPauses(context, figures);
  context.Advance(Stage::kReversible, std::move(update));
}

void PlanReversible(StageContext& context) {
  // The window is 0: nothing to wait for.
  context.Advance(Stage::kCleaning);
}

void PlanCleaning(StageContext& context) {
  const v1::Migration& record = context.record;
  context.Wait("the source removes its old copy");
  const auto* dropped =
      context.Once(StepKind::kDropSource, record.source(), DropRequest(context, record.source_copy()), kStepTimeout);
  if (dropped != nullptr) context.Advance(Stage::kDone);
}

void PlanAborting(StageContext& context) {
  const v1::Migration& record = context.record;
  context.Wait(StrCat("both shards are told that the move is over: ", record.reason()));
  const auto* source =
      context.Once(StepKind::kEndAttemptSource, record.source(),
                   context.EndAttemptRequest(record.attempt(), /*abort=*/true, /*source=*/true), kStepTimeout);
  const auto* target =
      context.Once(StepKind::kEndAttemptTarget, record.target(),
                   context.EndAttemptRequest(record.attempt(), /*abort=*/true, /*source=*/false), kStepTimeout);
  if (source == nullptr || target == nullptr) return;
  const auto* dropped =
      context.Once(StepKind::kDropTarget, record.target(), DropRequest(context, record.target_copy()), kStepTimeout);
  if (dropped != nullptr) context.Advance(Stage::kAborted);
}

}  // namespace terrane::migration
