// Elections: one test for each sentence of the Raft paper (5.1, 5.2, 5.4.1) and of Ongaro's thesis
// (3.x, 4.2.3, 6.2, 9.6).
#include <gtest/gtest.h>

#include "raft/lone_core.h"

namespace terrane::raft {
namespace {

const Message* Find(const std::vector<Message>& messages, MessageType type, uint64_t to = 0) {
  for (const Message& message : messages) {
    if (message.type == type && (to == 0 || message.to == ReplicaId(to))) return &message;
  }
  return nullptr;
}

TEST(ElectionTest, IfOneServersCurrentTermIsSmallerThanTheOthersThenItUpdatesItsTermToTheLargerValue) {
  LoneCore follower(3, 2, {2});
  follower.Step(LoneCore::Append(2, 5, 2, 2, {}));
  EXPECT_EQ(follower.core->term(), Term(5));
  EXPECT_EQ(follower.core->leader(), ReplicaId(2));
}

TEST(ElectionTest, IfALeaderDiscoversThatItsTermIsOutOfDateItRevertsToFollowerState) {
  LoneCore leader(3, 2, {2});
  leader.Lead();
  ASSERT_TRUE(leader.core->IsLeader());
  Message answer = LoneCore::From(2, MessageType::kAppendAnswer, 9);
  answer.reject = true;
  leader.Step(answer);
  EXPECT_EQ(leader.core->role(), RoleName::kFollower);
  EXPECT_EQ(leader.core->term(), Term(9));
}

TEST(ElectionTest, IfAServerReceivesARequestWithAStaleTermItRejectsIt) {
  for (Message stale :
       {LoneCore::Append(2, 3, 1, 1, {3}), LoneCore::From(2, MessageType::kHeartbeat, 3), LoneCore::Vote(2, 3, 9, 3)}) {
    LoneCore follower(3, 4, {2});
    follower.Step(stale);
    std::vector<Message> sent = follower.Synced();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_TRUE(sent[0].reject);
    EXPECT_EQ(sent[0].term, Term(4)) << "a message of an older term is answered with the own term";
    EXPECT_EQ(follower.core->last_index(), Position(2));
    EXPECT_EQ(follower.core->hard_state().vote, ReplicaId());
  }
}

TEST(ElectionTest, WhenServersStartUpTheyBeginAsFollowers) {
  LoneCore core(3, 7, {2});
  EXPECT_EQ(core.core->role(), RoleName::kFollower);
  EXPECT_EQ(core.core->leader(), ReplicaId());
}

TEST(ElectionTest, AFollowerThatReceivesNoCommunicationOverTheElectionTimeoutBeginsAnElection) {
  LoneCore follower(3, 2, {2});
  follower.core->Tick(follower.core->NextTick() - 1ms);
  EXPECT_EQ(follower.core->role(), RoleName::kFollower);
  follower.now = follower.core->NextTick();
  follower.core->Tick(follower.now);
  EXPECT_EQ(follower.core->role(), RoleName::kPreCandidate);
}

TEST(ElectionTest, ElectionTimeoutsAreChosenRandomlyFromAFixedInterval) {
  std::set<MonotonicTime> timeouts;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Options options;
    options.id = ReplicaId(1);
    options.seed = seed;
    Core core(options, NewGroup(MakeConfiguration({1, 2, 3})), 0s);
    EXPECT_GE(core.NextTick(), options.election_timeout_min);
    EXPECT_LE(core.NextTick(), options.election_timeout_max);
    timeouts.insert(core.NextTick());
  }
  EXPECT_GT(timeouts.size(), 30u);
}

TEST(ElectionTest, APreVoteChangesNoTermAndNoVote) {
  LoneCore voter(3, 2, {2});
  voter.now += 400ms;
  voter.Step(LoneCore::PreVote(2, 6, 2, 2));
  std::vector<Message> sent = voter.Unsynced();
  const Message* answer = Find(sent, MessageType::kPreVoteAnswer);
  ASSERT_NE(answer, nullptr);
  EXPECT_FALSE(answer->reject);
  EXPECT_EQ(voter.core->hard_state(), (HardState{Term(2), ReplicaId()}));
}

// A split vote costs another election timeout: the sender of a pre-vote that was granted asks for the vote itself soon.
TEST(ElectionTest, WhoGrantsAPreVoteGivesItsSenderTimeToAskForTheVote) {
  LoneCore voter(3, 2, {2});
  voter.now = voter.core->NextTick() - 1ms;
  voter.Step(LoneCore::PreVote(2, 6, 2, 2));
  EXPECT_EQ(voter.core->NextTick(), voter.now + 2 * Options().heartbeat_interval);
  // One that is refused gets none.
  LoneCore other(3, 2, {2});
  other.now = other.core->NextTick() - 1ms;
  other.Step(LoneCore::PreVote(2, 6, 1, 1));
  EXPECT_EQ(other.core->NextTick(), other.now + 1ms);
}

TEST(ElectionTest, OfTwoThatAskForPreVotesAtOnceTheOneWithTheGreaterIdGoesOn) {
  for (const uint64_t other : {2, 3}) {
    LoneCore one(3, 2, {2});  // replica 1
    one.now += 700ms;
    one.core->Tick(one.now);
    ASSERT_EQ(one.core->role(), RoleName::kPreCandidate);
    one.Step(LoneCore::PreVote(other, 3, 2, 2));
    EXPECT_EQ(one.core->role(), RoleName::kFollower);
    EXPECT_GE(one.core->NextTick(), one.now + 2 * Options().heartbeat_interval);
    Message answer = LoneCore::From(5 - other, MessageType::kPreVoteAnswer, 2);
    answer.campaign_term = Term(3);
    one.Step(answer);
    EXPECT_EQ(one.core->term(), Term(2));
  }
  // Who is behind cannot win, and stops nobody.
  LoneCore one(3, 2, {2});
  one.now += 700ms;
  one.core->Tick(one.now);
  one.Step(LoneCore::PreVote(3, 3, 1, 1));
  EXPECT_EQ(one.core->role(), RoleName::kPreCandidate);
}

TEST(ElectionTest, ACandidateIncrementsItsTermOnlyAfterAMajorityWouldVoteForIt) {
  LoneCore candidate(3, 2, {2});
  candidate.now += 700ms;
  candidate.core->Tick(candidate.now);
  EXPECT_EQ(candidate.core->term(), Term(2));
  Message answer = LoneCore::From(3, MessageType::kPreVoteAnswer, 2);
  answer.campaign_term = Term(3);
  candidate.Step(answer);
  EXPECT_EQ(candidate.core->role(), RoleName::kCandidate);
  EXPECT_EQ(candidate.core->hard_state(), (HardState{Term(3), ReplicaId(1)}));
}

TEST(ElectionTest, APreVoteOfAnotherCampaignDoesNotCount) {
  LoneCore candidate(3, 4, {2});
  candidate.now += 700ms;
  candidate.core->Tick(candidate.now);
  Message old = LoneCore::From(3, MessageType::kPreVoteAnswer, 2);
  old.campaign_term = Term(4);
  candidate.Step(old);
  EXPECT_EQ(candidate.core->role(), RoleName::kPreCandidate);
}

TEST(ElectionTest, ARefusedPreVoteBearsTheTermThatTheCandidateMissed) {
  LoneCore voter(3, 9, {2});
  voter.now += 400ms;
  voter.Step(LoneCore::PreVote(2, 2, 2, 2));
  std::vector<Message> sent = voter.Synced();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(sent[0].reject);
  LoneCore candidate(3, 2, {2});
  candidate.now += 700ms;
  candidate.core->Tick(candidate.now);
  sent[0].from = ReplicaId(2);
  candidate.Step(sent[0]);
  EXPECT_EQ(candidate.core->term(), Term(9));
  EXPECT_EQ(candidate.core->role(), RoleName::kFollower);
}

TEST(ElectionTest, EachServerWillVoteForAtMostOneCandidateInAGivenTermOnAFirstComeFirstServedBasis) {
  LoneCore voter(3, 2, {2});
  voter.Step(LoneCore::Vote(2, 3, 2, 2));
  voter.Step(LoneCore::Vote(3, 3, 9, 2));
  voter.Step(LoneCore::Vote(2, 3, 2, 2));
  std::vector<Message> sent = voter.Synced();
  ASSERT_EQ(sent.size(), 3u);
  EXPECT_FALSE(sent[0].reject);
  EXPECT_TRUE(sent[1].reject);
  EXPECT_FALSE(sent[2].reject) << "asked again by the same, the answer is the same";
}

TEST(ElectionTest, TheVoterDeniesItsVoteIfItsOwnLogIsMoreUpToDateThanThatOfTheCandidate) {
  struct Case {
    uint64_t last, last_term;
    bool granted;
  };
  // The voter's log: 1 2 2 4, that is last index 4 of term 4.
  for (Case c : {Case{4, 4, true}, {5, 4, true}, {3, 4, false}, {2, 5, true}, {9, 3, false}, {4, 3, false}}) {
    LoneCore voter(3, 5, {2, 2, 4});
    voter.Step(LoneCore::Vote(2, 6, c.last, c.last_term));
    std::vector<Message> sent = voter.Synced();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(!sent[0].reject, c.granted) << c.last << "/" << c.last_term;
    LoneCore pre_voter(3, 5, {2, 2, 4});
    pre_voter.now += 400ms;
    pre_voter.Step(LoneCore::PreVote(2, 6, c.last, c.last_term));
    sent = pre_voter.Synced();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(!sent[0].reject, c.granted) << c.last << "/" << c.last_term;
  }
}

TEST(ElectionTest, ACandidateWinsIfItReceivesVotesFromAMajorityOfTheServersInTheFullCluster) {
  struct Case {
    uint64_t voters;
    std::vector<uint64_t> granted;
    bool leads;
  };
  for (const Case& c : {Case{3, {}, false},
                        {3, {2}, true},
                        {5, {2}, false},
                        {5, {2, 2, 2}, false},
                        {5, {2, 5}, true},
                        {3, {7}, false}}) {
    LoneCore candidate(c.voters, 2, {2});
    candidate.Step(LoneCore::From(2, MessageType::kTimeoutNow, 2));
    candidate.Synced();
    for (uint64_t id : c.granted) candidate.Step(LoneCore::From(id, MessageType::kVoteAnswer, 3));
    EXPECT_EQ(candidate.core->IsLeader(), c.leads) << c.voters << " voters, " << c.granted.size() << " votes";
  }
}

TEST(ElectionTest, ACandidateThatHearsOfALeaderOfItsTermReturnsToFollowerState) {
  LoneCore candidate(3, 2, {2});
  candidate.Step(LoneCore::From(2, MessageType::kTimeoutNow, 2));
  candidate.Synced();
  candidate.Step(LoneCore::From(3, MessageType::kHeartbeat, 3));
  EXPECT_EQ(candidate.core->role(), RoleName::kFollower);
  EXPECT_EQ(candidate.core->leader(), ReplicaId(3));
}

TEST(ElectionTest, ALeaderThatIsElectedSendsHeartbeatsAtOnce) {
  LoneCore leader(3, 2, {2});
  leader.Lead();
  std::vector<Message> sent = leader.Synced();
  EXPECT_NE(Find(sent, MessageType::kHeartbeat, 2), nullptr);
  EXPECT_NE(Find(sent, MessageType::kHeartbeat, 3), nullptr);
}

TEST(ElectionTest, IfAServerReceivesAVoteRequestWithinTheMinimumElectionTimeoutOfHearingALeaderItDoesNotUpdateItsTerm) {
  LoneCore voter(3, 2, {2});
  voter.Step(LoneCore::From(2, MessageType::kHeartbeat, 2));
  voter.Synced();
  voter.now += 299ms;
  voter.Step(LoneCore::Vote(3, 7, 9, 6));
  EXPECT_TRUE(voter.Synced().empty());
  EXPECT_EQ(voter.core->term(), Term(2));
  voter.Step(LoneCore::PreVote(3, 7, 9, 6));
  std::vector<Message> sent = voter.Synced();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(sent[0].reject);
  voter.now += 1ms;
  voter.Step(LoneCore::Vote(3, 7, 9, 6));
  sent = voter.Synced();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_FALSE(sent[0].reject);
}

TEST(ElectionTest, StickinessOutlivesATermThatIsLearntOtherwise) {
  // The leader of term 2 counts on this promise for its lease, whatever this follower hears meanwhile.
  LoneCore voter(3, 2, {2});
  voter.Step(LoneCore::From(2, MessageType::kHeartbeat, 2));
  Message refused = LoneCore::From(3, MessageType::kPreVoteAnswer, 5);
  refused.reject = true;
  voter.Step(refused);
  ASSERT_EQ(voter.core->term(), Term(5));
  voter.now += 100ms;
  voter.Synced();
  voter.Step(LoneCore::Vote(3, 6, 9, 5));
  EXPECT_TRUE(voter.Synced().empty());
}

TEST(ElectionTest, AVoteRequestOfALeadershipTransferIsNotDisregarded) {
  LoneCore voter(3, 2, {2});
  voter.Step(LoneCore::From(2, MessageType::kHeartbeat, 2));
  voter.Synced();
  Message vote = LoneCore::Vote(3, 3, 2, 2);
  vote.transfer = true;
  voter.Step(vote);
  std::vector<Message> sent = voter.Synced();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_FALSE(sent[0].reject);
}

TEST(ElectionTest, AVoterAnswersCandidatesThatAreNotInItsOwnConfiguration) {
  LoneCore voter(3, 2, {2});
  voter.Step(LoneCore::Vote(9, 3, 2, 2));
  std::vector<Message> sent = voter.Synced();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].to, ReplicaId(9));
  EXPECT_FALSE(sent[0].reject);
}

TEST(ElectionTest, ALeaderStepsDownIfAnElectionTimeoutElapsesWithoutARoundOfHeartbeatsToAMajority) {
  Group group(3);
  group.Elect(1);
  group.Isolate(1);
  group.Run(550ms);
  EXPECT_TRUE(group[1].IsLeader());
  group.Run(150ms);
  EXPECT_FALSE(group[1].IsLeader());
}

TEST(ElectionTest, ALeaderThatHearsAMajorityStays) {
  Group group(5);
  group.Elect(1);
  group.Cut(1, 2);
  group.Cut(1, 3);
  group.Run(3s);
  EXPECT_TRUE(group[1].IsLeader());
  EXPECT_EQ(group[1].term(), Term(2));
}

// Whoever needs another leader, and does not know which, gets to each of them.
TEST(ElectionTest, TransfersWithoutATargetAmongEqualsReachEveryVoter) {
  for (const uint64_t voters : {3, 5}) {
    Group group(voters);
    group.Elect(1);
    uint64_t leader = 1;
    std::set<uint64_t> led;
    for (uint64_t n = 0; n < voters; ++n) {
      group.Run(100ms);
      ASSERT_EQ(group[leader].TransferLeadership(ReplicaId(), group.now()), Refusal::kNone);
      group.Collect(leader);
      group.Run(100ms);
      for (uint64_t id = 1; id <= voters; ++id) {
        if (group[id].IsLeader()) leader = id;
      }
      led.insert(leader);
    }
    EXPECT_EQ(led.size(), voters);
  }
}

TEST(ElectionTest, ALeaderKnowsWhoHasAnsweredItInItsTerm) {
  LoneCore leader(3, 2, {1});
  leader.Lead();
  ASSERT_TRUE(leader.core->IsLeader());
  const uint64_t term = leader.core->term().value();
  for (const PeerStatus& peer : leader.core->peers()) EXPECT_FALSE(peer.heard) << "a vote is of the time before";
  Message answer = LoneCore::From(2, MessageType::kHeartbeatAnswer, term - 1);
  leader.Step(answer);
  EXPECT_FALSE(leader.core->peers()[0].heard);
  answer.term = Term(term);
  leader.Step(answer);
  EXPECT_TRUE(leader.core->peers()[0].heard);
  EXPECT_FALSE(leader.core->peers()[1].heard);
}

TEST(ElectionTest, AServerThatComesBackFromAPartitionDoesNotDisturbTheLeader) {
  Group group(3);
  group.Elect(1);
  group.Isolate(3);
  group.Run(5s);
  group.Heal();
  group.Run(2s);
  EXPECT_TRUE(group[1].IsLeader());
  EXPECT_EQ(group[1].term(), Term(2));
  EXPECT_EQ(group[3].leader(), ReplicaId(1));
}

TEST(ElectionTest, T52_AProcessThatStartsAmongSeveralVotersAnswersNeitherVoteNorPreVoteForAWhile) {
  Group group(3);
  group.Elect(1);
  group.Run(100ms);
  ASSERT_TRUE(group[1].LeaseUntil().has_value());
  // 2 acknowledged the lease, restarts, and 3 asks it for its vote.
  group.Crash(2);
  group.Restart(2);
  Message vote = LoneCore::Vote(3, 3, 99, 2);
  vote.to = ReplicaId(2);
  group.Isolate(1);
  while (group.now() < *group[1].LeaseUntil()) {
    group.Deliver(vote);
    EXPECT_TRUE(group.network().empty());
    EXPECT_EQ(group[2].hard_state().vote, ReplicaId(1));
    group.Pass(10ms);
  }
  group.Pass(100ms);
  group.Deliver(vote);
  EXPECT_EQ(group[2].hard_state().vote, ReplicaId(3));
}

TEST(ElectionTest, AGroupOfOneLeadsAtOnce) {
  Group group(1);
  EXPECT_TRUE(group[1].IsLeader());
  EXPECT_TRUE(group[1].ReadyToServe());
  EXPECT_TRUE(group.Propose(1, "a").ok());
  EXPECT_EQ(group.AppliedData(1), "a");
}

TEST(ElectionTest, AReplicaThatMayNotVoteNeitherAnswersNorCampaigns) {
  LoneCore core(3, 2, {2});
  core.core->AllowVoting(false);
  core.Step(LoneCore::Vote(2, 3, 9, 2));
  core.Step(LoneCore::PreVote(2, 3, 9, 2));
  EXPECT_TRUE(core.Synced().empty());
  EXPECT_EQ(core.core->NextTick(), MonotonicTime::max());
  core.now += 10s;
  core.core->Tick(core.now);
  EXPECT_EQ(core.core->role(), RoleName::kFollower);
}

TEST(ElectionTest, AVoteIsAnsweredOnlyAfterItIsSynced) {
  LoneCore voter(3, 2, {2});
  voter.Step(LoneCore::Vote(2, 3, 2, 2));
  EXPECT_TRUE(voter.Unsynced().empty());
  ASSERT_EQ(voter.held.size(), 1u);
  EXPECT_EQ(voter.held[0].type, MessageType::kVoteAnswer);
}

TEST(ElectionTest, ACandidateAsksForVotesOnlyAfterItsOwnIsSynced) {
  LoneCore candidate(3, 2, {2});
  candidate.Step(LoneCore::From(2, MessageType::kTimeoutNow, 2));
  EXPECT_EQ(Find(candidate.Unsynced(), MessageType::kVote), nullptr);
  EXPECT_NE(Find(candidate.Synced(), MessageType::kVote), nullptr);
}

}  // namespace
}  // namespace terrane::raft
