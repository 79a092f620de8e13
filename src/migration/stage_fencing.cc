// FENCING: everything here is a pause for somebody. F; then K on the target and, once the target is about to have F, G
// on the source beside it; then the commit: three syncs in a row.
#include <algorithm>

#include "common/strings.h"
#include "migration/stage_steps.h"

namespace terrane::migration {

using std::chrono::milliseconds;

namespace {

// Reads are fenced beside K when the target will reach F within this.
constexpr Milliseconds kNearFence(5);

milliseconds TimeLeft(const StageContext& context) {
  int64_t left = context.record.fence_deadline_ms() - context.seen.wall.count();
  return milliseconds(std::clamp<int64_t>(left, 1, context.record.max_pause_ms()));
}

bool TargetNearFence(const StageContext& context) {
  const Observations& seen = context.seen;
  if (seen.step(StepKind::kComplete).answer) return true;
  return context.LagIsMeasured() &&
         PredictDrain(seen.import->lag_entries(), seen.import->apply_entries_per_s()) <= kNearFence;
}

v1::MetadataCommand MakeCommit(const StageContext& context, const v1::StepResponse& fence,
                               const v1::StepResponse& read_fence, const v1::StepResponse& complete) {
  v1::MetadataCommand command;
  auto* commit = command.mutable_commit_migration();
  commit->set_id(context.record.id());
  commit->set_attempt(context.record.attempt());
  commit->set_fence(fence.position());
  commit->set_read_fence(read_fence.position());
  commit->set_complete(complete.position());
  commit->set_schema_revision(context.record.schema_revision());
  *commit->mutable_digest() = fence.digest();
  *commit->mutable_figures() = context.record.figures();
  *commit->mutable_figures()->mutable_source_digest() = fence.digest();
  *commit->mutable_figures()->mutable_target_digest() = complete.digest();
  return command;
}

}  // namespace

void PlanFencing(StageContext& context) {
  const v1::Migration& record = context.record;
  const Observations& seen = context.seen;
  // The very same digests, or the move is over (trap T29): the source serves on.
  if (seen.step(StepKind::kComplete).error.code() == absl::StatusCode::kDataLoss) {
    return context.EndAttempt(/*abort=*/true, StrCat("source and target differ at the fence: ",
                                                     FromAbsl(seen.step(StepKind::kComplete).error.message())));
  }
  // The commit was refused (not: unknown): the collection has changed or goes.
  if (seen.propose_error.code() == absl::StatusCode::kFailedPrecondition) {
    return context.EndAttempt(/*abort=*/true,
                              StrCat("the switch was refused: ", FromAbsl(seen.propose_error.message())));
  }

  v1::FenceStep fence;
  *fence.mutable_entry()->mutable_move() = context.Ref();
  fence.mutable_entry()->set_collection_id(record.collection_id());
  *fence.mutable_entry()->mutable_range() = record.range();
  fence.mutable_entry()->set_copy_id(record.source_copy());
  fence.mutable_entry()->set_token(record.token());
  context.Wait("the source fences writes");
  const v1::StepResponse* f = context.Once(StepKind::kFence, record.source(), std::move(fence), TimeLeft(context));
  if (f == nullptr) return;

  if (seen.pause_at == "fencing.complete") return context.Wait("setting test.pause_at holds it behind F");

  context.Wait("the target takes the last entries");
  v1::CompleteStep complete;
  *complete.mutable_move() = context.Ref();
  complete.set_copy_id(record.target_copy());
  complete.set_fence(f->position());
  *complete.mutable_digest() = f->digest();
  for (const std::string& endpoint : seen.context.source_endpoints) complete.add_source_endpoints(endpoint);
  complete.set_token(record.token());
  const v1::StepResponse* k =
      context.Once(StepKind::kComplete, record.target(), std::move(complete), TimeLeft(context));

  const v1::StepResponse* g = nullptr;
  if (TargetNearFence(context) && seen.pause_at != "fencing.read_fence") {
    v1::FenceReadsStep fence_reads;
    *fence_reads.mutable_entry()->mutable_move() = context.Ref();
    fence_reads.mutable_entry()->set_collection_id(record.collection_id());
    *fence_reads.mutable_entry()->mutable_range() = record.range();
    fence_reads.mutable_entry()->set_fence(f->position());
    g = context.Once(StepKind::kFenceReads, record.source(), std::move(fence_reads), TimeLeft(context));
  } else {
    context.Poll(StepKind::kImport, record.target(), context.ImportRequest(), milliseconds(2));
  }
  if (k == nullptr || g == nullptr) return;
  if (seen.pause_at == "fencing.commit") return context.Wait("setting test.pause_at holds the commit");
  context.Wait("the metadata service commits");
  context.Propose(MakeCommit(context, *f, *g, *k));
}

}  // namespace terrane::migration
