#include "migration/coordinator_loop.h"

#include <algorithm>
#include <charconv>

#include "common/logging.h"
#include "common/status.h"
#include "common/strings.h"
#include "migration/coordinator.h"

namespace terrane::migration {
namespace {

constexpr std::chrono::milliseconds kProposePause(50);

// Copies, or is about to change hands: it counts against the limit of its shards. One that is decided does not: the
// target has had everything since K, or wants nothing more, and what is left waits for shards that may be dead.
bool IsUnderWay(Stage stage) {
  return stage != Stage::kPlanned && BeforeCommit(stage);
}

}  // namespace

void CoordinatorLoop::Post(std::function<void(CoordinatorLoop&)> fn) {
  host_->Post([self = weak_from_this(), fn = std::move(fn)] {
    if (auto loop = self.lock()) fn(*loop);
  });
}

void CoordinatorLoop::StartLeading(Term term) {
  term_ = term;
  leading_ = true;
  Reload();
  // All of them before the first is looked at: what is admitted depends on what is under way.
  for (v1::Migration& record : metadata_->ActiveMigrations()) tasks_[record.id()].record = std::move(record);
  LookAtAll();
}

void CoordinatorLoop::StopLeading() {
  leading_ = false;
  for (auto& [id, task] : tasks_) {
    if (task.timer) host_->Cancel(*task.timer);
  }
  tasks_.clear();
  std::lock_guard lock(progress_mutex_);
  progress_.clear();
}

void CoordinatorLoop::RecordsChanged(const std::vector<uint64_t>& ids) {
  if (!leading_) return;
  for (uint64_t id : ids) Look(id);
}

void CoordinatorLoop::SettingsChanged() {
  if (!leading_) return;
  Reload();
  LookAtAll();
}

std::optional<v1::MigrationProgress> CoordinatorLoop::Progress(MigrationId id) const {
  std::lock_guard lock(progress_mutex_);
  auto found = progress_.find(id.value());
  return found == progress_.end() ? std::nullopt : std::optional(found->second);
}

void CoordinatorLoop::Reload() {
  pause_at_ = metadata_->Setting(std::string(kPauseAtSetting));
  const std::string limit = metadata_->Setting(std::string(kMovesPerShardSetting));
  moves_per_shard_ = kDefaultMovesPerShard;
  int value = 0;
  if (std::from_chars(limit.data(), limit.data() + limit.size(), value).ec == std::errc() && value > 0) {
    moves_per_shard_ = value;
  }
}

void CoordinatorLoop::LookAtAll() {
  std::vector<uint64_t> ids;
  for (const auto& [id, task] : tasks_) ids.push_back(id);
  for (uint64_t id : ids) Look(id);
}

void CoordinatorLoop::Look(uint64_t id) {
  auto record = metadata_->FindMigration(MigrationId(id));
  if (!record || IsEnded(StageOf(*record))) return Forget(id, record);
  MoveTask& task = tasks_[id];
  // Also in `planned`: it may have had a turn that it does not take.
  const bool was_undecided = task.generation != 0 && BeforeCommit(StageOf(task.record));
  if (task.Update(*record, ++generations_, clock_->Now())) {
    LogInfo("coordinator", "stage",
            {{"migration", id},
             {"stage", NameOf(StageOf(*record))},
             {"attempt", record->attempt()},
             {"source", record->source()},
             {"target", record->target()},
             {"reason", record->reason()}});
  }
  Observe(&task);
  Plan plan = NextStep(task.record, task.seen);
  task.waiting = plan.waiting;
  Perform(id, &task, std::move(plan));
  {
    std::lock_guard lock(progress_mutex_);
    progress_[id] = task.Progress();
  }
  if (was_undecided && !BeforeCommit(StageOf(task.record))) AdmitMore();
}

void CoordinatorLoop::Forget(uint64_t id, const std::optional<v1::Migration>& record) {
  auto found = tasks_.find(id);
  if (found == tasks_.end()) return;
  LogInfo("coordinator", "ended",
          {{"migration", id},
           {"stage", record ? NameOf(StageOf(*record)) : "forgotten"},
           {"reason", record ? record->reason() : std::string()},
           {"write_pause_ms", record ? record->figures().write_pause_ms() : 0.0},
           {"pauses_are_bounds", record && record->figures().pauses_are_bounds()}});
  if (found->second.timer) host_->Cancel(*found->second.timer);
  tasks_.erase(found);
  {
    std::lock_guard lock(progress_mutex_);
    progress_.erase(id);
  }
  AdmitMore();
}

void CoordinatorLoop::AdmitMore() {
  std::vector<uint64_t> planned;
  for (const auto& [id, task] : tasks_) {
    if (StageOf(task.record) == Stage::kPlanned) planned.push_back(id);
  }
  for (uint64_t id : planned) Look(id);
}

void CoordinatorLoop::Observe(MoveTask* task) {
  Observations& seen = task->seen;
  seen.now = clock_->Now();
  seen.wall = clock_->Wall();
  seen.pause_at = pause_at_;
  seen.metadata_commit = last_commit_;
  seen.metadata_commit_at = last_commit_at_;
  if (auto context = metadata_->ContextOf(task->record); context.ok()) seen.context = *std::move(context);
  seen.admitted = true;
  if (StageOf(task->record) == Stage::kPlanned) Admit(task);
}

void CoordinatorLoop::Admit(MoveTask* task) {
  for (const std::string& shard : {task->record.source(), task->record.target()}) {
    int under_way = 0;
    for (const auto& [id, other] : tasks_) {
      // One whose way out of `planned` is being committed counts as well.
      const Stage stage = StageOf(other.record);
      const bool leaves = stage == Stage::kPlanned && other.seen.proposing && &other != task;
      const bool counts = IsUnderWay(stage) || leaves;
      if (counts && (other.record.source() == shard || other.record.target() == shard)) ++under_way;
    }
    if (under_way < moves_per_shard_) continue;
    task->seen.admitted = false;
    task->seen.admission = StrCat("waits for its turn: ", under_way, " moves are under way on ", shard,
                                  ", the limit is ", moves_per_shard_, " (", kMovesPerShardSetting, ")");
    return;
  }
}

void CoordinatorLoop::Perform(uint64_t id, MoveTask* task, Plan plan) {
  const MonotonicTime now = task->seen.now;
  for (Step& step : plan.sends) {
    task->Sent(step.kind, now);
    shards_->Send(step.shard, step.request, step.timeout,
                  [self = weak_from_this(), id, kind = step.kind, now,
                   generation = task->generation](absl::StatusOr<StepAnswer> answer) {
                    auto loop = self.lock();
                    if (!loop) return;
                    loop->Post([=, answer = std::move(answer)](CoordinatorLoop& loop) {
                      loop.OnAnswer(id, generation, kind, now, answer);
                    });
                  });
  }
  if (plan.command) {
    task->seen.proposing = true;
    metadata_->Propose(term_, *std::move(plan.command),
                       [self = weak_from_this(), id, now, generation = task->generation,
                        term = term_](absl::StatusOr<v1::CommandResult> result) {
                         auto loop = self.lock();
                         if (!loop) return;
                         loop->Post([=, result = std::move(result)](CoordinatorLoop& loop) {
                           loop.OnProposed(id, generation, term, now, result);
                         });
                       });
  }
  if (task->timer) {
    host_->Cancel(*task->timer);
    task->timer.reset();
  }
  if (plan.wake_at) {
    task->timer = host_->After(*plan.wake_at - now, [self = weak_from_this(), id] {
      if (auto loop = self.lock()) {
        loop->Post([id](CoordinatorLoop& loop) {
          if (loop.tasks_.contains(id)) loop.Look(id);
        });
      }
    });
  }
}

void CoordinatorLoop::OnAnswer(uint64_t id, uint64_t generation, StepKind kind, MonotonicTime sent,
                               absl::StatusOr<StepAnswer> answer) {
  auto found = tasks_.find(id);
  if (found == tasks_.end() || found->second.generation != generation) return;
  if (!answer.ok()) {
    LogDebug("coordinator", "step failed", {{"migration", id}, {"step", NameOf(kind)}, {"status", answer.status()}});
  }
  found->second.Answered(kind, sent, clock_->Now(), std::move(answer));
  Look(id);
}

void CoordinatorLoop::OnProposed(uint64_t id, uint64_t generation, Term term, MonotonicTime proposed,
                                 const absl::StatusOr<v1::CommandResult>& result) {
  if (!leading_ || term != term_) return;
  const MonotonicTime now = clock_->Now();
  if (result.ok()) {
    last_commit_ = Milliseconds(now - proposed);
    last_commit_at_ = now;
  }
  auto found = tasks_.find(id);
  if (found == tasks_.end()) return;
  if (found->second.generation == generation) {
    Observations& seen = found->second.seen;
    seen.proposing = false;
    seen.propose_error =
        result.ok() ? absl::Status(static_cast<absl::StatusCode>(result->code()), result->message()) : result.status();
    if (!seen.propose_error.ok()) {
      LogInfo("coordinator", "command refused", {{"migration", id}, {"status", seen.propose_error}});
      seen.propose_not_before = now + kProposePause;
    }
  }
  Look(id);
}

}  // namespace terrane::migration
