// The switch in small: the real metadata state and the real NextStep, two coordinators that act on what they read some
// time ago, shards as in docs/migration.md, messages and commands that are lost, late or doubled. One seed decides
// everything. What must hold is checked after every step; then one coordinator and a network that works must bring the
// move to its end.
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>

#include "common/random.h"
#include "common/strings.h"
#include "metadata/invariants.h"
#include "metadata/state.h"
#include "migration/move_task.h"

namespace terrane::metadata {
namespace {

using migration::MoveTask;
using migration::Stage;
using migration::StepKind;

// Mistakes of shards, to see that the checks can fail.
struct Mistakes {
  bool no_attempt_check = false;     // what belongs to a dead attempt takes effect
  bool unfence_by_timer = false;     // a source opens its fence by itself (trap T08)
  bool fence_without_token = false;  // F does not record the chunk's token (trap T68)
  bool token_is_proof = false;       // a target believes any greater token (trap T54)
  bool end_answered_early = false;   // the source confirms the end of an attempt before it is in its log
};

// One chunk with one counter. What the log entries do, not how they get there.
struct Source {
  enum State { kOwned, kWriteFenced, kReadFenced, kReleased, kDropped };
  State state = kOwned;
  uint64_t token = 1;
  uint32_t fenced_by = 0;  // attempt
  uint64_t fence = 0, read_fence = 0, pin = 0;
  uint32_t dead = 0;
  uint64_t log = 10;
  int count = 0;
  std::map<uint64_t, int> oplog;  // position of F -> counter then
};
struct Target {
  enum State { kNone, kImporting, kComplete, kOwned };
  State state = kNone;
  uint64_t token = 0;
  uint32_t attempt = 0;
  uint64_t fence = 0, complete = 0;
  uint32_t dead = 0;
  uint64_t log = 1000;
  int count = 0;
};

class Simulation {
 public:
  Simulation(uint64_t seed, Mistakes mistakes) : random_(seed), mistakes_(mistakes) {
    for (const char* name : {"s1", "s2"}) {
      v1::MetadataCommand command;
      command.mutable_register_shard()->set_name(name);
      auto* replica = command.mutable_register_shard()->add_replicas();
      replica->set_replica_id(1);
      replica->set_endpoint(name);
      state_.Apply(command);
    }
    v1::MetadataCommand create;
    create.mutable_create_collection()->set_name("db.c");
    create.mutable_create_collection()->add_shards("s1");
    state_.Apply(create);
    v1::MetadataCommand ready;
    ready.mutable_collection_ready()->set_collection_id(1);
    state_.Apply(ready);
    v1::MetadataCommand start;
    auto* move = start.mutable_start_migration();
    move->set_collection_id(1);
    move->mutable_range()->set_unbounded(true);
    move->set_expected_token(1);
    move->set_target("s2");
    state_.Apply(start);
    old_routes_.push_back(Chunk());
    coordinators_.resize(2);
    for (auto& coordinator : coordinators_) Restart(&coordinator);
  }

  // The first thing that was wrong; empty: nothing.
  std::string Run() {
    const int steps = 200 + static_cast<int>(random_.Below(400));
    for (int i = 0; i < steps && wrong_.empty(); ++i) {
      RandomEvent();
      Check();
    }
    healed_ = true;
    coordinators_.pop_back();
    Restart(&coordinators_[0]);
    for (int i = 0; i < 6000 && wrong_.empty() && !Ended(); ++i) {
      RandomEvent();
      Check();
    }
    if (wrong_.empty() && !Ended()) {
      wrong_ = StrCat("the move does not end: ", Record().ShortDebugString(), " source ", source_.state, " target ",
                      target_.state);
    }
    return wrong_;
  }

  bool committed() const { return Chunk().shard() == "s2"; }
  int attempts() const { return Record().attempts_size(); }

 private:
  struct Coordinator {
    MoveTask task;
    bool running = true;
  };
  struct Message {
    size_t coordinator;
    uint64_t generation;
    StepKind kind;
    migration::StepRequest request;
  };
  struct Answer {
    Message message;
    absl::StatusOr<migration::StepAnswer> answer;
  };
  struct Command {
    size_t coordinator;
    uint64_t generation;
    v1::MetadataCommand command;
  };
  struct Proposed {
    size_t coordinator;
    uint64_t generation;
    absl::Status status;
  };

  const v1::Migration& Record() const { return state_.migrations().begin()->second; }
  const v1::Chunk& Chunk() const { return *state_.FindChunk(CollectionId(1), ""); }
  bool Ended() const {
    if (!migration::IsEnded(migration::StageOf(Record()))) return false;
    if (committed()) return source_.state == Source::kDropped && target_.state == Target::kOwned;
    return source_.state == Source::kOwned && target_.state == Target::kNone;
  }
  bool Loses() { return !healed_ && random_.OneIn(5); }
  bool Doubles() { return !healed_ && random_.OneIn(6); }

  void Restart(Coordinator* coordinator) {
    coordinator->task = MoveTask();
    coordinator->task.seen.context.collection = "db.c";
    coordinator->running = true;
    Read(coordinator);
  }
  void Read(Coordinator* coordinator) { coordinator->task.Update(Record(), ++generations_, now_); }

  void RandomEvent() {
    switch (random_.Below(healed_ ? 7 : 9)) {
      case 0:
        now_ += std::chrono::milliseconds(random_.OneIn(8) ? random_.Below(900) : random_.Below(20));
        break;
      case 1:
      case 2:
        Look();
        break;
      case 3:
        DeliverMessage();
        break;
      case 4:
        DeliverAnswer();
        break;
      case 5:
        DeliverCommand();
        break;
      case 6:
        ClientOrSource();
        break;
      case 7:
        if (random_.OneIn(12)) Restart(&coordinators_[random_.Below(coordinators_.size())]);
        break;
      default:
        if (random_.OneIn(150)) {
          v1::MetadataCommand abort;
          abort.mutable_request_abort()->set_id(Record().id());
          Apply(abort);
        }
    }
  }

  void Look() {
    const size_t who = random_.Below(coordinators_.size());
    Coordinator& coordinator = coordinators_[who];
    // What it knows of the record is as old as it likes.
    if (healed_ || !random_.OneIn(3)) Read(&coordinator);
    auto& seen = coordinator.task.seen;
    seen.now = now_;
    seen.wall = std::chrono::duration_cast<WallTime>(now_);
    seen.metadata_commit = migration::Milliseconds(1);
    seen.metadata_commit_at = now_;
    migration::Plan plan = NextStep(coordinator.task.record, seen);
    for (auto& step : plan.sends) {
      coordinator.task.Sent(step.kind, now_);
      messages_.push_back({who, coordinator.task.generation, step.kind, std::move(step.request)});
    }
    if (plan.command) {
      seen.proposing = true;
      commands_.push_back({who, coordinator.task.generation, *std::move(plan.command)});
    }
  }

  template <typename T>
  std::optional<T> Take(std::deque<T>* queue) {
    if (queue->empty()) return std::nullopt;
    const size_t i = random_.Below(queue->size());
    T taken = (*queue)[i];
    if (!Doubles()) queue->erase(queue->begin() + static_cast<ptrdiff_t>(i));
    return taken;
  }

  void DeliverMessage() {
    auto message = Take(&messages_);
    if (!message) return;
    absl::StatusOr<migration::StepAnswer> answer = absl::DeadlineExceededError("lost");
    if (!Loses()) answer = Perform(*message);
    if (Loses()) answer = absl::DeadlineExceededError("lost");
    answers_.push_back({std::move(*message), std::move(answer)});
  }

  void DeliverAnswer() {
    if (!proposed_.empty() && random_.OneIn(2)) {
      Proposed proposed = std::move(proposed_.front());
      proposed_.pop_front();
      if (proposed.coordinator >= coordinators_.size()) return;
      MoveTask& task = coordinators_[proposed.coordinator].task;
      if (task.generation != proposed.generation) return;
      task.seen.proposing = false;
      task.seen.propose_error = proposed.status;
      return;
    }
    if (answers_.empty()) return;
    Answer answer = std::move(answers_.front());
    answers_.pop_front();
    if (answer.message.coordinator >= coordinators_.size()) return;
    MoveTask& task = coordinators_[answer.message.coordinator].task;
    if (task.generation != answer.message.generation || !task.seen.step(answer.message.kind).in_flight) return;
    task.Answered(answer.message.kind, now_, now_, std::move(answer.answer));
  }

  void DeliverCommand() {
    auto command = Take(&commands_);
    if (!command) return;
    absl::Status status = absl::AbortedError("nobody can tell");
    if (!Loses()) {
      auto applied = Apply(command->command);
      if (!Loses())
        status = absl::Status(static_cast<absl::StatusCode>(applied.result.code()), applied.result.message());
    }
    proposed_.push_back({command->coordinator, command->generation, std::move(status)});
  }

  Applied Apply(const v1::MetadataCommand& command) {
    const v1::MetadataState before = state_.ToProto();
    Applied applied = state_.Apply(command);
    const v1::MetadataState after = state_.ToProto();
    for (const auto& broken : CheckInvariants(after)) Wrong(broken);
    for (const auto& broken : CheckHistory(before, after)) Wrong(broken);
    if (applied.HasRoutes()) old_routes_.push_back(Chunk());
    return applied;
  }

  // ---- the shards ----

  bool Dead(uint32_t dead, uint32_t attempt) const { return attempt <= dead && !mistakes_.no_attempt_check; }

  absl::StatusOr<migration::StepAnswer> Perform(const Message& message) {
    return std::visit([&](const auto& step) { return Do(message.kind, step); }, message.request);
  }
  static absl::StatusOr<migration::StepAnswer> Ok(uint64_t position) {
    v1::StepResponse response;
    response.set_position(position);
    return migration::StepAnswer(response);
  }
  static absl::Status Stale() { return absl::FailedPreconditionError("the attempt has ended"); }

  using Result = absl::StatusOr<migration::StepAnswer>;
  Result Do(StepKind, const v1::PinStep& step) {
    if (Dead(source_.dead, step.entry().move().attempt())) return Stale();
    if (source_.pin == 0) source_.pin = ++source_.log;
    return Ok(source_.pin);
  }
  Result Do(StepKind, const v1::PrepareStep& step) {
    if (Dead(target_.dead, step.entry().move().attempt())) return Stale();
    if (target_.state == Target::kNone) {
      target_.state = Target::kImporting;
      target_.count = source_.count;
      target_.token = step.entry().token();
      ++target_.log;
    }
    return Ok(target_.log);
  }
  Result Do(StepKind, const v1::ImportStep& step) {
    if (Dead(target_.dead, step.move().attempt())) return Stale();
    if (target_.state == Target::kNone) return absl::NotFoundError("no copy");
    v1::ImportStatus status;
    status.set_copied(!random_.OneIn(3));
    if (!random_.OneIn(3)) status.set_source_applied(5);
    return migration::StepAnswer(status);
  }
  Result Do(StepKind, const v1::VerifyStep& step) {
    if (Dead(target_.dead, step.move().attempt())) return Stale();
    v1::VerifyStatus status;
    status.set_done(!random_.OneIn(3));
    status.set_equal(status.done());
    return migration::StepAnswer(status);
  }
  Result Do(StepKind, const v1::FenceStep& step) {
    const uint32_t attempt = step.entry().move().attempt();
    if (Dead(source_.dead, attempt)) return Stale();
    if (step.entry().token() < source_.token) return absl::FailedPreconditionError("an older token");
    const bool fenced = source_.state == Source::kWriteFenced || source_.state == Source::kReadFenced;
    if (fenced && source_.fenced_by == attempt) return Ok(source_.fence);
    if (source_.state != Source::kOwned && !(fenced && source_.fenced_by < attempt)) return Stale();
    source_.state = Source::kWriteFenced;
    source_.fenced_by = attempt;
    source_.fence = ++source_.log;
    if (!mistakes_.fence_without_token) source_.token = step.entry().token();
    source_.oplog[source_.fence] = source_.count;
    return Ok(source_.fence);
  }
  Result Do(StepKind, const v1::FenceReadsStep& step) {
    if (Dead(source_.dead, step.entry().move().attempt())) return Stale();
    if (source_.fence != step.entry().fence() || source_.state == Source::kOwned) return Stale();
    if (source_.state == Source::kWriteFenced) {
      source_.state = Source::kReadFenced;
      source_.read_fence = ++source_.log;
    }
    return Ok(source_.read_fence);
  }
  Result Do(StepKind, const v1::CompleteStep& step) {
    const uint32_t attempt = step.move().attempt();
    if (Dead(target_.dead, attempt)) return Stale();
    if (target_.state == Target::kComplete && target_.fence == step.fence()) return Ok(target_.complete);
    if (target_.state != Target::kImporting) return Stale();
    auto then = source_.oplog.find(step.fence());
    if (then == source_.oplog.end()) return absl::UnavailableError("not reached");
    target_.state = Target::kComplete;
    target_.count = then->second;
    target_.fence = step.fence();
    target_.attempt = attempt;
    target_.complete = ++target_.log;
    target_.token = std::max(target_.token, step.token());
    return Ok(target_.complete);
  }
  Result Do(StepKind kind, const v1::EndAttemptStep& step) {
    const uint32_t attempt = step.entry().move().attempt();
    if (kind == StepKind::kEndAttemptSource) {
      if (mistakes_.end_answered_early && random_.OneIn(2)) {
        late_ends_.push_back(step);
        return Ok(++source_.log);
      }
      EndOnSource(attempt, step.entry().token());
      return Ok(++source_.log);
    }
    target_.dead = std::max(target_.dead, attempt);
    const bool open =
        target_.state == Target::kImporting ||
        (target_.state == Target::kComplete && (target_.attempt <= attempt || mistakes_.no_attempt_check));
    if (open) {
      target_.token = std::max(target_.token, step.entry().token());
      target_.state = step.entry().abort() ? Target::kNone : Target::kImporting;
    }
    return Ok(++target_.log);
  }
  void EndOnSource(uint32_t attempt, uint64_t token) {
    source_.dead = std::max(source_.dead, attempt);
    const bool fenced = source_.state == Source::kWriteFenced || source_.state == Source::kReadFenced;
    if (!fenced || (source_.fenced_by > attempt && !mistakes_.no_attempt_check)) return;
    source_.state = Source::kOwned;
    source_.token = std::max(source_.token, token);
  }
  Result Do(StepKind, const v1::OwnStep& step) {
    if (target_.state != Target::kComplete && target_.state != Target::kOwned) {
      return absl::FailedPreconditionError("the copy is not complete");
    }
    target_.state = Target::kOwned;
    target_.token = std::max(target_.token, step.entry().token());
    return Ok(++target_.log);
  }
  Result Do(StepKind, const v1::ReleaseStep&) {
    if (source_.state == Source::kOwned) return absl::FailedPreconditionError("not fenced");
    if (source_.state != Source::kDropped) source_.state = Source::kReleased;
    return Ok(++source_.log);
  }
  Result Do(StepKind kind, const v1::DropCopyStep&) {
    if (kind == StepKind::kDropSource) {
      if (source_.state != Source::kReleased && source_.state != Source::kDropped) {
        return absl::FailedPreconditionError("not released");
      }
      source_.state = Source::kDropped;
    } else {
      if (target_.state == Target::kComplete || target_.state == Target::kOwned) {
        return absl::FailedPreconditionError("in use");
      }
      target_.state = Target::kNone;
    }
    return Ok(1);
  }
  Result Do(StepKind, const v1::CreateChunkStep&) { return absl::UnimplementedError(""); }
  Result Do(StepKind, const v1::SplitChunkStep&) { return absl::UnimplementedError(""); }

  // ---- everybody else ----

  void ClientOrSource() {
    // Clients come in bursts: what a write would mend by the way may stay as it is for a long time.
    if (quiet_ > 0) {
      --quiet_;
      return;
    }
    if (random_.OneIn(20)) quiet_ = random_.Below(60);
    if (!late_ends_.empty() && random_.OneIn(20)) {
      const v1::EndAttemptEntry end = late_ends_.front().entry();
      late_ends_.pop_front();
      return EndOnSource(end.move().attempt(), end.token());
    }
    if (random_.OneIn(healed_ ? 3 : 20))
      return SourceAsks();  // rarely: it asks once in a while, and clients all the time
    const v1::Chunk route = random_.OneIn(2) ? Chunk() : old_routes_[random_.Below(old_routes_.size())];
    if (random_.OneIn(6)) {  // to the shard that the route does not name
      WriteTarget(route, /*names_copy=*/route.shard() == "s2");
      return;
    }
    if (route.shard() == "s2") {
      WriteTarget(route, true);
    } else {
      WriteSource(route);
    }
  }
  void WriteSource(const v1::Chunk& route) {
    if (source_.state == Source::kReleased || source_.state == Source::kDropped) return;
    const bool proof = route.token() > source_.token;
    if (source_.state != Source::kOwned && !proof) return;
    if (route.token() < source_.token) return;
    source_.state = Source::kOwned;
    source_.token = route.token();
    source_.count = ++acknowledged_;
  }
  void WriteTarget(const v1::Chunk& route, bool names_copy) {
    const bool proof =
        target_.state == Target::kComplete && route.token() > target_.token && (names_copy || mistakes_.token_is_proof);
    if (!proof && !(target_.state == Target::kOwned && names_copy && route.token() == target_.token)) return;
    if (!committed()) Wrong("the target serves before the commit");
    if (target_.count != acknowledged_) Wrong("the target does not have an acknowledged write");
    target_.state = Target::kOwned;
    target_.token = route.token();
    target_.count = ++acknowledged_;
  }
  // A fenced source acts on the record's evidence only.
  void SourceAsks() {
    if (source_.state != Source::kWriteFenced && source_.state != Source::kReadFenced) return;
    if (mistakes_.unfence_by_timer && random_.OneIn(4)) return EndOnSource(source_.fenced_by, source_.token);
    const v1::Migration& record = Record();
    const Stage stage = migration::StageOf(record);
    if (record.attempt() > source_.fenced_by || stage == Stage::kAborting || stage == Stage::kAborted) {
      EndOnSource(source_.fenced_by, record.token());
    } else if (!migration::BeforeCommit(stage)) {
      source_.state = Source::kReleased;
    }
  }

  void Wrong(const std::string& what) {
    if (wrong_.empty()) wrong_ = what;
  }
  void Check() {
    if (source_.state == Source::kOwned && target_.state == Target::kOwned) Wrong("two owners");
    if (target_.state == Target::kOwned && !committed()) Wrong("an owner without a commit");
    const bool reads = source_.state == Source::kOwned || source_.state == Source::kWriteFenced;
    if (reads && source_.count != acknowledged_) Wrong("the source would serve an old value");
    if (committed()) {
      if (target_.state < Target::kComplete) Wrong("the owner has no complete copy");
      if (target_.count < acknowledged_) Wrong("an acknowledged write is lost");
    } else if (source_.count < acknowledged_) {
      Wrong("an acknowledged write is lost");
    }
  }

  Random random_;
  const Mistakes mistakes_;
  State state_;
  Source source_;
  Target target_;
  int acknowledged_ = 0;
  MonotonicTime now_ = std::chrono::seconds(1000);
  uint64_t generations_ = 0;
  bool healed_ = false;
  uint64_t quiet_ = 0;  // so many times nobody does anything
  std::string wrong_;
  std::vector<v1::Chunk> old_routes_;
  std::vector<Coordinator> coordinators_;
  std::deque<v1::EndAttemptStep> late_ends_;
  std::deque<Message> messages_;
  std::deque<Answer> answers_;
  std::deque<Command> commands_;
  std::deque<Proposed> proposed_;
};

// TERRANE_SEED=n runs one seed, TERRANE_SEEDS=n that many.
uint64_t Number(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

TEST(MoveSimulationTest, EverySeedEndsWithoutHarm) {
  const uint64_t first = Number("TERRANE_SEED", 1);
  const uint64_t seeds = std::getenv("TERRANE_SEED") != nullptr ? 1 : Number("TERRANE_SEEDS", 3000);
  int committed = 0, aborted = 0, after_attempts = 0;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    Simulation simulation(seed, Mistakes());
    const std::string wrong = simulation.Run();
    ASSERT_EQ(wrong, "") << "replay: TERRANE_SEED=" << seed
                         << " metadata_test --gtest_filter=MoveSimulationTest.EverySeedEndsWithoutHarm";
    (simulation.committed() ? committed : aborted) += 1;
    if (simulation.committed() && simulation.attempts() > 0) ++after_attempts;
  }
  if (seeds < 100) return;
  // Probes: a run that never went these ways has tested nothing.
  EXPECT_GT(committed, 0);
  EXPECT_GT(aborted, 0);
  EXPECT_GT(after_attempts, 0);
  RecordProperty("committed", committed);
  RecordProperty("aborted", aborted);
  RecordProperty("committed_after_an_ended_attempt", after_attempts);
}

// The checks can fail: each mistake of a shard is found.
bool IsFound(Mistakes mistakes, uint64_t seeds = 20000) {
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    if (!Simulation(seed, mistakes).Run().empty()) return true;
  }
  return false;
}
TEST(MoveSimulationTest, T63_AttemptsThatAreNotCheckedAreFound) {
  EXPECT_TRUE(IsFound({.no_attempt_check = true}));
}
TEST(MoveSimulationTest, T08_AFenceThatOpensByItselfIsFound) {
  EXPECT_TRUE(IsFound({.unfence_by_timer = true}));
}
TEST(MoveSimulationTest, T68_AFenceWithoutTokenIsFound) {
  // The next fence overtakes the un-fence: harmless, because F records the token.
  EXPECT_FALSE(IsFound({.end_answered_early = true}, 5000));
  EXPECT_TRUE(IsFound({.fence_without_token = true, .end_answered_early = true}));
}
TEST(MoveSimulationTest, T54_ATokenThatProvesTooMuchIsFound) {
  EXPECT_TRUE(IsFound({.token_is_proof = true}));
}

}  // namespace
}  // namespace terrane::metadata
