// Changes of membership, snapshots, transfer of leadership, reads and leases: the sentences of chapters 3.10, 4, 5 and
// 6 of Ongaro's thesis.
#include <gtest/gtest.h>

#include "raft/lone_core.h"

namespace terrane::raft {
namespace {

TEST(MembershipTest, TheFirstConfigurationIsEntryOne) {
  RestoredState state = NewGroup(MakeConfiguration({1, 2, 3}));
  ASSERT_EQ(state.entries.size(), 1u);
  EXPECT_EQ(state.entries[0].index, Position(1));
  EXPECT_EQ(DecodeConfiguration(state.entries[0].data.view()), MakeConfiguration({1, 2, 3}));
}

TEST(MembershipTest, AServerAlwaysUsesTheLatestConfigurationInItsLogWhetherItIsCommittedOrNot) {
  Group group(3);
  group.Elect(1);
  ASSERT_TRUE(group.Change(1, {1, 2, 3}, {4}).ok());
  EXPECT_EQ(group[1].configuration(), MakeConfiguration({1, 2, 3}, {4}));
  EXPECT_LT(group[1].commit(), group[1].configuration_index());
}

TEST(MembershipTest, AServerFallsBackToThePreviousConfigurationWhenItsEntryIsRemoved) {
  Group group(3);
  group.Elect(1);
  group.Isolate(1);
  group.Change(1, {1, 2}, {});
  group.DropAll();
  group.Elect(2);
  group.Heal();
  group.Run(200ms);
  EXPECT_EQ(group[1].configuration(), MakeConfiguration({1, 2, 3}));
  EXPECT_EQ(group.Terms(1), group.Terms(2));
}

TEST(MembershipTest, OneChangeAtATime) {
  Group group(3);
  group.Elect(1);
  EXPECT_EQ(group.Change(1, {1}, {}).refusal, Refusal::kNotOneChange);
  EXPECT_EQ(group.Change(1, {1, 2, 3}, {}).refusal, Refusal::kNotOneChange);
  EXPECT_EQ(group.Change(1, {}, {}).refusal, Refusal::kNotOneChange);
  EXPECT_EQ(group.Change(1, {1, 2}, {4}).refusal, Refusal::kNotOneChange);
  ASSERT_TRUE(group.Change(1, {1, 2}, {}).ok());
  EXPECT_EQ(group.Change(1, {1}, {}).refusal, Refusal::kChangeUnderWay);
  group.Settle();
  EXPECT_TRUE(group.Change(1, {1}, {}).ok());
}

TEST(MembershipTest, AChangeOnlyAfterAnEntryOfTheOwnTermIsCommitted) {
  Group group(3);
  group.Pass(700ms);
  group.Tick(1);
  auto no_append_answer = [](const Message& message) { return message.type != MessageType::kAppendAnswer; };
  for (int i = 0; i < 8; ++i) group.DeliverOnly(no_append_answer);
  ASSERT_TRUE(group[1].IsLeader());
  EXPECT_EQ(group.Change(1, {1, 2}, {}).refusal, Refusal::kNotReady);
  group.Settle();
  EXPECT_TRUE(group.Change(1, {1, 2}, {}).ok());
}

TEST(MembershipTest, ALearnerReceivesEntriesAndIsNotCounted) {
  Group group(3);
  group.AddEmpty(4);
  group.Elect(1);
  ASSERT_TRUE(group.Change(1, {1, 2, 3}, {4}).ok());
  group.Settle();
  group.Propose(1, "a");
  group.Settle();
  EXPECT_EQ(group.AppliedData(4), "a");
  group.Cut(1, 2);
  group.Cut(1, 3);
  group.Propose(1, "b");
  group.Settle();
  EXPECT_EQ(group.AppliedData(1), "a");
  EXPECT_EQ(group[4].NextTick(), MonotonicTime::max()) << "a learner does not campaign";
}

TEST(MembershipTest, T55_ALearnerIsPromotedWhenItsDataIsCloseNotItsLog) {
  Group group(3);
  group.AddEmpty(4);
  group.Elect(1);
  EXPECT_EQ(group.Change(1, {1, 2, 3, 4}, {}).refusal, Refusal::kLearnerBehind) << "a voter begins as a learner";
  group.HoldApply(4);
  ASSERT_TRUE(group.Change(1, {1, 2, 3}, {4}).ok());
  group.Settle();
  group[1].Propose(group[1].term(), std::vector<std::string>(1500, "x"));
  group.Collect(1);
  group.Run(200ms);
  EXPECT_EQ(group[4].last_index(), group[1].last_index());
  EXPECT_EQ(group.Change(1, {1, 2, 3, 4}, {}).refusal, Refusal::kLearnerBehind) << "its log is there, its data is not";
  group.ReleaseApply(4);
  group.Run(200ms);
  EXPECT_TRUE(group.Change(1, {1, 2, 3, 4}, {}).ok());
}

TEST(MembershipTest, ALeaderThatIsRemovedLeadsUntilTheEntryIsCommittedWithoutCountingItself) {
  Group group(3);
  group.Elect(1);
  group.Cut(1, 3);
  ASSERT_TRUE(group.Change(1, {2, 3}, {}).ok());
  group.Settle();
  // On 1 and 2; of the voters 2 and 3 that is not a majority.
  EXPECT_TRUE(group[1].IsLeader());
  EXPECT_LT(group[1].commit(), group[1].configuration_index());
  group.Heal();
  group.Run(100ms);
  EXPECT_FALSE(group[1].IsLeader());
  EXPECT_GE(group[1].commit(), group[1].configuration_index());
  group.Run(2s);
  EXPECT_TRUE(group[2].IsLeader() || group[3].IsLeader());
  EXPECT_EQ(group[2].commit(), group[3].commit());
}

TEST(MembershipTest, AServerOutsideOfItsLatestConfigurationStillStartsElectionsUntilItIsCommitted) {
  // Found by the simulation: 1 appends its own removal from {1, 2} and is cut off before anybody hears of it. Its log
  // is the longer one, so 2 cannot win without it.
  Group group(2);
  group.Elect(1);
  group.Isolate(1);
  ASSERT_TRUE(group.Change(1, {2}, {}).ok());
  group.DropAll();
  group.Run(2s);
  EXPECT_FALSE(group[1].IsLeader());
  group.Heal();
  group.Run(3s);
  EXPECT_TRUE(group[2].IsLeader()) << group.TakeTrace();
  EXPECT_EQ(group[2].configuration(), MakeConfiguration({2}));
}

TEST(MembershipTest, ASoleVoterByAChangeThatIsNotCommittedWaitsLikeAllOthers) {
  // Found by the simulation: 2 acknowledged the lease of 1, gets the entry that makes it the sole voter, and restarts.
  Group group(2);
  group.Elect(1);
  group.Run(100ms);
  ASSERT_TRUE(group.Change(1, {2}, {}).ok());
  group.DeliverOnly([](const Message& message) { return message.to == ReplicaId(2); });
  group.DropAll();
  group.Isolate(1);
  group.Crash(2);
  group.Restart(2);
  EXPECT_EQ(group[2].configuration(), MakeConfiguration({2}));
  EXPECT_FALSE(group[2].IsLeader());
  MonotonicTime lease = *group[1].LeaseUntil();
  group.Run(1s);
  EXPECT_TRUE(group[2].IsLeader());
  EXPECT_LT(lease, group.now());
}

TEST(MembershipTest, ARemovedServerDoesNotDisturbTheOthers) {
  Group group(3);
  group.Elect(1);
  group.Cut(1, 3);
  group.Cut(2, 3);
  group.Change(1, {1, 2}, {});  // 3 never hears of it
  group.Settle();
  group.Heal();
  Term term = group[1].term();
  group.Run(5s);
  EXPECT_TRUE(group[1].IsLeader());
  EXPECT_EQ(group[1].term(), term);
}

// --- Snapshots (chapter 5) ---

TEST(SnapshotTest, AFollowerThatNeedsWhatWasCutOffGetsAReference) {
  Group group(3);
  group.Elect(1);
  group.Isolate(3);
  for (const char* data : {"a", "b", "c"}) group.Propose(1, data);
  group.Settle();
  group.Compact(1, 4);
  EXPECT_EQ(group[1].first_index(), Position(5));
  group.Heal();
  group.Run(200ms);
  EXPECT_EQ(group[3].commit(), group[1].commit());
  EXPECT_EQ(group[3].first_index(), Position(5));
  EXPECT_EQ(group[3].configuration(), MakeConfiguration({1, 2, 3}))
      << "a snapshot bears the configuration at its position";
  EXPECT_EQ(group.AppliedData(3), "c");
  group.Propose(1, "d");
  group.Settle();
  EXPECT_EQ(group.AppliedData(3), "c d");
}

TEST(SnapshotTest, IfTheFollowerHasTheLastEntryOfTheSnapshotWhatFollowsIsKept) {
  LoneCore follower(3, 3, {2, 2, 3});
  Message message = LoneCore::From(2, MessageType::kInstallSnapshot, 3);
  auto reference = std::make_shared<SnapshotReference>();
  *reference = {Position(3), Term(2), MakeConfiguration({1, 2, 3}), "there"};
  message.snapshot = reference;
  EXPECT_FALSE(follower.core->WantsSnapshot(message, follower.now));
  follower.Step(message);
  follower.Synced();
  EXPECT_FALSE(follower.snapshot.has_value());
  EXPECT_EQ(follower.core->last_index(), Position(4));
  EXPECT_EQ(follower.core->commit(), Position(3));
}

TEST(SnapshotTest, ASnapshotReplacesALogThatConflicts) {
  LoneCore follower(3, 3, {2, 2, 3}, 1);
  Message message = LoneCore::From(2, MessageType::kInstallSnapshot, 5);
  auto reference = std::make_shared<SnapshotReference>();
  *reference = {Position(4), Term(5), MakeConfiguration({1, 2, 3, 4}), "there"};
  message.snapshot = reference;
  EXPECT_TRUE(follower.core->WantsSnapshot(message, follower.now));
  follower.Step(message);
  EXPECT_TRUE(follower.Unsynced().empty()) << "nothing is answered before it is synced";
  ASSERT_TRUE(follower.snapshot.has_value());
  EXPECT_EQ(follower.core->first_index(), Position(5));
  EXPECT_EQ(follower.core->configuration(), MakeConfiguration({1, 2, 3, 4}));
  ASSERT_EQ(follower.held.size(), 1u);
  EXPECT_EQ(follower.held[0].type, MessageType::kSnapshotAnswer);
  EXPECT_EQ(follower.held[0].index, Position(4));
}

TEST(SnapshotTest, AnOldSnapshotIsNotInstalledOverANewerState) {
  LoneCore follower(3, 3, {2, 2, 3}, 4);
  Message message = LoneCore::From(2, MessageType::kInstallSnapshot, 3);
  auto reference = std::make_shared<SnapshotReference>();
  *reference = {Position(2), Term(2), MakeConfiguration({1, 2, 3}), "there"};
  message.snapshot = reference;
  EXPECT_FALSE(follower.core->WantsSnapshot(message, follower.now));
  follower.Step(message);
  std::vector<Message> sent = follower.Synced();
  EXPECT_FALSE(follower.snapshot.has_value());
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].index, Position(2));
}

TEST(SnapshotTest, AnAnswerForAStateThatTheLeaderDoesNotShareDoesNotCount) {
  // The data came from another replica, under a later leader: position 3 holds another entry there.
  LoneCore leader(3, 2, {2});
  leader.Lead();
  leader.Synced();
  Message answer = LoneCore::From(2, MessageType::kSnapshotAnswer, leader.core->term().value());
  answer.index = Position(3);
  answer.log_term = Term(2);
  leader.Step(answer);
  answer.index = Position(9);
  leader.Step(answer);
  leader.Synced();
  EXPECT_EQ(leader.core->commit(), Position(0));
  EXPECT_EQ(leader.core->peers()[0].match, Position(0));
}

TEST(SnapshotTest, AReferenceThatIsLostIsSentAgain) {
  Group group(3);
  group.Elect(1);
  group.Isolate(3);
  group.Propose(1, "a");
  group.Settle();
  group.Compact(1, 3);
  group.Heal();
  for (int i = 0; i < 100 && group[1].peers()[1].state != ProgressState::kSnapshot; ++i) {
    group.Pass(10ms);
    group.Tick(1);
    group.DeliverOnly([](const Message& message) { return message.type != MessageType::kInstallSnapshot; });
  }
  ASSERT_EQ(group[1].peers()[1].state, ProgressState::kSnapshot);
  group.DropAll();
  group.Run(2s);
  EXPECT_EQ(group[3].commit(), group[1].commit());
}

TEST(SnapshotTest, AFailedFetchIsTriedAgain) {
  LoneCore leader(3, 2, {2});
  leader.Lead();
  leader.Synced();
  Message message = LoneCore::From(2, MessageType::kInstallSnapshot, 2);
  LoneCore follower(3, 2, {2});
  follower.core->SnapshotFailed(message);
  std::vector<Message> sent = follower.Synced();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(sent[0].reject);
}

TEST(SnapshotTest, AReplicaThatRestartsBehindACutKnowsItsConfiguration) {
  Group group(3);
  group.Elect(1);
  group.Change(1, {1, 2}, {});
  group.Settle();
  group.Propose(1, "a");
  group.Settle();
  group.Compact(1, 4);
  group.Crash(1);
  group.Restart(1);
  EXPECT_EQ(group[1].configuration(), MakeConfiguration({1, 2}));
  EXPECT_EQ(group[1].last_index(), Position(4));
}

// --- Transfer (3.10) ---

TEST(TransferTest, TheTargetLeadsWithoutWaitingForAnElectionTimeout) {
  Group group(3);
  group.Elect(1);
  group.Propose(1, "a");
  EXPECT_EQ(group[1].TransferLeadership(ReplicaId(3), group.now()), Refusal::kNone);
  EXPECT_EQ(group.Propose(1, "b").refusal, Refusal::kTransferring);
  group.Settle();
  EXPECT_TRUE(group[3].IsLeader());
  EXPECT_EQ(group.AppliedData(3), "a");
}

TEST(TransferTest, TheTargetIsToldOnlyWhenItsLogIsAsLong) {
  Group group(3);
  group.Elect(1);
  group.Cut(1, 3);
  group.Propose(1, "a");
  group.Settle();
  group.Heal();
  group[1].TransferLeadership(ReplicaId(3), group.now());
  group.Collect(1);
  for (const Message& message : group.network()) EXPECT_NE(message.type, MessageType::kTimeoutNow);
  group.Run(150ms);
  EXPECT_TRUE(group[3].IsLeader());
}

TEST(TransferTest, ATransferThatDoesNotCompleteWithinAnElectionTimeoutIsGivenUp) {
  Group group(3);
  group.Elect(1);
  group[1].TransferLeadership(ReplicaId(3), group.now());
  group.Collect(1);
  group.DropAll();
  group.Run(700ms);
  EXPECT_TRUE(group[1].IsLeader());
  EXPECT_TRUE(group.Propose(1, "a").ok());
  EXPECT_FALSE(group[1].LeaseUntil().has_value()) << "the lost TimeoutNow may still arrive";
}

TEST(TransferTest, OnlyToAnotherVoterThatAnswers) {
  Group group(3);
  EXPECT_EQ(group[1].TransferLeadership(ReplicaId(2), group.now()), Refusal::kNotLeader);
  group.Elect(1);
  EXPECT_EQ(group[1].TransferLeadership(ReplicaId(1), group.now()), Refusal::kNoSuchTarget);
  EXPECT_EQ(group[1].TransferLeadership(ReplicaId(9), group.now()), Refusal::kNoSuchTarget);
  group.Cut(1, 3);
  group.Run(400ms);
  EXPECT_EQ(group[1].TransferLeadership(ReplicaId(3), group.now()), Refusal::kNoSuchTarget);
  EXPECT_EQ(group[1].TransferLeadership(ReplicaId(), group.now()), Refusal::kNone);
  group.Collect(1);
  group.Settle();
  EXPECT_TRUE(group[2].IsLeader());
}

// --- Reads (6.4) ---

TEST(ReadTest, AReadIsConfirmedByARoundOfHeartbeatsThatWasSentAfterIt) {
  Group group(3);
  group.Elect(1);
  group.Run(100ms);
  EXPECT_EQ(group[1].ReadIndex(7), Refusal::kNone);
  group.Collect(1);
  EXPECT_TRUE(group.TakeReads(1).empty());
  group.Settle();
  std::vector<ReadState> reads = group.TakeReads(1);
  ASSERT_EQ(reads.size(), 1u);
  EXPECT_EQ(reads[0].context, 7u);
  EXPECT_TRUE(reads[0].confirmed);
  EXPECT_EQ(reads[0].index, group[1].commit());
}

TEST(ReadTest, OneRoundServesAllReadsThatWait) {
  Group group(3);
  group.Elect(1);
  for (uint64_t context = 1; context <= 50; ++context) group[1].ReadIndex(context);
  group.Collect(1);
  EXPECT_EQ(group.network().size(), 2u);
  group.Settle();
  EXPECT_EQ(group.TakeReads(1).size(), 50u);
}

TEST(ReadTest, ADeposedLeaderConfirmsNothing) {
  Group group(3);
  group.Elect(1);
  group.Isolate(1);
  group.Elect(2);
  group.Propose(2, "newer");
  group.Settle();
  group[1].ReadIndex(7);
  group.Collect(1);
  group.Run(700ms);
  std::vector<ReadState> reads = group.TakeReads(1);
  ASSERT_EQ(reads.size(), 1u);
  EXPECT_FALSE(reads[0].confirmed);
}

TEST(ReadTest, AFollowerAsksItsLeader) {
  Group group(3);
  group.Elect(1);
  group.Propose(1, "a");
  group.Settle();
  EXPECT_EQ(group[2].ReadIndex(8), Refusal::kNone);
  group.Collect(2);
  group.Settle();
  std::vector<ReadState> reads = group.TakeReads(2);
  ASSERT_EQ(reads.size(), 1u);
  EXPECT_TRUE(reads[0].confirmed);
  EXPECT_EQ(reads[0].index, Position(3));
  LoneCore alone(3, 2, {});
  EXPECT_EQ(alone.core->ReadIndex(1), Refusal::kNotLeader);
}

TEST(LeaseTest, ALeaseIsCountedFromWhenTheAcknowledgedHeartbeatWasSent) {
  Group group(3);
  group.Elect(1);
  group.Run(200ms);
  MonotonicTime lease = *group[1].LeaseUntil();
  EXPECT_LE(lease, group.now() + 270ms);
  EXPECT_GT(lease, group.now() + 200ms);
  group.Isolate(1);
  group.Run(100ms);
  EXPECT_EQ(group[1].LeaseUntil(), lease) << "heartbeats that nobody answers do not lengthen it";
}

TEST(LeaseTest, ALeaseEndsBeforeATransfer) {
  Group group(3);
  group.Elect(1);
  group.Run(200ms);
  group[1].TransferLeadership(ReplicaId(2), group.now());
  EXPECT_FALSE(group[1].LeaseUntil().has_value());
}

TEST(LeaseTest, FollowersHaveNone) {
  Group group(3);
  group.Elect(1);
  group.Run(200ms);
  EXPECT_FALSE(group[2].LeaseUntil().has_value());
  EXPECT_EQ(group[2].LeaderContact(group.now()).has_value(), true);
}

}  // namespace
}  // namespace terrane::raft
