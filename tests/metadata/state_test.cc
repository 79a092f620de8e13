#include "metadata/state.h"

#include <gtest/gtest.h>

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
