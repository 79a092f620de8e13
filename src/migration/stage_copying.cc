// PLANNED, PREPARING, COPYING, CATCHING_UP: nothing here holds anybody up, nothing has to be undone but a pin and a
// copy that nobody reads.
#include "common/strings.h"
#include "migration/stage_steps.h"

namespace terrane::migration {

using std::chrono::milliseconds;

namespace {

constexpr milliseconds kStepTimeout(5000);
// The least pause before the second attempt; doubled for the third.
constexpr milliseconds kAttemptPause(250);
// A target that lacks no more than this is close enough to be verified.
constexpr int64_t kCloseEntries = 2000;

}  // namespace

void PlanPlanned(StageContext& context) {
  if (!context.seen.admitted) return context.Wait(context.seen.admission);
  context.Advance(Stage::kPreparing);
}

void PlanPreparing(StageContext& context) {
  const v1::Migration& record = context.record;
  std::string why;
  if (context.RefusedForGood(StepKind::kPin, &why) || context.RefusedForGood(StepKind::kPrepare, &why)) {
    return context.EndAttempt(/*abort=*/true, why);
  }
  context.Wait("the source pins its oplog, the target makes an empty copy");

  const v1::StepResponse* pinned = context.Once(StepKind::kPin, record.source(), context.PinRequest(), kStepTimeout);
  if (pinned == nullptr) return;

  const auto* prepared =
      context.Once(StepKind::kPrepare, record.target(), context.PrepareRequest(pinned->position()), kStepTimeout);
  if (prepared == nullptr) return;

  v1::Migration update;
  update.set_pin(pinned->position());
  context.Advance(Stage::kCopying, std::move(update));
}

void PlanCopying(StageContext& context) {
  const v1::Migration& record = context.record;
  std::string why;
  if (context.RefusedForGood(StepKind::kImport, &why)) return context.EndAttempt(/*abort=*/true, why);
  const auto& import = context.seen.import;
  if (import && import->copied()) {
    v1::Migration update;
    auto* figures = update.mutable_figures();
    *figures = record.figures();
    figures->set_documents(import->documents());
    figures->set_bytes(import->bytes());
    figures->set_segments(import->segments());
    figures->set_copy_mb_per_s(import->mb_per_s());
    return context.Advance(Stage::kCatchingUp, std::move(update));
  }
  context.Wait(import && !import->error().empty() ? StrCat("the target tries again: ", import->error())
                                                  : "the target copies the chunk");
  context.Poll(StepKind::kImport, record.target(), context.ImportRequest(),
               context.PollInterval(milliseconds(2), milliseconds(200)));
}

void PlanCatchingUp(StageContext& context) {
  const v1::Migration& record = context.record;
  const Observations& seen = context.seen;
  std::string why;
  if (context.RefusedForGood(StepKind::kImport, &why)) return context.EndAttempt(/*abort=*/true, why);
  context.Wait("the target applies what was written since it copied");
  // The end of the last attempt is an entry of both logs before another one begins; the fence opens with it.
  bool told = true;
  if (record.attempt() > 1) {
    const uint32_t ended = record.attempt() - 1;
    const auto* source = context.Once(StepKind::kEndAttemptSource, record.source(),
                                      context.EndAttemptRequest(ended, false, /*source=*/true), kStepTimeout);
    const auto* target = context.Once(StepKind::kEndAttemptTarget, record.target(),
                                      context.EndAttemptRequest(ended, false, /*source=*/false), kStepTimeout);
    told = source != nullptr && target != nullptr;
  }
  context.Poll(StepKind::kImport, record.target(), context.ImportRequest(),
               context.PollInterval(milliseconds(2), milliseconds(100)));
  if (!told) return;
  if (record.attempt() > 1) {
    MonotonicTime pause = kAttemptPause * (1 << (record.attempt() - 2));
    if (seen.now < seen.stage_seen + pause) {
      context.Wait(StrCat("attempt ", record.attempt(), " begins after a pause"));
      return context.WakeAt(seen.stage_seen + pause);
    }
  }
  // Only what was seen in this stage counts: the tail may have fallen behind since.
  if (!seen.import || seen.import_at < seen.stage_seen || !seen.import->copied()) return;
  if (!context.LagIsMeasured()) return context.WaitForLag();
  const bool close = seen.import->lag_entries() <= kCloseEntries ||
                     PredictDrain(seen.import->lag_entries(), seen.import->apply_entries_per_s()).count() <=
                         static_cast<double>(record.max_pause_ms()) / 2;
  if (!close) {
    return context.Wait(StrCat("the target lacks ", seen.import->lag_entries(),
                               " entries of the source's oplog and applies ",
                               static_cast<int64_t>(seen.import->apply_entries_per_s()), "/s"));
  }
  context.Advance(Stage::kVerifying);
}

}  // namespace terrane::migration
