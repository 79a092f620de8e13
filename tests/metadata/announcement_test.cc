// What a shard and its replicas say of themselves, and which of it changes the state.
#include <gtest/gtest.h>

#include <optional>

#include "common/start_number.h"
#include "metadata/state.h"
#include "state_fixture.h"

namespace terrane::metadata {
namespace {

using absl::StatusCode;

class AnnouncementTest : public StateFixture {
 protected:
  AnnouncementTest() {
    AddShard("s1");
    AddShard("s2");
  }
  // A process of s1 names its directory; `as_of`: and says that it is the only voter as of that position.
  absl::StatusCode Announce(uint64_t replica, uint64_t incarnation, uint64_t starts, uint64_t as_of = 0) {
    v1::MetadataCommand command;
    command.mutable_register_shard()->set_name("s1");
    *command.mutable_register_shard()->add_replicas() = Replica(replica, incarnation, starts);
    command.mutable_register_shard()->set_only_voter_as_of(as_of);
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
  absl::StatusCode Members(uint64_t position, std::vector<uint64_t> voters, std::vector<uint64_t> learners = {},
                           std::optional<v1::ShardReplica> leader = std::nullopt) {
    v1::MetadataCommand command;
    command.mutable_register_shard()->set_name("s1");
    command.mutable_register_shard()->set_configuration(position);
    for (uint64_t id : voters) *command.mutable_register_shard()->add_replicas() = Replica(id, 0, 0);
    for (uint64_t id : learners) {
      auto* learner = command.mutable_register_shard()->add_replicas();
      *learner = Replica(id, 0, 0);
      learner->set_learner(true);
    }
    for (auto& replica : *command.mutable_register_shard()->mutable_replicas()) {
      if (leader && leader->replica_id() == replica.replica_id()) replica = *leader;
    }
    return Code(command);
  }
};

TEST_F(AnnouncementTest, RegistrationAddsAndReplacesReplicas) {
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

TEST_F(AnnouncementTest, T51_WhoDoesNotNameItsDirectoryChangesNothing) {
  ASSERT_EQ(Announce(1, 77, 1), StatusCode::kOk);
  const std::string before = state_.FindShard("s1")->SerializeAsString();
  EXPECT_EQ(Announce(1, 0, 0), StatusCode::kOk);  // it only asks which cluster this is
  EXPECT_EQ(state_.FindShard("s1")->SerializeAsString(), before);
  EXPECT_EQ(Announce(1, 88, 1), StatusCode::kFailedPrecondition);
}

TEST_F(AnnouncementTest, T51_ALearnerDoesNotVouchForTheOnlyVoter) {
  ASSERT_EQ(Announce(1, 77, 1, 1), StatusCode::kOk);
  ASSERT_EQ(Members(5, {1}, {2}), StatusCode::kOk);
  EXPECT_EQ(Announce(1, 88, 3, 1), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Announce(1, 88, 3, 5), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Announce(1, 77, 2, 5), StatusCode::kOk);
  EXPECT_EQ(state_.FindShard("s1")->replicas_size(), 2);
}

TEST_F(AnnouncementTest, T51_NobodyFoundsAShardOnceMore) {
  ASSERT_EQ(Announce(1, 77, 1, 1), StatusCode::kOk);
  // A group of three that was founded so, or has become one: neither is any new directory's, whose log begins at 1.
  ASSERT_EQ(Members(1, {1, 2, 3}), StatusCode::kOk);
  EXPECT_EQ(Announce(4, 88, 1, 1), StatusCode::kFailedPrecondition) << "--join was forgotten";
  EXPECT_EQ(Announce(1, 88, 7, 1), StatusCode::kFailedPrecondition) << "a disk that is not mounted";
  ASSERT_EQ(Members(5, {1, 2, 3}), StatusCode::kOk);
  EXPECT_EQ(Announce(4, 88, 1, 1), StatusCode::kFailedPrecondition) << "--join was forgotten";
  EXPECT_EQ(Announce(1, 88, 1, 1), StatusCode::kFailedPrecondition) << "a disk that is not mounted";
  EXPECT_EQ(Announce(1, 88, 7, 1), StatusCode::kFailedPrecondition) << "nor with its second start";
  EXPECT_EQ(Announce(1, 77, 2, 1), StatusCode::kFailedPrecondition) << "its directory of before the others came";
  EXPECT_EQ(Announce(1, 77, 2), StatusCode::kOk);
  // It has begun again from the others, and knows them.
  EXPECT_EQ(Announce(1, 99, 2), StatusCode::kOk);
}

// replica replace in a shard of one: the one that came is judged like the one that founded it, and the one that went is
// refused.
TEST_F(AnnouncementTest, T51_TheOnlyVoterMayHaveComeLater) {
  ASSERT_EQ(Announce(1, 77, 1, 1), StatusCode::kOk);
  ASSERT_EQ(Members(12, {1}, {2}), StatusCode::kOk);
  ASSERT_EQ(Members(14, {2}), StatusCode::kOk);
  EXPECT_EQ(Announce(1, 77, 7, 1), StatusCode::kFailedPrecondition) << "it was removed";
  EXPECT_EQ(Announce(1, 77, 7, 14), StatusCode::kFailedPrecondition);
  ASSERT_EQ(Announce(2, 88, 2, 14), StatusCode::kOk);
  EXPECT_EQ(Announce(2, 88, 1, 14), StatusCode::kFailedPrecondition) << "an old copy";
  EXPECT_EQ(Announce(2, 99, 3, 14), StatusCode::kFailedPrecondition) << "another disk";
  EXPECT_EQ(Announce(2, 88, 3, 14), StatusCode::kOk);
}

TEST_F(AnnouncementTest, TheOnlyVoterMayBeNewsToUs) {
  ASSERT_EQ(Announce(1, 77, 1, 1), StatusCode::kOk);
  ASSERT_EQ(Members(12, {1}), StatusCode::kOk);
  // Nobody has told us that replica 2 came and replica 1 went.
  EXPECT_EQ(Announce(2, 88, 2, 20), StatusCode::kOk);
  ASSERT_EQ(state_.FindShard("s1")->replicas_size(), 1);
  EXPECT_EQ(state_.FindShard("s1")->replicas(0).replica_id(), 2u);
  EXPECT_EQ(state_.FindShard("s1")->configuration(), 20u);
  EXPECT_EQ(Announce(1, 77, 2, 12), StatusCode::kFailedPrecondition);
}

// A leader that has begun again from its peers, and is the only voter later.
TEST_F(AnnouncementTest, ALeaderNamesItsDirectory) {
  ASSERT_EQ(Announce(1, 77, 1), StatusCode::kOk);
  ASSERT_EQ(Members(12, {1, 2}), StatusCode::kOk);
  ASSERT_EQ(Members(12, {1, 2}, {}, Replica(1, 88, 1)), StatusCode::kOk);
  ASSERT_EQ(Members(14, {1}, {}, Replica(1, 88, 3)), StatusCode::kOk);
  EXPECT_EQ(Members(14, {1}, {}, Replica(1, 88, 2)), StatusCode::kFailedPrecondition) << "an old copy";
  EXPECT_EQ(Announce(1, 77, 9, 14), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Announce(1, 88, 4, 14), StatusCode::kOk);
}

TEST_F(AnnouncementTest, TheOnlyVoterNamesItsDirectory) {
  EXPECT_EQ(Announce(1, 0, 0, 1), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace terrane::metadata
