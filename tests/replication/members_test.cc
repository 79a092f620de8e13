// Membership: learners first, one change at a time, and a directory that is lost never costs a promise.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>

#include "support/await.h"
#include "support/clocks.h"
#include "support/replica_group.h"

namespace terrane::replication {
namespace {

using testing::Await;
using ::testing::HasSubstr;
using testing::ReplicaGroup;

absl::Status Change(ReplicatedLog* log, MemberChange change, uint64_t replica, const std::string& address = "") {
  std::promise<absl::Status> promise;
  log->ChangeMember(change, ReplicaId(replica), address, [&](absl::Status status) { promise.set_value(status); });
  return promise.get_future().get();
}

std::optional<MemberStatus> Find(ReplicatedLog* log, uint64_t replica) {
  for (MemberStatus& member : log->Members()) {
    if (member.replica == ReplicaId(replica)) return std::move(member);
  }
  return std::nullopt;
}

// Founders 1 to 3; whoever is 4 joins.
void ThreeFounders(ReplicatedLog::Options* options) {
  options->join = options->identity.replica == ReplicaId(4);
  if (!options->join) std::erase_if(options->members, [](const Member& m) { return m.replica == ReplicaId(4); });
}

void StartFounders(ReplicaGroup* group) {
  for (uint64_t id : {1, 2, 3}) ASSERT_TRUE(group->Start(id).ok());
  ASSERT_TRUE(group->ProposeSomewhere("first"));
  // All have answered the leader.
  ASSERT_TRUE(Await([&] {
    const std::vector<MemberStatus> members = (*group)[group->Leader()].log->Members();
    return std::all_of(members.begin(), members.end(), [](const auto& member) { return member.match > Position(0); });
  }));
}

// The disk is gone, an empty one takes its place.
void Wipe(ReplicaGroup* group, uint64_t id) {
  group->Stop(id);
  (*group)[id].disk.Restore({});
  (*group)[id].machine.SetApplied(Position(0));
}

TEST(MembersTest, AReplicaThatIsAddedLearnsThenVotes) {
  ReplicaGroup group(4, ThreeFounders);
  StartFounders(&group);
  const uint64_t leader = group.Leader();
  ASSERT_TRUE(Change(group[leader].log.get(), MemberChange::kAdd, 4, "somewhere:4").ok());
  ASSERT_TRUE(Find(group[leader].log.get(), 4).has_value());
  EXPECT_FALSE(Find(group[leader].log.get(), 4)->voter) << "its data is not there";
  EXPECT_EQ(Find(group[leader].log.get(), 4)->address, "somewhere:4");
  ASSERT_TRUE(Change(group[leader].log.get(), MemberChange::kAdd, 4, "somewhere:4").ok()) << "once more is no change";
  EXPECT_THAT(Change(group[leader].log.get(), MemberChange::kAdd, 4, "elsewhere:4").ToString(),
              HasSubstr("is a member already, at somewhere:4, not at elsewhere:4"));
  EXPECT_THAT(Change(group[leader].log.get(), MemberChange::kPromote, 4).ToString(), HasSubstr("not close"));
  ASSERT_TRUE(group.Start(4).ok());
  ASSERT_TRUE(Await([&] {
    const auto member = Find(group[leader].log.get(), 4);
    return member && member->voter;
  }));
  EXPECT_TRUE(group.AwaitEqual(1));
  // Its vote counts: with two of four away, three are a quorum, and two are none.
  ASSERT_TRUE(group.ProposeSomewhere("second"));
  ASSERT_TRUE(group.AwaitEqual(2));
  group.Stop(group.Leader());
  ASSERT_TRUE(group.ProposeSomewhere("third"));
  EXPECT_TRUE(group.AwaitEqual(3));
  // Everybody knows where it is, also after a restart.
  group.Stop(4);
  ASSERT_TRUE(group.Start(4).ok());
  for (uint64_t id : {1, 2, 3}) {
    if (group[id].log != nullptr) {
      EXPECT_EQ(Find(group[id].log.get(), 4)->address, "somewhere:4");
    }
  }
  EXPECT_TRUE(group.AwaitEqual(3));
}

TEST(MembersTest, AReplicaIsRemoved) {
  ReplicaGroup group(4, ThreeFounders);
  StartFounders(&group);
  const uint64_t leader = group.Leader();
  const uint64_t other = leader % 3 + 1;
  ASSERT_TRUE(Change(group[leader].log.get(), MemberChange::kRemove, other).ok());
  EXPECT_FALSE(Find(group[leader].log.get(), other).has_value());
  ASSERT_TRUE(Change(group[leader].log.get(), MemberChange::kRemove, other).ok()) << "once more is no change";
  EXPECT_EQ(Change(group[leader].log.get(), MemberChange::kPromote, other).code(), absl::StatusCode::kNotFound);
  group.Stop(other);
  ASSERT_TRUE(group.ProposeSomewhere("second"));
  EXPECT_TRUE(group.AwaitEqual(2));
}

TEST(MembersTest, ALeaderThatIsRemovedHandsOn) {
  ReplicaGroup group(4, ThreeFounders);
  StartFounders(&group);
  const uint64_t leader = group.Leader();
  // It may step down before its own disk holds what the others have committed: then it cannot tell.
  const absl::Status removed = Change(group[leader].log.get(), MemberChange::kRemove, leader);
  ASSERT_TRUE(removed.ok() || absl::IsUnavailable(removed)) << removed;
  const uint64_t next = group.Leader(leader);
  ASSERT_NE(next, 0u);
  EXPECT_FALSE(Find(group[next].log.get(), leader).has_value());
  EXPECT_EQ(group.Propose(next, "second").outcome, ProposeOutcome::kApplied);
}

TEST(MembersTest, AChangeThatWouldCostTheQuorumIsRefused) {
  ReplicaGroup group(4, ThreeFounders);
  StartFounders(&group);
  const uint64_t leader = group.Leader();
  const uint64_t dead = leader % 3 + 1;
  const uint64_t alive = 6 - leader - dead;
  group.Stop(dead);
  EXPECT_TRUE(Await([&] {
    return Find(group[leader].log.get(), dead)->silent > std::chrono::milliseconds(700) * testing::kSlowness;
  }));
  const absl::Status refused = Change(group[leader].log.get(), MemberChange::kRemove, alive);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.ToString(), HasSubstr("would lose its quorum"));
  // The one that does not answer may go.
  EXPECT_TRUE(Change(group[leader].log.get(), MemberChange::kRemove, dead).ok());
  EXPECT_TRUE(group.ProposeSomewhere("second"));
}

TEST(MembersTest, AChangeThatWaitsForAnotherIsAnsweredWhenTheLogStops) {
  ReplicaGroup group(4, ThreeFounders);
  StartFounders(&group);
  const uint64_t leader = group.Leader();
  group.network().Isolate(ReplicaId(leader), group.ids());
  std::atomic<int> answered{0};
  for (int i = 0; i < 2; ++i) {
    group[leader].log->ChangeMember(MemberChange::kAdd, ReplicaId(4), "somewhere:4",
                                    [&](const absl::Status& status) { answered += status.ok() ? 10 : 1; });
  }
  group[leader].log->Stop();
  EXPECT_EQ(answered, 2);
}

TEST(MembersTest, AnOtherThanTheLeaderRefusesChanges) {
  ReplicaGroup group(4, ThreeFounders);
  StartFounders(&group);
  const uint64_t follower = group.Leader() % 3 + 1;
  EXPECT_EQ(Change(group[follower].log.get(), MemberChange::kRemove, 1).code(), absl::StatusCode::kUnavailable);
}

TEST(MembersTest, T51_AWipedReplicaComesBackAsALearnerThenVotes) {
  std::atomic<bool> join{false};
  std::atomic<int> rejoins{0};
  ReplicaGroup group(3, [&](auto* options) {
    options->join = options->identity.replica == ReplicaId(3) && join;
    if (options->identity.replica == ReplicaId(3)) options->on_rejoin = [&](const absl::Status&) { ++rejoins; };
  });
  ASSERT_TRUE(group.StartAll().ok());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(group.ProposeSomewhere("x"));
  ASSERT_TRUE(group.AwaitEqual(5));
  Wipe(&group, 3);
  // It does not know yet that it has been here before.
  ASSERT_TRUE(group.Start(3).ok());
  ASSERT_TRUE(Await([&] { return rejoins == 1; }));
  EXPECT_TRUE(group[3].Fatal().ok());
  Wipe(&group, 3);
  join = true;
  ASSERT_TRUE(group.Start(3).ok());
  EXPECT_TRUE(group.AwaitEqual(5));
  ASSERT_TRUE(Await([&] {
    const auto member = Find(group[group.Leader()].log.get(), 3);
    return member && member->voter;
  }));
  // Its vote counts again, also after a restart.
  group.Stop(3);
  ASSERT_TRUE(group.Start(3).ok());
  ASSERT_TRUE(group.ProposeSomewhere("y"));
  ASSERT_TRUE(group.AwaitEqual(6));
  const uint64_t other = group.Leader() == 1 ? 2 : 1;
  group.Stop(other);
  ASSERT_TRUE(group.ProposeSomewhere("z"));
  EXPECT_TRUE(group.AwaitEqual(7));
}

TEST(MembersTest, T51_ADirectoryThatWasReplacedBeginsAgain) {
  std::atomic<bool> join{false};
  std::atomic<int> rejoins{0};
  ReplicaGroup group(3, [&](auto* options) {
    options->join = options->identity.replica == ReplicaId(3) && join;
    if (options->identity.replica == ReplicaId(3)) options->on_rejoin = [&](const absl::Status&) { ++rejoins; };
  });
  ASSERT_TRUE(group.StartAll().ok());
  ASSERT_TRUE(group.ProposeSomewhere("x"));
  ASSERT_TRUE(group.AwaitEqual(1));
  join = true;
  std::map<std::string, std::string> last_week;
  Position applied;
  // Two times a directory of number 3 is lost and another one takes its place; the one in between is kept.
  for (size_t data = 2; data <= 3; ++data) {
    Wipe(&group, 3);
    ASSERT_TRUE(group.Start(3).ok());
    ASSERT_TRUE(Await([&] {
      const auto member = Find(group[group.Leader(3)].log.get(), 3);
      return member && member->voter;
    }));
    ASSERT_TRUE(group.ProposeSomewhere("x"));
    ASSERT_TRUE(group.AwaitEqual(data));
    group.Stop(3);
    if (data == 2) {
      last_week = group[3].disk.Image();
      applied = group[3].machine.Applied();
    }
  }
  EXPECT_EQ(rejoins, 0);
  group[3].disk.Restore(last_week);
  group[3].machine.SetApplied(applied);
  ASSERT_TRUE(group.Start(3).ok());
  // It is told so, instead of waiting for ever for somebody to listen.
  ASSERT_TRUE(Await([&] { return rejoins == 1; }));
  EXPECT_TRUE(group[3].Fatal().ok());
  Wipe(&group, 3);
  ASSERT_TRUE(group.Start(3).ok());
  EXPECT_TRUE(group.AwaitEqual(3));
}

// The disk of 3 is not mounted: an empty directory in its place asks to be taken in. Then the right disk is back.
class AJoinerThatIsGone : public ::testing::Test {
 protected:
  AJoinerThatIsGone()
      : group_(3, [this](auto* options) {
          options->join = options->identity.replica == ReplicaId(3) && join_;
          options->clock = &clock_;
        }) {}

  // Leaves 3 stopped with its right disk; 2 is stopped too, and 1 has been greeted by the wrong one.
  void GreetFromTheWrongDisk() {
    ASSERT_TRUE(group_.StartAll().ok());
    ASSERT_TRUE(group_.ProposeSomewhere("x"));
    ASSERT_TRUE(group_.AwaitEqual(1));
    // All directories are named.
    ASSERT_TRUE(Await([&] {
      return Change(group_[group_.Leader()].log.get(), MemberChange::kPromote, 3).ok() && Named(1) && Named(2) &&
             Named(3);
    }));
    ASSERT_TRUE(Lead(1));
    group_.Stop(2);
    group_.Stop(3);
    ASSERT_TRUE(Await([&] { return !group_[1].log->Leader().is_leader; }));
    const auto right = group_[3].disk.Image();
    const Position applied = group_[3].machine.Applied();
    Wipe(&group_, 3);
    join_ = true;
    greetings_ = 0;
    group_.network().SetBatchHook([&](const PeerBatch& batch, bool) {
      if (batch.joining && batch.from == ReplicaId(3) && batch.to == ReplicaId(1)) ++greetings_;
      return true;
    });
    ASSERT_TRUE(group_.Start(3).ok());
    ASSERT_TRUE(Await([&] { return greetings_ >= 4; }));
    group_.Stop(3);
    group_[3].disk.Restore(right);
    group_[3].machine.SetApplied(applied);
    join_ = false;
  }
  bool Named(uint64_t id) { return group_[id].log->ConfigurationPosition() > Position(1); }
  bool Lead(uint64_t id) {
    return Await([&] {
      const uint64_t leader = group_.Leader();
      if (leader == id) return true;
      if (leader != 0) (void)group_[leader].log->TransferLeadership(ReplicaId(id));
      return false;
    });
  }

  std::atomic<bool> join_{false};
  std::atomic<int> greetings_{0};
  testing::ShiftedClock clock_;
  ReplicaGroup group_;
};

TEST_F(AJoinerThatIsGone, T51_IsNotTakenInInPlaceOfTheRightDisk) {
  GreetFromTheWrongDisk();
  ASSERT_TRUE(group_.Start(3).ok());
  ASSERT_TRUE(Lead(1));
  for (uint64_t leader : {1, 3, 1}) {
    ASSERT_TRUE(Lead(leader));
    ASSERT_TRUE(group_.ProposeSomewhere("y"));
    EXPECT_TRUE(group_[3].Fatal().ok()) << group_[3].Fatal();
  }
}

TEST_F(AJoinerThatIsGone, T51_IsNotTakenInLater) {
  GreetFromTheWrongDisk();
  // Whoever waits to be taken in says so all the time.
  clock_.monotonic = std::chrono::milliseconds(700) * testing::kSlowness;
  ASSERT_TRUE(group_.Start(2).ok());
  ASSERT_TRUE(Lead(1));
  ASSERT_TRUE(group_.ProposeSomewhere("y"));
  ASSERT_TRUE(group_.Start(3).ok());
  ASSERT_TRUE(group_.ProposeSomewhere("z"));
  group_.Stop(2);
  EXPECT_TRUE(group_.ProposeSomewhere("by 1 and 3"));
  EXPECT_TRUE(group_[3].Fatal().ok()) << group_[3].Fatal();
}

TEST(MembersTest, T51_AWipedReplicaDoesNotHelpToForgetWhatItAcknowledged) {
  std::atomic<bool> join{false};
  uint64_t wiped = 0;
  ReplicaGroup group(3, [&](auto* options) {
    options->join = join && options->identity.replica.value() == wiped;
    options->on_rejoin = [](const absl::Status&) {};
  });
  ASSERT_TRUE(group.StartAll().ok());
  ASSERT_TRUE(group.ProposeSomewhere("first"));
  ASSERT_TRUE(group.AwaitEqual(1));
  const uint64_t leader = group.Leader();
  wiped = leader % 3 + 1;
  const uint64_t behind = 6 - leader - wiped;
  group.Stop(behind);
  ASSERT_EQ(group.Propose(leader, "acknowledged").outcome, ProposeOutcome::kApplied);
  group.Stop(leader);
  Wipe(&group, wiped);
  join = true;
  ASSERT_TRUE(group.Start(wiped).ok());
  ASSERT_TRUE(group.Start(behind).ok());
  // Neither of the two may lead: one lacks the entry, the other has forgotten that it held it.
  EXPECT_FALSE(Await([&] { return group[behind].log->Leader().is_leader || group[wiped].log->Leader().is_leader; },
                     std::chrono::milliseconds(2000) * testing::kSlowness));
  ASSERT_TRUE(group.Start(leader).ok());
  ASSERT_TRUE(group.ProposeSomewhere("last"));
  ASSERT_TRUE(group.AwaitEqual(3));
  EXPECT_EQ(group[wiped].machine.Data(), (std::vector<std::string>{"first", "acknowledged", "last"}));
}

// A replica that was away knows the present leader by a directory that is gone, and has nobody but this leader to tell
// it of the one that took its place.
TEST(MembersTest, AReplicaThatWasAwayFollowsALeaderWhoseDirectoryItDoesNotKnow) {
  for (const bool by_checkpoint : {false, true}) {
    std::atomic<bool> join{false};
    ReplicaGroup group(5, [&](auto* options) {
      options->join = options->identity.replica == ReplicaId(4) && join;
      if (by_checkpoint) options->keep_bytes = 128 << 10;
    });
    ASSERT_TRUE(group.StartAll().ok());
    ASSERT_TRUE(group.ProposeSomewhere("x"));
    ASSERT_TRUE(group.AwaitEqual(1));
    group.Stop(5);
    Wipe(&group, 4);
    join = true;
    ASSERT_TRUE(group.Start(4).ok());
    ASSERT_TRUE(Await([&] {
      const auto member = Find(group[group.Leader()].log.get(), 4);
      return member && member->voter;
    }));
    size_t proposed = 1;
    ASSERT_TRUE(Await([&] {
      group.ProposeSomewhere(std::string(4000, 'x'));
      ++proposed;
      return !by_checkpoint || group[group.Leader()].log->Statistics().first.value() > 10;
    }));
    ASSERT_TRUE(Await([&] {
      const uint64_t leader = group.Leader();
      if (leader == 4) return true;
      (void)group[leader].log->TransferLeadership(ReplicaId(4));
      return false;
    }));
    ASSERT_TRUE(group.Start(5).ok());
    EXPECT_TRUE(Await([&] { return group[5].machine.Data().size() == proposed; })) << by_checkpoint;
    EXPECT_EQ(group.Leader(), 4u);
    ASSERT_TRUE(group.ProposeSomewhere("y"));
    EXPECT_TRUE(group.AwaitEqual(proposed + 1));
  }
}

TEST(MembersTest, T55_AWipedReplicaBehindTheCutTakesACheckpointBeforeItVotes) {
  std::atomic<bool> join{false};
  ReplicaGroup group(3, [&](auto* options) {
    options->keep_bytes = 128 << 10;
    options->join = options->identity.replica == ReplicaId(3) && join;
  });
  ASSERT_TRUE(group.StartAll().ok());
  int proposed = 0;
  ASSERT_TRUE(Await([&] {
    group.ProposeSomewhere(std::string(4000, 'x'));
    ++proposed;
    return group[group.Leader()].log->Statistics().first.value() > 10;
  }));
  Wipe(&group, 3);
  join = true;
  ASSERT_TRUE(group.Start(3).ok());
  ASSERT_TRUE(group.ProposeSomewhere("y"));
  EXPECT_TRUE(group.AwaitEqual(static_cast<size_t>(proposed) + 1));
  EXPECT_GE(group[3].machine.installs(), 1);
  EXPECT_TRUE(Await([&] {
    const auto member = Find(group[group.Leader()].log.get(), 3);
    return member && member->voter;
  }));
  // What it knows of the members came with the checkpoint, and survives.
  group.Stop(3);
  ASSERT_TRUE(group.Start(3).ok());
  ASSERT_TRUE(group.ProposeSomewhere("z"));
  EXPECT_TRUE(group.AwaitEqual(static_cast<size_t>(proposed) + 2));
}

TEST(MembersTest, ABrokenStateBeginsAgainFromThePeers) {
  std::atomic<int> rejoins{0};
  ReplicaGroup group(3, [&](auto* options) { options->on_rejoin = [&](const absl::Status&) { ++rejoins; }; });
  ASSERT_TRUE(group.StartAll().ok());
  ASSERT_TRUE(group.ProposeSomewhere("first"));
  ASSERT_TRUE(group.AwaitEqual(1));
  const uint64_t follower = group.Leader() % 3 + 1;
  group[follower].machine.FailApply(absl::DataLossError("a block is damaged"));
  ASSERT_TRUE(group.ProposeSomewhere("second"));
  EXPECT_TRUE(Await([&] { return rejoins == 1; }));
  EXPECT_TRUE(group[follower].Fatal().ok());
}

}  // namespace
}  // namespace terrane::replication
