// The coordinator with gateways that the test holds in its hands.
#include "migration/coordinator.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>

#include "common/status.h"
#include "support/await.h"

namespace terrane::migration {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A metadata service that accepts everything, and shards that say yes, unless told otherwise.
class World : public MetadataGateway, public ShardGateway {
 public:
  uint64_t Add(const std::string& source, const std::string& target) {
    std::lock_guard lock(mutex_);
    const uint64_t id = records_.size() + 1;
    v1::Migration& record = records_[id];
    record.set_id(id);
    record.set_source(source);
    record.set_target(target);
    record.set_attempt(1);
    record.set_token(1);
    record.set_max_pause_ms(2000);
    return id;
  }
  // Steps that are not answered until they are let go.
  void Hold(StepKind kind) {
    std::lock_guard lock(mutex_);
    held_kinds_.insert(kind);
  }
  void Release() {
    std::deque<std::function<void()>> held;
    {
      std::lock_guard lock(mutex_);
      held_kinds_.clear();
      held_shards_.clear();
      held.swap(held_);
    }
    for (auto& answer : held) answer();
  }
  // Whoever is asked there does not answer before the release.
  void HoldShard(const std::string& shard) {
    std::lock_guard lock(mutex_);
    held_shards_.insert(shard);
  }
  // What an earlier coordinator has brought it to.
  void Enter(uint64_t id, Stage stage) {
    std::lock_guard lock(mutex_);
    records_.at(id).set_stage(ToProto(stage));
  }
  void RequestAbort(uint64_t id) {
    std::lock_guard lock(mutex_);
    records_.at(id).set_abort_requested(true);
  }
  void LoseCommands(bool lose) {
    std::lock_guard lock(mutex_);
    lose_commands_ = lose;
  }
  // The target makes no progress, and says why. "": it does.
  void FailImports(const std::string& why) {
    std::lock_guard lock(mutex_);
    import_error_ = why;
  }
  void Set(const std::string& name, const std::string& value) {
    std::lock_guard lock(mutex_);
    settings_[name] = value;
  }
  template <typename Condition>
  bool Await(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, seconds(20), [&] { return condition(*this); });
  }
  Stage StageNow(uint64_t id) const { return StageOf(records_.at(id)); }  // inside of Await
  size_t held() const { return held_.size(); }
  int commands() const { return commands_; }
  v1::Migration Record(uint64_t id) {
    std::lock_guard lock(mutex_);
    return records_.at(id);
  }

  Coordinator* coordinator = nullptr;

  // MetadataGateway
  std::vector<v1::Migration> ActiveMigrations() override {
    std::lock_guard lock(mutex_);
    std::vector<v1::Migration> active;
    for (const auto& [id, record] : records_) {
      if (!IsEnded(StageOf(record))) active.push_back(record);
    }
    return active;
  }
  std::optional<v1::Migration> FindMigration(MigrationId id) override {
    std::lock_guard lock(mutex_);
    auto found = records_.find(id.value());
    return found == records_.end() ? std::nullopt : std::optional(found->second);
  }
  absl::StatusOr<MoveContext> ContextOf(const v1::Migration&) override { return MoveContext{.collection = "db.c"}; }
  std::string Setting(const std::string& name) override {
    std::lock_guard lock(mutex_);
    return settings_[name];
  }
  void Propose(Term, v1::MetadataCommand command,
               std::function<void(absl::StatusOr<v1::CommandResult>)> done) override {
    uint64_t id = 0;
    {
      std::lock_guard lock(mutex_);
      ++commands_;
      if (!lose_commands_) id = Apply(command);
      changed_.notify_all();
    }
    if (id == 0) return done(absl::AbortedError("nobody can tell"));
    coordinator->RecordsChanged({id});
    done(v1::CommandResult());
  }

  // ShardGateway
  void Send(const std::string& shard, const StepRequest& request, milliseconds,
            std::function<void(absl::StatusOr<StepAnswer>)> done) override {
    StepAnswer answer = v1::StepResponse();
    StepKind kind = StepKind::kPin;
    if (std::holds_alternative<v1::ImportStep>(request)) {
      kind = StepKind::kImport;
      v1::ImportStatus status;
      status.set_copied(true);
      status.set_source_applied(5);
      status.set_bytes(17);
      std::lock_guard lock(mutex_);
      if (!import_error_.empty()) {
        status.set_copied(false);
        status.set_pace("as fast as the shards allow");
        status.set_error(import_error_);
      }
      answer = status;
    } else if (std::holds_alternative<v1::VerifyStep>(request)) {
      v1::VerifyStatus status;
      status.set_done(true);
      status.set_equal(true);
      answer = status;
    } else if (std::holds_alternative<v1::CompleteStep>(request)) {
      kind = StepKind::kComplete;
    }
    if (auto* step = std::get_if<v1::StepResponse>(&answer)) step->set_position(5);
    {
      std::lock_guard lock(mutex_);
      if (held_kinds_.contains(kind) || held_shards_.contains(shard)) {
        held_.push_back([done, answer] { done(answer); });
        changed_.notify_all();
        return;
      }
    }
    done(answer);
  }
  void Describe(const std::string&, milliseconds, std::function<void(absl::StatusOr<v1::DescribeResponse>)>) override {}
  void Audit(const std::string&, const v1::AuditRequest&, milliseconds,
             std::function<void(absl::StatusOr<v1::AuditResponse>)>) override {}

 private:
  uint64_t Apply(const v1::MetadataCommand& command) {
    if (command.has_advance_migration()) {
      const auto& advance = command.advance_migration();
      v1::Migration& record = records_[advance.id()];
      if (record.stage() != advance.from() || record.attempt() != advance.attempt()) return advance.id();
      record.set_stage(advance.to());
      if (advance.update().fence_deadline_ms() != 0) record.set_fence_deadline_ms(advance.update().fence_deadline_ms());
      if (advance.update().has_figures()) *record.mutable_figures() = advance.update().figures();
      return advance.id();
    }
    if (command.has_commit_migration()) {
      records_[command.commit_migration().id()].set_stage(v1::Migration::COMMITTED);
      return command.commit_migration().id();
    }
    v1::Migration& record = records_[command.end_attempt().id()];
    record.set_attempt(record.attempt() + 1);
    record.set_stage(command.end_attempt().abort() ? v1::Migration::ABORTING : v1::Migration::CATCHING_UP);
    return record.id();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, v1::Migration> records_;
  std::map<std::string, std::string> settings_;
  std::string import_error_;
  std::set<StepKind> held_kinds_;
  std::set<std::string> held_shards_;
  std::deque<std::function<void()>> held_;
  bool lose_commands_ = false;
  int commands_ = 0;
};

class CoordinatorTest : public ::testing::Test {
 protected:
  CoordinatorTest() { world_.coordinator = &coordinator_; }
  ~CoordinatorTest() override { coordinator_.Stop(); }

  World world_;
  Coordinator coordinator_{Clock::System(), &world_, &world_};
};

TEST_F(CoordinatorTest, BringsEveryActiveMoveToItsEnd) {
  const uint64_t first = world_.Add("s1", "s2");
  coordinator_.StartLeading(Term(3));
  EXPECT_TRUE(world_.Await([=](World& w) { return w.StageNow(first) == Stage::kDone; }));
  const uint64_t second = world_.Add("s2", "s1");
  coordinator_.RecordsChanged({second});
  EXPECT_TRUE(world_.Await([=](World& w) { return w.StageNow(second) == Stage::kDone; }));
  EXPECT_GT(world_.Record(second).figures().write_pause_ms(), 0);
  EXPECT_FALSE(world_.Record(second).figures().pauses_are_bounds());
  EXPECT_EQ(world_.Record(second).figures().bytes(), 17);
}

TEST_F(CoordinatorTest, MovesOfOneShardWaitForTheirTurn) {
  world_.Set("migration.moves_per_shard", "2");
  world_.Hold(StepKind::kImport);
  std::vector<uint64_t> moves;
  for (int i = 0; i < 5; ++i) moves.push_back(world_.Add("s1", "s2"));
  const uint64_t elsewhere = world_.Add("s3", "s4");
  coordinator_.StartLeading(Term(1));
  EXPECT_TRUE(world_.Await([](World& w) { return w.held() == 3; }));
  int planned = 0;
  for (uint64_t id : moves) planned += world_.Record(id).stage() == v1::Migration::PLANNED ? 1 : 0;
  EXPECT_EQ(planned, 3);
  EXPECT_EQ(world_.Record(elsewhere).stage(), v1::Migration::COPYING);
  const auto waiting = coordinator_.Progress(MigrationId(moves.back()));
  ASSERT_TRUE(waiting);
  EXPECT_NE(waiting->pace().find("waits for its turn"), std::string::npos) << waiting->pace();
  // All get through in the end.
  world_.Release();
  for (uint64_t id : moves) {
    EXPECT_TRUE(world_.Await([=](World& w) { return w.StageNow(id) == Stage::kDone; })) << id;
  }
}

// Whichever a new coordinator looks at first.
TEST_F(CoordinatorTest, ANewCoordinatorKnowsWhatIsUnderWayBeforeItAdmits) {
  world_.Set("migration.moves_per_shard", "1");
  world_.Hold(StepKind::kImport);
  const uint64_t planned = world_.Add("s1", "s2");
  const uint64_t running = world_.Add("s1", "s2");
  world_.Enter(running, Stage::kCopying);
  coordinator_.StartLeading(Term(1));
  ASSERT_TRUE(world_.Await([](World& w) { return w.held() > 0; }));
  EXPECT_EQ(world_.Record(planned).stage(), v1::Migration::PLANNED);
  world_.Release();
  EXPECT_TRUE(world_.Await([=](World& w) { return w.StageNow(planned) == Stage::kDone; }));
}

// What is left of a move once it is decided copies nothing: while a dead shard is waited for, the others go on.
TEST_F(CoordinatorTest, WhatWaitsForADeadShardTakesNobodysTurn) {
  world_.Set("migration.moves_per_shard", "1");
  world_.HoldShard("s2");
  const uint64_t committed = world_.Add("s1", "s2");
  world_.Enter(committed, Stage::kCommitted);
  const uint64_t aborted = world_.Add("s1", "s2");
  const uint64_t waiting = world_.Add("s1", "s3");
  coordinator_.StartLeading(Term(1));
  ASSERT_TRUE(world_.Await([=](World& w) { return w.StageNow(aborted) == Stage::kPreparing && w.held() == 2; }));
  EXPECT_EQ(world_.Record(waiting).stage(), v1::Migration::PLANNED);
  world_.RequestAbort(aborted);
  coordinator_.RecordsChanged({aborted});
  EXPECT_TRUE(world_.Await([=](World& w) { return w.StageNow(waiting) == Stage::kDone; }));
  EXPECT_EQ(world_.Record(aborted).stage(), v1::Migration::ABORTING);
  EXPECT_EQ(world_.Record(committed).stage(), v1::Migration::COMMITTED);
}

TEST_F(CoordinatorTest, SaysWhyACopyDoesNotGoOn) {
  world_.FailImports("the disk of s2 has 10 MB left");
  const uint64_t move = world_.Add("s1", "s2");
  coordinator_.StartLeading(Term(1));
  EXPECT_TRUE(terrane::testing::Await([&] {
    const auto progress = coordinator_.Progress(MigrationId(move));
    return progress && progress->pace() == "the target tries again: the disk of s2 has 10 MB left";
  }));
  world_.FailImports("");
  EXPECT_TRUE(world_.Await([=](World& w) { return w.StageNow(move) == Stage::kDone; }));
}

TEST_F(CoordinatorTest, T07_KeepsAskingWhenNobodyCanTell) {
  world_.Hold(StepKind::kComplete);
  const uint64_t id = world_.Add("s1", "s2");
  coordinator_.StartLeading(Term(1));
  ASSERT_TRUE(world_.Await([](World& w) { return w.held() == 1; }));
  world_.LoseCommands(true);
  const int before = [&] {
    int count = 0;
    world_.Await([&](World& w) { return count = w.commands(), true; });
    return count;
  }();
  world_.Release();
  EXPECT_TRUE(world_.Await([=](World& w) { return w.commands() >= before + 3; }));
  EXPECT_EQ(world_.Record(id).stage(), v1::Migration::FENCING);
  world_.LoseCommands(false);
  EXPECT_TRUE(world_.Await([=](World& w) { return w.StageNow(id) == Stage::kDone; }));
}

TEST_F(CoordinatorTest, NothingIsDoneByWhoDoesNotLead) {
  const uint64_t id = world_.Add("s1", "s2");
  coordinator_.RecordsChanged({id});
  world_.Hold(StepKind::kImport);
  coordinator_.StartLeading(Term(1));
  ASSERT_TRUE(world_.Await([](World& w) { return w.held() == 1; }));
  coordinator_.StopLeading();
  world_.Release();  // an answer to a coordinator that leads no more
  coordinator_.RecordsChanged({id});
  coordinator_.SettingsChanged();
  coordinator_.Stop();
  EXPECT_EQ(world_.Record(id).stage(), v1::Migration::COPYING);
  EXPECT_FALSE(coordinator_.Progress(MigrationId(id)));
}

// Between the commit and its receipt the lead goes away and comes back.
TEST_F(CoordinatorTest, PausesThatAnotherCoordinatorHasSeenAreBounds) {
  world_.Hold(StepKind::kComplete);
  const uint64_t id = world_.Add("s1", "s2");
  coordinator_.StartLeading(Term(1));
  ASSERT_TRUE(world_.Await([](World& w) { return w.held() == 1; }));
  coordinator_.StopLeading();
  world_.Enter(id, Stage::kCommitted);
  world_.Release();
  coordinator_.StartLeading(Term(2));
  ASSERT_TRUE(world_.Await([=](World& w) { return w.StageNow(id) == Stage::kDone; }));
  EXPECT_TRUE(world_.Record(id).figures().pauses_are_bounds());
  EXPECT_GT(world_.Record(id).figures().write_pause_ms(), 0);
  EXPECT_GT(world_.Record(id).figures().read_pause_ms(), 0);
}

TEST_F(CoordinatorTest, TheTestPauseHoldsAStageUntilTheSettingGoes) {
  world_.Set("test.pause_at", "verifying");
  const uint64_t id = world_.Add("s1", "s2");
  coordinator_.StartLeading(Term(1));
  ASSERT_TRUE(world_.Await([=](World& w) { return w.StageNow(id) == Stage::kVerifying; }));
  world_.Set("test.pause_at", "");
  coordinator_.SettingsChanged();
  EXPECT_TRUE(world_.Await([=](World& w) { return w.StageNow(id) == Stage::kDone; }));
}

}  // namespace
}  // namespace terrane::migration
