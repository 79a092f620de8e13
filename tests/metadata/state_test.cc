#include "metadata/state.h"

#include <gtest/gtest.h>

#include "common/start_number.h"
#include "state_fixture.h"

namespace terrane::metadata {
namespace {

using absl::StatusCode;

class StateTest : public StateFixture {
 protected:
  StateTest() {
    AddShard("s1");
    AddShard("s2");
  }
};

TEST_F(StateTest, ACommandThatIsNotKnownIsRefused) {
  EXPECT_EQ(Code(v1::MetadataCommand()), StatusCode::kUnimplemented);
}

TEST_F(StateTest, TheClusterGetsItsIdOnce) {
  v1::MetadataCommand command;
  EXPECT_EQ(Code([] {
              v1::MetadataCommand empty;
              empty.mutable_initialize_cluster();
              return empty;
            }()),
            StatusCode::kInvalidArgument);
  command.mutable_initialize_cluster()->set_cluster("c1");
  EXPECT_EQ(Code(command), StatusCode::kOk);
  EXPECT_EQ(Code(command), StatusCode::kOk);
  command.mutable_initialize_cluster()->set_cluster("c2");
  EXPECT_EQ(Code(command), StatusCode::kFailedPrecondition);
  EXPECT_EQ(state_.cluster(), "c1");
}

TEST_F(StateTest, RegistrationAddsAndReplacesReplicas) {
  const auto revision = state_.revision();
  AddShard("s1");  // nothing new
  EXPECT_EQ(state_.revision(), revision);
  v1::MetadataCommand command;
  command.mutable_register_shard()->set_name("s1");
  EXPECT_EQ(Code(command), StatusCode::kOk);  // nothing to say
  auto* replica = command.mutable_register_shard()->add_replicas();
  EXPECT_EQ(Code(command), StatusCode::kInvalidArgument);
  replica->set_replica_id(1);
  replica->set_endpoint("elsewhere:1");
  auto moved = Do(command);
  ASSERT_EQ(moved.delta.shards_size(), 1);
  replica->set_replica_id(2);
  EXPECT_EQ(Code(command), StatusCode::kOk);
  EXPECT_EQ(state_.FindShard("s1")->replicas_size(), 2);
  command.mutable_register_shard()->set_name("");
  EXPECT_EQ(Code(command), StatusCode::kInvalidArgument);
  command.mutable_register_shard()->set_name("s3");
  command.mutable_register_shard()->clear_replicas();
  EXPECT_EQ(Code(command), StatusCode::kInvalidArgument);
  EXPECT_EQ(state_.FindShard("s3"), nullptr);
}

class AnnouncementTest : public StateTest {
 protected:
  // A process of s1 says that it is the whole shard.
  absl::StatusCode Announce(uint64_t replica, uint64_t incarnation, uint64_t starts) {
    v1::MetadataCommand command;
    command.mutable_register_shard()->set_name("s1");
    *command.mutable_register_shard()->add_replicas() = Replica(replica, incarnation, starts);
    return Code(command);
  }
  static v1::ShardReplica Replica(uint64_t id, uint64_t incarnation, uint64_t starts) {
    v1::ShardReplica replica;
    replica.set_replica_id(id);
    replica.set_endpoint(StrCat("s1-", id, ":", incarnation));
    replica.set_incarnation(incarnation);
    if (starts > 0) replica.set_start(starts << kStartMarkBits | 1);
    return replica;
  }
  // The shard's leader says who its members are: voters, then learners.
  void Members(uint64_t position, std::vector<uint64_t> voters, std::vector<uint64_t> learners = {}) {
    v1::MetadataCommand command;
    command.mutable_register_shard()->set_name("s1");
    command.mutable_register_shard()->set_configuration(position);
    for (uint64_t id : voters) *command.mutable_register_shard()->add_replicas() = Replica(id, 0, 0);
    for (uint64_t id : learners) {
      auto* learner = command.mutable_register_shard()->add_replicas();
      *learner = Replica(id, 0, 0);
      learner->set_learner(true);
    }
    ASSERT_EQ(Code(command), StatusCode::kOk);
  }
};

TEST_F(AnnouncementTest, T51_WhoDoesNotNameItsDirectoryChangesNothing) {
  ASSERT_EQ(Announce(1, 77, 1), StatusCode::kOk);
  const std::string before = state_.FindShard("s1")->SerializeAsString();
  EXPECT_EQ(Announce(1, 0, 0), StatusCode::kOk);  // it only asks which cluster this is
  EXPECT_EQ(state_.FindShard("s1")->SerializeAsString(), before);
  EXPECT_EQ(Announce(1, 88, 1), StatusCode::kFailedPrecondition);
}

TEST_F(AnnouncementTest, T51_ALearnerDoesNotVouchForTheOnlyVoter) {
  ASSERT_EQ(Announce(1, 77, 1), StatusCode::kOk);
  Members(5, {1}, {2});
  EXPECT_EQ(Announce(1, 88, 3), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Announce(1, 77, 2), StatusCode::kOk);
}

TEST_F(AnnouncementTest, T51_NobodyFoundsAShardOnceMore) {
  ASSERT_EQ(Announce(1, 77, 1), StatusCode::kOk);
  Members(5, {1, 2, 3});
  EXPECT_EQ(Announce(4, 88, 1), StatusCode::kFailedPrecondition) << "--join was forgotten";
  EXPECT_EQ(Announce(1, 88, 1), StatusCode::kFailedPrecondition) << "a disk that is not mounted";
  EXPECT_EQ(Announce(1, 77, 2), StatusCode::kOk);
  // It has begun again from the others, and knows them.
  EXPECT_EQ(Announce(1, 99, 2), StatusCode::kOk);
}

TEST_F(StateTest, Settings) {
  v1::MetadataCommand command;
  command.mutable_set_setting()->set_name("a");
  command.mutable_set_setting()->set_value("1");
  EXPECT_TRUE(Do(command).settings);
  EXPECT_FALSE(Do(command).settings);
  EXPECT_EQ(state_.Setting("a"), "1");
  command.mutable_set_setting()->set_value("");
  EXPECT_TRUE(Do(command).settings);
  EXPECT_TRUE(state_.settings().empty());
  command.mutable_set_setting()->set_name("");
  EXPECT_EQ(Code(command), StatusCode::kInvalidArgument);
}

TEST_F(StateTest, ACollectionIsVisibleWhenItsShardsKnow) {
  auto created = Do(CreateCommand("db.c", {"g", "p"}, {"s1", "s2"}));
  ASSERT_EQ(created.result.code(), 0);
  EXPECT_FALSE(created.HasRoutes());
  EXPECT_TRUE(state_.Routes().chunks().empty());
  const uint32_t id = created.result.collection().id();
  auto ready = Do(Ready(id));
  EXPECT_EQ(ready.delta.collections_size(), 1);
  EXPECT_EQ(ready.delta.chunks_size(), 3);
  EXPECT_FALSE(Do(Ready(id)).HasRoutes());
  EXPECT_EQ(state_.Routes().chunks_size(), 3);
  EXPECT_EQ(state_.chunk_count(), 3u);
  EXPECT_EQ(ChunkAt(id, "").shard(), "s1");
  EXPECT_EQ(ChunkAt(id, "g").shard(), "s2");
  EXPECT_EQ(ChunkAt(id, "zz").shard(), "s1");
  EXPECT_EQ(ChunkAt(id, "zz").token(), 1u);
  EXPECT_NE(ChunkAt(id, "").copy_id(), ChunkAt(id, "zz").copy_id());
  EXPECT_EQ(state_.FindChunk(CollectionId(99), ""), nullptr);
}

TEST_F(StateTest, ACollectionThatMakesNoSenseIsRefused) {
  CreateReady("db.c");
  EXPECT_EQ(Code(CreateCommand("db.c", {}, {"s1"})), StatusCode::kAlreadyExists);
  EXPECT_EQ(Code(CreateCommand("db.d", {}, {})), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Code(CreateCommand("db.d", {}, {"s9"})), StatusCode::kNotFound);
  EXPECT_EQ(Code(CreateCommand("db.d", {"b", "a"}, {"s1"})), StatusCode::kInvalidArgument);
  EXPECT_EQ(Code(CreateCommand("db.d", {"b", "b"}, {"s1"})), StatusCode::kInvalidArgument);
  EXPECT_EQ(Code(CreateCommand("db.d", {""}, {"s1"})), StatusCode::kInvalidArgument);
}

TEST_F(StateTest, ADroppedCollectionFreesItsNameAtOnceAndGoesLater) {
  const uint32_t id = CreateReady("db.c");
  auto dropped = Do(DropCommand("db.c"));
  ASSERT_EQ(dropped.delta.dropped_collections_size(), 1);
  EXPECT_EQ(Code(DropCommand("db.c")), StatusCode::kNotFound);
  EXPECT_EQ(Code(Ready(id)), StatusCode::kAborted);
  EXPECT_EQ(Code(StartCommand(id, "a", "s2")), StatusCode::kNotFound);
  const uint32_t next = CreateReady("db.c");
  EXPECT_GT(next, id);
  EXPECT_EQ(Code(GoneCommand(next)), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Code(GoneCommand(id)), StatusCode::kOk);
  EXPECT_EQ(Code(GoneCommand(id)), StatusCode::kOk);
  EXPECT_EQ(state_.FindCollection(CollectionId(id)), nullptr);
}

TEST_F(StateTest, ASplitKeepsCopyAndToken) {
  const uint32_t id = CreateReady("db.c");
  const v1::Chunk whole = ChunkAt(id, "a");
  auto split = Do(SplitCommand(id, "c"));
  ASSERT_EQ(split.result.chunks_size(), 2);
  EXPECT_EQ(split.delta.chunks_size(), 2);
  for (const auto& half : split.result.chunks()) {
    EXPECT_EQ(half.copy_id(), whole.copy_id());
    EXPECT_EQ(half.token(), whole.token());
    EXPECT_EQ(half.shard(), whole.shard());
  }
  // The last chunk, which has no end.
  EXPECT_EQ(Code(SplitCommand(id, "x")), StatusCode::kOk);
  EXPECT_TRUE(ChunkAt(id, "y").range().unbounded());
  EXPECT_FALSE(ChunkAt(id, "w").range().unbounded());

  v1::MetadataCommand stale = SplitCommand(id, "b");
  stale.mutable_split_chunk()->set_expected_token(9);
  EXPECT_EQ(Code(stale), StatusCode::kAborted);
  stale = SplitCommand(id, "b");
  *stale.mutable_split_chunk()->mutable_range() = whole.range();
  EXPECT_EQ(Code(stale), StatusCode::kAborted);
  stale = SplitCommand(id, "b");
  stale.mutable_split_chunk()->set_at("d");
  EXPECT_EQ(Code(stale), StatusCode::kInvalidArgument);
  stale.mutable_split_chunk()->set_at("");
  EXPECT_EQ(Code(stale), StatusCode::kInvalidArgument);
}

TEST_F(StateTest, AResentCommandAnswersAsTheFirstTime) {
  v1::MetadataCommand create = CreateCommand("db.c", {}, {"s1"});
  create.set_request_id("r1");
  auto first = Do(create);
  const auto revision = state_.revision();
  auto restored = State::FromProto(state_.ToProto());
  ASSERT_TRUE(restored.ok()) << restored.status();
  state_ = *std::move(restored);
  Applied again = state_.Apply(create);
  EXPECT_EQ(again.result.SerializeAsString(), first.result.SerializeAsString());
  EXPECT_EQ(state_.revision(), revision);
  // A refused one is looked at anew.
  v1::MetadataCommand refused = CreateCommand("db.d", {}, {"s3"});
  refused.set_request_id("r2");
  EXPECT_EQ(Code(refused), StatusCode::kNotFound);
  AddShard("s3");
  EXPECT_EQ(Code(refused), StatusCode::kOk);
}

TEST_F(StateTest, OldRequestIdsAreForgotten) {
  v1::MetadataCommand command;
  for (size_t i = 0; i < kRememberedRequests + 10; ++i) {
    command.set_request_id(StrCat("r", i));
    command.mutable_set_setting()->set_name("n");
    command.mutable_set_setting()->set_value(StrCat(i));
    state_.Apply(command);
  }
  EXPECT_EQ(state_.ToProto().recent_order_size(), static_cast<int>(kRememberedRequests));
  EXPECT_EQ(state_.ToProto().recent_requests().size(), kRememberedRequests);
}

TEST_F(StateTest, SnapshotAndRestoreAreEqual) {
  const uint32_t id = CreateReady("db.c");
  const uint64_t move = StartMove(id, "a", "s2");
  BringTo(move, Stage::kFencing);
  Do(DropCommand("db.c"));
  CreateReady("db.c");
  const v1::MetadataState proto = state_.ToProto();
  auto restored = State::FromProto(proto);
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(restored->ToProto().DebugString(), proto.DebugString());
  EXPECT_EQ(restored->FindCollection("db.c")->chunks.size(), 3u);
}

TEST_F(StateTest, AStateThatContradictsItselfIsRefused) {
  CreateReady("db.c");
  v1::MetadataState damaged = state_.ToProto();
  damaged.mutable_chunks(1)->mutable_range()->set_min("h");
  auto restored = State::FromProto(damaged);
  EXPECT_EQ(restored.status().code(), StatusCode::kDataLoss);
  EXPECT_NE(restored.status().ToString().find("gap"), std::string::npos) << restored.status();
}

// ---- moves ----------------------------------------------------------------------------------------------------------

TEST_F(StateTest, AMoveFromEndToEnd) {
  const uint32_t id = CreateReady("db.c");
  const v1::Chunk before = ChunkAt(id, "a");
  const uint64_t move = StartMove(id, "a", "s2");
  EXPECT_EQ(Record(move).token(), before.token());
  EXPECT_EQ(Record(move).source(), "s1");
  EXPECT_EQ(Record(move).source_copy(), before.copy_id());
  EXPECT_EQ(Record(move).max_pause_ms(), kDefaultMaxPauseMs);
  BringTo(move, Stage::kFencing);
  auto commit = Do(CommitCommand(move, 1));
  ASSERT_EQ(commit.delta.chunks_size(), 1);
  EXPECT_EQ(commit.delta.chunks(0).shard(), "s2");
  EXPECT_EQ(commit.delta.chunks(0).token(), before.token() + 1);
  EXPECT_EQ(commit.delta.chunks(0).copy_id(), Record(move).target_copy());
  EXPECT_NE(ChunkAt(id, "a").migration_id(), 0u);  // not free before both shards know
  BringTo(move, Stage::kDone);
  EXPECT_EQ(ChunkAt(id, "a").migration_id(), 0u);
  EXPECT_GT(Record(move).finished_ms(), 0);
  // T22: and back.
  const uint64_t back = StartMove(id, "a", "s1");
  BringTo(back, Stage::kDone);
  EXPECT_EQ(ChunkAt(id, "a").token(), before.token() + 2);
  EXPECT_NE(ChunkAt(id, "a").copy_id(), before.copy_id());
}

TEST_F(StateTest, T42_AChunkInAMoveIsNeitherMovedNorSplit) {
  const uint32_t id = CreateReady("db.c");
  AddShard("s3");
  const uint64_t move = StartMove(id, "a", "s2");
  for (Stage stage : {Stage::kPlanned, Stage::kCopying, Stage::kFencing, Stage::kCommitted, Stage::kReversible}) {
    BringTo(move, stage);
    auto second = Do(StartCommand(id, "a", "s3"));
    EXPECT_EQ(second.result.code(), static_cast<int>(StatusCode::kFailedPrecondition));
    EXPECT_EQ(second.result.detail().reason(), v1::ErrorDetail::MIGRATION_CONFLICT);
    EXPECT_EQ(second.result.detail().migration_id(), move);
    EXPECT_EQ(Do(SplitCommand(id, "c")).result.detail().reason(), v1::ErrorDetail::MIGRATION_CONFLICT);
  }
  BringTo(move, Stage::kCleaning);
  EXPECT_EQ(Code(SplitCommand(id, "c")), StatusCode::kOk);
}

TEST_F(StateTest, T41_TheSameRequestIsTheSameMigration) {
  const uint32_t id = CreateReady("db.c");
  v1::MetadataCommand start = StartCommand(id, "a", "s2");
  start.set_request_id("once");
  auto first = Do(start);
  BringTo(first.result.migration().id(), Stage::kDone);
  // Also when the id is remembered by the record only.
  v1::MetadataState proto = state_.ToProto();
  proto.clear_recent_order();
  proto.clear_recent_requests();
  state_ = *State::FromProto(proto);
  auto again = Do(start);
  EXPECT_EQ(again.result.code(), 0);
  EXPECT_EQ(again.result.migration().id(), first.result.migration().id());
  EXPECT_EQ(state_.migrations().size(), 1u);
}

TEST_F(StateTest, AMoveThatMakesNoSenseIsRefused) {
  const uint32_t id = CreateReady("db.c");
  EXPECT_EQ(Code(StartCommand(id, "a", "s9")), StatusCode::kNotFound);
  EXPECT_EQ(Code(StartCommand(id, "a", "s1")), StatusCode::kFailedPrecondition);
  v1::MetadataCommand command = StartCommand(id, "a", "s2");
  command.mutable_start_migration()->set_expected_token(7);
  EXPECT_EQ(Code(command), StatusCode::kAborted);
  command = StartCommand(id, "a", "s2");
  command.mutable_start_migration()->mutable_range()->set_max("f");
  EXPECT_EQ(Code(command), StatusCode::kAborted);
  command = StartCommand(id, "a", "s2");
  command.mutable_start_migration()->set_max_pause_ms(-1);
  EXPECT_EQ(Code(command), StatusCode::kInvalidArgument);
}

TEST_F(StateTest, T06_AnEndedFenceRaisesTheTokenOfTheSource) {
  const uint32_t id = CreateReady("db.c");
  const uint64_t move = StartMove(id, "a", "s2");
  BringTo(move, Stage::kFencing);
  const v1::Chunk before = ChunkAt(id, "a");
  auto ended = Do(EndCommand(move, 1, false));
  ASSERT_EQ(ended.delta.chunks_size(), 1);  // ends the proxies' holds
  EXPECT_EQ(ended.delta.chunks(0).token(), before.token() + 1);
  EXPECT_EQ(ended.delta.chunks(0).shard(), before.shard());
  EXPECT_EQ(ended.delta.chunks(0).copy_id(), before.copy_id());
  EXPECT_EQ(Record(move).attempt(), 2u);
  EXPECT_EQ(StageOf(move), Stage::kCatchingUp);
  EXPECT_EQ(Record(move).attempts_size(), 1);
  EXPECT_EQ(Record(move).attempts(0).why(), "because");
  // Only a fence that is given up raises it.
  auto aborted = Do(EndCommand(move, 2, true));
  EXPECT_EQ(aborted.delta.chunks_size(), 0);
  EXPECT_EQ(ChunkAt(id, "a").token(), before.token() + 1);
  Advance(move, Stage::kAborted);
  EXPECT_EQ(ChunkAt(id, "a").migration_id(), 0u);
  EXPECT_EQ(Record(move).reason(), "because");
}

TEST_F(StateTest, T09_OneCommitDecides) {
  const uint32_t id = CreateReady("db.c");
  // Either the end of the attempt...
  uint64_t move = StartMove(id, "a", "s2");
  BringTo(move, Stage::kFencing);
  EXPECT_EQ(Code(EndCommand(move, 1, false)), StatusCode::kOk);
  EXPECT_EQ(Code(CommitCommand(move, 1)), StatusCode::kAborted);
  EXPECT_EQ(ChunkAt(id, "a").shard(), "s1");
  // ... also when the next attempt is fencing already (stage alone would do)...
  for (Stage next : {Stage::kVerifying, Stage::kFencing}) Advance(move, next);
  EXPECT_EQ(Code(CommitCommand(move, 1)), StatusCode::kAborted);
  // ... or the commit.
  EXPECT_EQ(Code(CommitCommand(move, 2)), StatusCode::kOk);
  EXPECT_EQ(Code(EndCommand(move, 2, false)), StatusCode::kAborted);
  EXPECT_EQ(Code(EndCommand(move, 2, true)), StatusCode::kAborted);
  EXPECT_EQ(Code(CommitCommand(move, 2)), StatusCode::kAborted);  // twice
  EXPECT_EQ(ChunkAt(id, "a").shard(), "s2");
}

TEST_F(StateTest, EveryAdvanceThatIsNoEdgeIsRefused) {
  const uint32_t id = CreateReady("db.c");
  for (Stage from : migration::kAllStages) {
    if (from == Stage::kRollingBack || from == Stage::kRolledBack) continue;  // no command leads there
    for (Stage to : migration::kAllStages) {
      State kept = *State::FromProto(state_.ToProto());
      const uint64_t move = StartMove(id, "a", "s2");
      if (from == Stage::kAborting || from == Stage::kAborted) {
        Do(EndCommand(move, 1, true));
        if (from == Stage::kAborted) Advance(move, Stage::kAborted);
      } else {
        BringTo(move, from);
      }
      if (!(from == Stage::kReversible && to == Stage::kRollingBack)) {
        const bool note = from == to && !migration::IsEnded(from);
        const bool edge = migration::EdgeBetween(from, to) == migration::Edge::kAdvance;
        EXPECT_EQ(Do(AdvanceCommand(move, to)).result.code() == 0, note || edge)
            << migration::NameOf(from) << " -> " << migration::NameOf(to);
      }
      state_ = std::move(kept);
    }
  }
}

TEST_F(StateTest, ACommandOfAnotherStageOrAttemptIsRefused) {
  const uint32_t id = CreateReady("db.c");
  const uint64_t move = StartMove(id, "a", "s2");
  v1::MetadataCommand late = AdvanceCommand(move, Stage::kPreparing);
  Advance(move, Stage::kPreparing);
  EXPECT_EQ(Code(late), StatusCode::kAborted);
  v1::MetadataCommand other = AdvanceCommand(move, Stage::kCopying);
  other.mutable_advance_migration()->set_attempt(2);
  EXPECT_EQ(Code(other), StatusCode::kAborted);
  other.mutable_advance_migration()->set_id(99);
  EXPECT_EQ(Code(other), StatusCode::kNotFound);
  EXPECT_EQ(Code(EndCommand(move, 1, false)), StatusCode::kAborted);  // no fence to give up
  v1::MetadataCommand unknown = AdvanceCommand(move, Stage::kCopying);
  unknown.mutable_advance_migration()->set_to(static_cast<v1::Migration::Stage>(77));
  EXPECT_EQ(Code(unknown), StatusCode::kFailedPrecondition);
}

TEST_F(StateTest, AnAdvanceTakesOverWhatItBrings) {
  const uint32_t id = CreateReady("db.c");
  const uint64_t move = StartMove(id, "a", "s2");
  v1::MetadataCommand note = AdvanceCommand(move, Stage::kPlanned);
  note.mutable_advance_migration()->mutable_update()->set_reason("waits");
  note.mutable_advance_migration()->mutable_update()->set_pin(100);
  note.mutable_advance_migration()->mutable_update()->set_fence_deadline_ms(5);
  note.mutable_advance_migration()->mutable_update()->mutable_figures()->set_bytes(17);
  Do(note);
  EXPECT_EQ(Record(move).reason(), "waits");
  EXPECT_EQ(Record(move).pin(), 100u);
  EXPECT_EQ(Record(move).fence_deadline_ms(), 5);
  EXPECT_EQ(Record(move).figures().bytes(), 17);
  Advance(move, Stage::kPreparing);
  EXPECT_EQ(Record(move).reason(), "");
  EXPECT_EQ(Record(move).pin(), 100u);
}

TEST_F(StateTest, ACommitNeedsItsProofs) {
  const uint32_t id = CreateReady("db.c");
  const uint64_t move = StartMove(id, "a", "s2");
  BringTo(move, Stage::kVerifying);
  EXPECT_EQ(Code(CommitCommand(move, 1)), StatusCode::kAborted);
  BringTo(move, Stage::kFencing);
  for (int missing = 0; missing < 3; ++missing) {
    v1::MetadataCommand commit = CommitCommand(move, 1);
    if (missing == 0) commit.mutable_commit_migration()->set_fence(0);
    if (missing == 1) commit.mutable_commit_migration()->set_read_fence(0);
    if (missing == 2) commit.mutable_commit_migration()->set_complete(0);
    EXPECT_EQ(Code(commit), StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(ChunkAt(id, "a").shard(), "s1");
}

TEST_F(StateTest, T66_AChangedSchemaOrADroppedCollectionRefusesTheCommit) {
  const uint32_t id = CreateReady("db.c");
  const uint64_t move = StartMove(id, "a", "s2");
  BringTo(move, Stage::kFencing);
  v1::MetadataCommand commit = CommitCommand(move, 1);
  commit.mutable_commit_migration()->set_schema_revision(99);
  EXPECT_EQ(Code(commit), StatusCode::kFailedPrecondition);
  v1::MetadataState changed = state_.ToProto();
  changed.mutable_collections(0)->set_schema_revision(99);
  state_ = *State::FromProto(changed);
  EXPECT_EQ(Code(CommitCommand(move, 1)), StatusCode::kFailedPrecondition);
  commit = CommitCommand(move, 1);
  Do(DropCommand("db.c"));
  EXPECT_EQ(Code(commit), StatusCode::kAborted);
  EXPECT_EQ(StageOf(move), Stage::kAborting);
}

TEST_F(StateTest, DroppingACollectionEndsItsMovesInTheSameCommand) {
  for (Stage stage : {Stage::kPlanned, Stage::kPreparing, Stage::kCopying, Stage::kCatchingUp, Stage::kVerifying,
                      Stage::kFencing, Stage::kCommitted, Stage::kReversible, Stage::kCleaning, Stage::kDone}) {
    const uint32_t id = CreateReady("db.c");
    const uint64_t move = StartMove(id, "a", "s2");
    BringTo(move, stage);
    const uint64_t token = ChunkAt(id, "a").token();
    auto dropped = Do(DropCommand("db.c"));
    EXPECT_EQ(dropped.delta.chunks_size(), 0);
    if (migration::BeforeCommit(stage)) {
      EXPECT_EQ(StageOf(move), Stage::kAborting);
      EXPECT_EQ(ChunkAt(id, "a").token(), token + (stage == Stage::kFencing ? 1 : 0));
      EXPECT_EQ(Code(GoneCommand(id)), StatusCode::kFailedPrecondition);
      Advance(move, Stage::kAborted);
    } else if (stage == Stage::kReversible) {
      EXPECT_EQ(StageOf(move), Stage::kCleaning);
      Advance(move, Stage::kDone);
    } else if (stage != Stage::kDone) {
      EXPECT_EQ(StageOf(move), stage);
      EXPECT_EQ(Code(GoneCommand(id)), StatusCode::kFailedPrecondition);
      BringTo(move, Stage::kDone);
    }
    EXPECT_EQ(Code(GoneCommand(id)), StatusCode::kOk) << migration::NameOf(stage);
  }
}

TEST_F(StateTest, T11_AnAbortCanBeAskedForUntilTheCommit) {
  const uint32_t id = CreateReady("db.c");
  auto abort = [](uint64_t move) {
    v1::MetadataCommand command;
    command.mutable_request_abort()->set_id(move);
    return command;
  };
  EXPECT_EQ(Code(abort(99)), StatusCode::kNotFound);
  for (Stage stage : {Stage::kPlanned, Stage::kFencing}) {
    const uint64_t move = StartMove(id, "a", "s2");
    BringTo(move, stage);
    EXPECT_EQ(Code(abort(move)), StatusCode::kOk);
    EXPECT_EQ(Code(abort(move)), StatusCode::kOk);
    EXPECT_TRUE(Record(move).abort_requested());
    // Neither goes the move on nor is it committed.
    if (stage == Stage::kPlanned) {
      EXPECT_EQ(Code(AdvanceCommand(move, Stage::kPreparing)), StatusCode::kAborted);
    }
    EXPECT_EQ(Code(CommitCommand(move, 1)), StatusCode::kAborted);
    EXPECT_EQ(Code(EndCommand(move, 1, true)), StatusCode::kOk);
    EXPECT_EQ(Code(abort(move)), StatusCode::kOk);
    Advance(move, Stage::kAborted);
    EXPECT_EQ(Code(abort(move)), StatusCode::kOk);
  }
  const uint64_t move = StartMove(id, "a", "s2");
  BringTo(move, Stage::kCommitted);
  auto late = Do(abort(move));
  EXPECT_EQ(late.result.code(), static_cast<int>(StatusCode::kFailedPrecondition));
  EXPECT_NE(late.result.message().find("s2 owns the chunk"), std::string::npos) << late.result.message();
}

TEST_F(StateTest, T64_RecordsGoOnlyAfterTheirEnd) {
  const uint32_t id = CreateReady("db.c");
  const uint64_t first = StartMove(id, "a", "s2");
  BringTo(first, Stage::kDone);
  const uint64_t second = StartMove(id, "a", "s1");
  auto forget = [](uint64_t below) {
    v1::MetadataCommand command;
    command.mutable_forget_migrations()->set_below(below);
    return command;
  };
  EXPECT_EQ(Code(forget(second + 1)), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Code(forget(second + 9)), StatusCode::kInvalidArgument);
  EXPECT_EQ(Code(forget(second)), StatusCode::kOk);
  EXPECT_EQ(Code(forget(second)), StatusCode::kOk);
  EXPECT_EQ(state_.dead_below(), second);
  EXPECT_EQ(state_.FindMigration(first), nullptr);
  EXPECT_NE(state_.FindMigration(second), nullptr);
}

// ---- invariants that can fail ---------------------------------------------------------------------------------------

TEST_F(StateTest, TheInvariantsFindWhatIsPlanted) {
  const uint32_t id = CreateReady("db.c");
  const uint64_t move = StartMove(id, "a", "s2");
  const v1::MetadataState good = state_.ToProto();
  ASSERT_TRUE(CheckInvariants(good).empty());
  auto finds = [&](const std::string& number, const std::function<void(v1::MetadataState*)>& plant) {
    v1::MetadataState bad = good;
    plant(&bad);
    for (const auto& sentence : CheckInvariants(bad)) {
      if (sentence.starts_with(number)) return true;
    }
    return false;
  };
  EXPECT_TRUE(finds("M1", [](auto* s) { s->mutable_chunks()->DeleteSubrange(2, 1); }));
  EXPECT_TRUE(finds("M1", [](auto* s) { s->mutable_chunks(0)->mutable_range()->set_max("h"); }));
  EXPECT_TRUE(finds("M1", [](auto* s) { *s->add_chunks() = s->chunks(0); }));
  EXPECT_TRUE(finds("M1", [](auto* s) { s->mutable_chunks(1)->mutable_range()->set_max("g"); }));
  EXPECT_TRUE(finds("M3", [](auto* s) { s->mutable_chunks(1)->set_copy_id(s->chunks(0).copy_id()); }));
  EXPECT_TRUE(finds("M3", [](auto* s) { s->mutable_chunks(1)->set_copy_id(s->migrations(0).target_copy()); }));
  EXPECT_TRUE(finds("M3", [](auto* s) { *s->add_migrations() = s->migrations(0); }));
  EXPECT_TRUE(finds("M4", [](auto* s) { s->mutable_chunks(0)->set_migration_id(0); }));
  EXPECT_TRUE(finds("M4", [](auto* s) { s->mutable_chunks(0)->set_token(9); }));
  EXPECT_TRUE(finds("M4", [](auto* s) { s->mutable_chunks(1)->set_migration_id(s->migrations(0).id()); }));
  EXPECT_TRUE(finds("M4", [](auto* s) { s->clear_migrations(); }));
  EXPECT_TRUE(finds("M4", [](auto* s) { s->mutable_migrations(0)->set_stage(v1::Migration::COMMITTED); }));
  EXPECT_TRUE(finds("M5", [](auto* s) { s->set_next_copy_id(2); }));
  EXPECT_TRUE(finds("M5", [](auto* s) { s->set_next_collection_id(1); }));
  EXPECT_TRUE(finds("M5", [](auto* s) { s->set_next_migration_id(1); }));
  EXPECT_TRUE(finds("M6", [&](auto* s) { s->set_dead_below(move + 1); }));

  v1::MetadataState later = good;
  later.mutable_chunks(0)->set_shard("s2");
  EXPECT_FALSE(CheckHistory(good, later).empty());  // one token, two owners
  later = good;
  later.mutable_chunks(0)->set_token(0);
  EXPECT_FALSE(CheckHistory(good, later).empty());  // a token that goes back
  later = good;
  later.set_revision(0);
  EXPECT_FALSE(CheckHistory(good, later).empty());
  later = good;
  later.clear_migrations();
  EXPECT_FALSE(CheckHistory(good, later).empty());
  EXPECT_TRUE(CheckHistory(good, good).empty());
}

TEST(StateScaleTest, ManyChunks) {
  State state;
  v1::MetadataCommand command;
  command.mutable_register_shard()->set_name("s1");
  auto* replica = command.mutable_register_shard()->add_replicas();
  replica->set_replica_id(1);
  replica->set_endpoint("s1:1");
  state.Apply(command);
  auto* create = command.mutable_create_collection();
  create->set_name("db.c");
  create->add_shards("s1");
  for (int i = 1; i < 200'000; ++i) {
    std::string point;
    for (int shift = 24; shift >= 0; shift -= 8) point.push_back(static_cast<char>(i >> shift));
    create->add_split_points(point);
  }
  ASSERT_EQ(state.Apply(command).result.code(), 0);
  EXPECT_EQ(state.chunk_count(), 200'000u);
  v1::MetadataCommand split;
  split.mutable_split_chunk()->set_collection_id(1);
  *split.mutable_split_chunk()->mutable_range() = state.FindChunk(CollectionId(1), "")->range();
  split.mutable_split_chunk()->set_expected_token(1);
  split.mutable_split_chunk()->set_at(std::string(1, '\0'));
  EXPECT_EQ(state.Apply(split).result.chunks_size(), 2);
}

}  // namespace
}  // namespace terrane::metadata
