// VERIFYING: equality on disk, then waiting for a moment at which the switch fits its budget.
#include <cmath>

#include "common/strings.h"
#include "migration/stage_steps.h"

namespace terrane::migration {

using std::chrono::milliseconds;

namespace {

// A chunk that still differs after it was copied again this often is not moved.
constexpr int kVerifyRestarts = 2;
// What a prediction may be made of.
constexpr MonotonicTime kFreshImport = milliseconds(100);
constexpr MonotonicTime kFreshCommit = std::chrono::seconds(5);
// Between two commits that are made only to measure one and to publish why the move waits.
constexpr MonotonicTime kMeasureInterval = milliseconds(500);

std::string ToMs(Milliseconds time) {
  return StrCat(static_cast<int64_t>(std::ceil(time.count())), " ms");
}

v1::MigrationFigures VerifiedFigures(const StageContext& context) {
  v1::MigrationFigures figures = context.record.figures();
  const v1::VerifyStatus& verify = *context.seen.verify;
  figures.set_verified_documents(verify.documents());
  figures.set_repaired_ranges(verify.repaired_size());
  *figures.mutable_damaged() = verify.repaired();
  return figures;
}

// Publishes why it waits, and measures a commit by doing so.
void Publish(StageContext& context, std::string why, bool measure) {
  context.Wait(why);
  const auto& seen = context.seen;
  const MonotonicTime since = seen.now - seen.metadata_commit_at;
  const bool due = !seen.metadata_commit || since >= kMeasureInterval;
  if (!due) return context.WakeAt(seen.metadata_commit_at + kMeasureInterval);
  if (!measure && context.record.reason() == why) return;
  v1::Migration update;
  update.set_reason(std::move(why));
  *update.mutable_figures() = VerifiedFigures(context);
  context.Advance(Stage::kVerifying, std::move(update));
}

// What a logged step took was measured while the move was prepared, perhaps in the middle of an election. Both steps
// are asked again, which changes nothing: else a move that was unlucky once would wait for ever.
void MeasureSteps(StageContext& context) {
  const v1::Migration& record = context.record;
  context.Poll(StepKind::kPin, record.source(), context.PinRequest(), kMeasureInterval);
  context.Poll(StepKind::kPrepare, record.target(), context.PrepareRequest(record.pin()), kMeasureInterval);
}

void PlanSwitch(StageContext& context) {
  const v1::Migration& record = context.record;
  const Observations& seen = context.seen;
  if (!seen.import || seen.import_at < seen.stage_seen || seen.now - seen.import_at > kFreshImport) {
    return context.Wait("asks the target how far behind it is");
  }
  if (!context.LagIsMeasured()) return context.WaitForLag();
  if (!seen.metadata_commit || seen.now - seen.metadata_commit_at > kFreshCommit) {
    return Publish(context, "measures a commit of the metadata service", /*measure=*/true);
  }
  const Milliseconds budget(static_cast<double>(record.max_pause_ms()));
  if (*seen.metadata_commit >= budget / 10) {
    return Publish(context,
                   StrCat("the metadata service's last commit took ", ToMs(*seen.metadata_commit),
                          ", which is not below a tenth of the allowed pause (", ToMs(budget), ")"),
                   /*measure=*/true);
  }
  const Milliseconds predicted = PredictPause(context.Costs());
  if (predicted > budget) {
    MeasureSteps(context);
    return Publish(context,
                   StrCat("the predicted pause (", ToMs(predicted), ") is above the allowed one (", ToMs(budget),
                          "): the target lacks ", seen.import->lag_entries(), " entries and applies ",
                          static_cast<int64_t>(seen.import->apply_entries_per_s()), "/s"),
                   /*measure=*/false);
  }
  v1::Migration update;
  update.set_fence_deadline_ms(seen.wall.count() + record.max_pause_ms());
  *update.mutable_figures() = VerifiedFigures(context);
  update.mutable_figures()->set_predicted_pause_ms(predicted.count());
  context.Advance(Stage::kFencing, std::move(update));
}

}  // namespace

void PlanVerifying(StageContext& context) {
  const v1::Migration& record = context.record;
  const Observations& seen = context.seen;
  std::string why;
  if (context.RefusedForGood(StepKind::kVerify, &why) || context.RefusedForGood(StepKind::kImport, &why)) {
    return context.EndAttempt(/*abort=*/true, why);
  }
  context.Wait("both sides hash what is on their disks");
  // Asked also for its effect: a new leader of the target begins to tail again.
  context.Poll(StepKind::kImport, record.target(), context.ImportRequest(),
               context.PollInterval(milliseconds(5), milliseconds(100)));
  if (seen.verify && seen.verify->done()) {
    if (seen.verify->equal()) return PlanSwitch(context);
    if (seen.verify_restarts >= kVerifyRestarts) {
      return context.EndAttempt(/*abort=*/true, StrCat("source and target differ, also after ",
                                                       seen.verify->repaired_size(), " ranges were copied again",
                                                       seen.verify->error().empty() ? "" : ": ", seen.verify->error()));
    }
  } else if (seen.verify && !seen.verify->error().empty()) {
    context.Wait(StrCat("the verification goes on; last error: ", seen.verify->error()));
  }
  v1::VerifyStep step;
  *step.mutable_move() = context.Ref();
  step.set_copy_id(record.target_copy());
  for (const std::string& endpoint : seen.context.source_endpoints) step.add_source_endpoints(endpoint);
  step.set_restart(seen.verify && seen.verify->done() && !seen.verify->equal());
  context.Poll(StepKind::kVerify, record.target(), std::move(step),
               context.PollInterval(milliseconds(2), milliseconds(100)));
}

}  // namespace terrane::migration
