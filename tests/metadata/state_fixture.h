// A metadata state and short words for the commands that change it. Every command is followed by a check of all
// invariants and of what changed.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/strings.h"
#include "metadata/invariants.h"
#include "metadata/state.h"
#include "migration/stages.h"

namespace terrane::metadata {

class StateFixture : public ::testing::Test {
 protected:
  using Stage = migration::Stage;

  Applied Do(v1::MetadataCommand command) {
    const v1::MetadataState before = state_.ToProto();
    if (command.now_ms() == 0) command.set_now_ms(++now_ms_);
    Applied applied = state_.Apply(command);
    const v1::MetadataState after = state_.ToProto();
    for (const auto& broken : CheckInvariants(after)) ADD_FAILURE() << broken << "\nafter " << command.DebugString();
    for (const auto& broken : CheckHistory(before, after))
      ADD_FAILURE() << broken << "\nafter " << command.DebugString();
    EXPECT_EQ(applied.result.revision(), state_.revision().value());
    if (applied.result.code() != 0) {
      // A refused command leaves no trace.
      EXPECT_EQ(before.SerializeAsString().size(), after.SerializeAsString().size()) << command.DebugString();
      EXPECT_EQ(before.revision(), after.revision()) << command.DebugString();
      EXPECT_FALSE(applied.HasRoutes());
    }
    return applied;
  }
  absl::StatusCode Code(v1::MetadataCommand command) {
    return static_cast<absl::StatusCode>(Do(std::move(command)).result.code());
  }

  void AddShard(const std::string& name) {
    v1::MetadataCommand command;
    command.mutable_register_shard()->set_name(name);
    auto* replica = command.mutable_register_shard()->add_replicas();
    replica->set_replica_id(1);
    replica->set_endpoint(StrCat(name, ":1"));
    EXPECT_EQ(Code(command), absl::StatusCode::kOk);
  }
  v1::MetadataCommand CreateCommand(const std::string& name, std::vector<std::string> points,
                                    std::vector<std::string> shards) {
    v1::MetadataCommand command;
    auto* create = command.mutable_create_collection();
    create->set_name(name);
    for (auto& point : points) create->add_split_points(point);
    for (auto& shard : shards) create->add_shards(shard);
    return command;
  }
  // s1: [-inf, g), [p, +inf); s2: [g, p). Ready.
  uint32_t CreateReady(const std::string& name) {
    auto created = Do(CreateCommand(name, {"g", "p"}, {"s1", "s2"}));
    EXPECT_EQ(created.result.code(), 0) << created.result.message();
    const uint32_t id = created.result.collection().id();
    EXPECT_EQ(Code(Ready(id)), absl::StatusCode::kOk);
    return id;
  }
  static v1::MetadataCommand Ready(uint32_t id) {
    v1::MetadataCommand command;
    command.mutable_collection_ready()->set_collection_id(id);
    return command;
  }
  const v1::Chunk& ChunkAt(uint32_t collection, const std::string& key) const {
    return *state_.FindChunk(CollectionId(collection), key);
  }
  v1::MetadataCommand StartCommand(uint32_t collection, const std::string& key, const std::string& target) {
    v1::MetadataCommand command;
    auto* start = command.mutable_start_migration();
    start->set_collection_id(collection);
    *start->mutable_range() = ChunkAt(collection, key).range();
    start->set_expected_token(ChunkAt(collection, key).token());
    start->set_target(target);
    return command;
  }
  uint64_t StartMove(uint32_t collection, const std::string& key, const std::string& target) {
    auto started = Do(StartCommand(collection, key, target));
    EXPECT_EQ(started.result.code(), 0) << started.result.message();
    return started.result.migration().id();
  }
  const v1::Migration& Record(uint64_t id) const { return *state_.FindMigration(id); }
  Stage StageOf(uint64_t id) const { return migration::StageOf(Record(id)); }

  v1::MetadataCommand AdvanceCommand(uint64_t id, Stage to) {
    v1::MetadataCommand command;
    auto* advance = command.mutable_advance_migration();
    advance->set_id(id);
    advance->set_from(Record(id).stage());
    advance->set_attempt(Record(id).attempt());
    advance->set_to(migration::ToProto(to));
    return command;
  }
  void Advance(uint64_t id, Stage to) {
    auto applied = Do(AdvanceCommand(id, to));
    EXPECT_EQ(applied.result.code(), 0) << applied.result.message();
  }
  v1::MetadataCommand EndCommand(uint64_t id, uint32_t attempt, bool abort) {
    v1::MetadataCommand command;
    auto* end = command.mutable_end_attempt();
    end->set_id(id);
    end->set_attempt(attempt);
    end->set_abort(abort);
    end->set_why("because");
    return command;
  }
  v1::MetadataCommand CommitCommand(uint64_t id, uint32_t attempt) {
    v1::MetadataCommand command;
    auto* commit = command.mutable_commit_migration();
    commit->set_id(id);
    commit->set_attempt(attempt);
    commit->set_fence(200);
    commit->set_read_fence(201);
    commit->set_complete(300);
    commit->set_schema_revision(Record(id).schema_revision());
    return command;
  }
  // On from where it is.
  void BringTo(uint64_t id, Stage stage) {
    for (Stage next : {Stage::kPreparing, Stage::kCopying, Stage::kCatchingUp, Stage::kVerifying, Stage::kFencing}) {
      if (StageOf(id) == stage) return;
      if (StageOf(id) < next) Advance(id, next);
    }
    if (StageOf(id) == stage) return;
    if (StageOf(id) == Stage::kFencing) {
      ASSERT_EQ(Code(CommitCommand(id, Record(id).attempt())), absl::StatusCode::kOk);
    }
    for (Stage next : {Stage::kReversible, Stage::kCleaning, Stage::kDone}) {
      if (StageOf(id) == stage) return;
      if (StageOf(id) < next) Advance(id, next);
    }
  }
  static v1::MetadataCommand DropCommand(const std::string& name) {
    v1::MetadataCommand command;
    command.mutable_drop_collection()->set_name(name);
    return command;
  }
  static v1::MetadataCommand GoneCommand(uint32_t id) {
    v1::MetadataCommand command;
    command.mutable_collection_gone()->set_collection_id(id);
    return command;
  }
  v1::MetadataCommand SplitCommand(uint32_t collection, const std::string& at) {
    v1::MetadataCommand command;
    auto* split = command.mutable_split_chunk();
    split->set_collection_id(collection);
    *split->mutable_range() = ChunkAt(collection, at).range();
    split->set_at(at);
    split->set_expected_token(ChunkAt(collection, at).token());
    return command;
  }

  State state_;
  int64_t now_ms_ = 1'700'000'000'000;
};

}  // namespace terrane::metadata
