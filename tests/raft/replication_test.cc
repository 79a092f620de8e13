// Replication and commit: one test for each sentence of the Raft paper (5.3, 5.4.2), and the traps that stand on them.
#include <gtest/gtest.h>

#include <map>

#include "raft/lone_core.h"

namespace terrane::raft {
namespace {

Message AppendAnswer(uint64_t from, uint64_t term, uint64_t match) {
  Message message = LoneCore::From(from, MessageType::kAppendAnswer, term);
  message.index = Position(match);
  return message;
}

// The only AppendAnswer among the messages.
Message AnswerIn(const std::vector<Message>& messages) {
  for (const Message& message : messages) {
    if (message.type == MessageType::kAppendAnswer) return message;
  }
  ADD_FAILURE() << "no AppendAnswer";
  return Message();
}

std::vector<Message> AppendsTo(uint64_t id, const std::vector<Message>& messages) {
  std::vector<Message> out;
  for (const Message& message : messages) {
    if (message.type == MessageType::kAppend && message.to == ReplicaId(id)) out.push_back(message);
  }
  return out;
}

TEST(ReplicationTest, ALeaderAppendsANoOpAtTheStartOfItsTerm) {
  Group group(3);
  group.Elect(1);
  EXPECT_EQ(group.Terms(1), "1 2");
  EXPECT_EQ(group[1].log().At(Position(2)).type, EntryType::kNoOp);
  EXPECT_EQ(group[1].commit(), Position(2));
}

TEST(ReplicationTest, ALeaderAppliesAnEntryOnceItIsStoredOnAMajority) {
  Group group(3);
  group.Elect(1);
  group.Isolate(3);
  group.Propose(1, "a");
  EXPECT_EQ(group.AppliedData(1), "");
  group.Settle();
  EXPECT_EQ(group.AppliedData(1), "a");
  EXPECT_EQ(group.AppliedData(2), "a");
}

TEST(ReplicationTest, EntriesWithoutAMajorityAreNotCommitted) {
  Group group(5);
  group.Elect(1);
  for (uint64_t id : {3, 4, 5}) group.Cut(1, id);
  group.Propose(1, "a");
  group.Settle();
  EXPECT_EQ(group[1].commit(), Position(2));
}

TEST(ReplicationTest, TheFollowerRefusesTheNewEntriesIfItDoesNotFindThePrecedingOne) {
  struct Case {
    uint64_t prev, prev_term;
    bool accepted;
  };
  // The follower's log: 1 2 3.
  for (Case c : {Case{0, 0, true}, {1, 1, true}, {3, 3, true}, {3, 4, false}, {2, 1, false}, {4, 3, false}}) {
    LoneCore follower(3, 4, {2, 3});
    follower.Step(LoneCore::Append(2, 4, c.prev, c.prev_term, {}));
    EXPECT_EQ(!AnswerIn(follower.Synced()).reject, c.accepted) << c.prev << "/" << c.prev_term;
  }
}

TEST(ReplicationTest, IfAnExistingEntryConflictsWithANewOneItAndAllThatFollowAreDeleted) {
  struct Case {
    std::vector<uint64_t> before;
    uint64_t prev, prev_term;
    std::vector<uint64_t> entries;
    std::vector<uint64_t> after;
  };
  for (const Case& c :
       {Case{{2, 2}, 3, 2, {4}, {2, 2, 4}}, Case{{2, 2}, 2, 2, {3, 4}, {2, 3, 4}},
        Case{{2, 2, 2, 2}, 2, 2, {3}, {2, 3}}, Case{{2, 2}, 2, 2, {2}, {2, 2}}, Case{{2, 2, 2}, 1, 1, {4}, {4}}}) {
    LoneCore follower(3, 4, c.before);
    follower.Step(LoneCore::Append(2, 4, c.prev, c.prev_term, c.entries));
    EXPECT_FALSE(AnswerIn(follower.Synced()).reject);
    std::vector<uint64_t> terms;
    for (Position i(2); i <= follower.core->last_index(); i = i + 1) {
      terms.push_back(follower.core->log().TermAt(i)->value());
    }
    EXPECT_EQ(terms, c.after);
  }
}

TEST(ReplicationTest, AFollowerTruncatesOnlyAtAConflictNeverBecauseAMessageIsShort) {
  LoneCore follower(3, 4, {2, 3, 4, 4});
  follower.Step(LoneCore::Append(2, 4, 1, 1, {2}));
  follower.Step(LoneCore::Append(2, 4, 0, 0, {}));
  follower.Synced();
  EXPECT_EQ(follower.core->last_index(), Position(5));
  EXPECT_FALSE(follower.truncated_from.has_value());
}

TEST(ReplicationTest, ASuccessAnswerNeverExceedsPrevPlusTheNumberOfEntriesOfItsQuestion) {
  LoneCore follower(3, 4, {2, 3, 4, 4});
  follower.Step(LoneCore::Append(2, 4, 1, 1, {2}));
  EXPECT_EQ(AnswerIn(follower.Synced()).index, Position(2));
  follower.Step(LoneCore::Append(2, 4, 3, 3, {}));
  EXPECT_EQ(AnswerIn(follower.Synced()).index, Position(3));
}

TEST(ReplicationTest, ASuccessAnswerGoesOutOnlyAfterTheEntriesAreSynced) {
  LoneCore follower(3, 2, {2});
  follower.Step(LoneCore::Append(2, 2, 2, 2, {2, 2}));
  EXPECT_TRUE(follower.Unsynced().empty());
  // The same again, while the first is on its way to disk: nothing is new, and still nothing may be said.
  follower.Step(LoneCore::Append(2, 2, 2, 2, {2, 2}));
  EXPECT_TRUE(follower.Unsynced().empty());
  EXPECT_EQ(follower.held.size(), 2u);
  follower.core->Persisted(follower.sequence, follower.now);
  EXPECT_EQ(follower.core->synced(), Position(4));
}

TEST(ReplicationTest, ASyncOfEntriesThatWereTruncatedMeanwhileDoesNotCount) {
  LoneCore follower(3, 2, {2});
  follower.Step(LoneCore::Append(2, 2, 2, 2, {2, 2, 2}));
  follower.Unsynced();
  uint64_t first = follower.sequence;
  follower.Step(LoneCore::Append(3, 3, 3, 2, {3}));
  follower.Unsynced();
  ASSERT_GT(follower.sequence, first);
  follower.core->Persisted(first, follower.now);
  EXPECT_EQ(follower.core->synced(), Position(3)) << "4 and 5 of term 2 are gone; 4 of term 3 is not there yet";
  follower.core->Persisted(follower.sequence, follower.now);
  EXPECT_EQ(follower.core->synced(), Position(4));
}

TEST(ReplicationTest, T71_AFollowerTakesOverACommitIndexOnlyUpToPrevPlusTheNumberOfEntries) {
  // 4 and 5 of term 3 are a leftover tail of an old leader.
  LoneCore follower(3, 5, {2, 2, 3, 3});
  follower.Step(LoneCore::Append(2, 5, 3, 2, {}, 5));
  follower.Synced();
  EXPECT_EQ(follower.core->commit(), Position(3));
  Message heartbeat = LoneCore::From(2, MessageType::kHeartbeat, 5);
  heartbeat.index = Position(3);
  heartbeat.log_term = Term(2);
  heartbeat.commit = Position(5);
  follower.Step(heartbeat);
  EXPECT_EQ(follower.core->commit(), Position(3));
  heartbeat.index = Position(5);
  heartbeat.log_term = Term(5);
  follower.Step(heartbeat);
  EXPECT_EQ(follower.core->commit(), Position(3)) << "the end that the leader knows is not the own end";
}

TEST(ReplicationTest, AHeartbeatTellsHowFarTheGroupMayHaveCommittedWhateverItsReceiverLacks) {
  LoneCore leader(3, 2, {1, 1, 1}, 2);
  leader.Lead();
  const uint64_t term = leader.core->term().value();
  const auto told = [&] {
    leader.now += 50ms;
    leader.core->Tick(leader.now);
    Position position;
    for (const Message& message : leader.Synced()) {
      if (message.type != MessageType::kHeartbeat || message.to != ReplicaId(3)) continue;
      EXPECT_EQ(message.commit, Position(0)) << "nothing is known of its log";
      position = message.hint_index;
    }
    return position;
  };
  EXPECT_EQ(told(), Position(5)) << "an entry of an older term may be committed: what it is not told, nobody knows";
  Message answer = LoneCore::From(2, MessageType::kAppendAnswer, term);
  answer.index = Position(5);
  leader.Step(answer);
  EXPECT_EQ(told(), Position(5));
  leader.ApplyAll();
  ASSERT_TRUE(leader.core->Propose(Term(term), "a").ok());
  EXPECT_EQ(told(), Position(5));
  answer.index = Position(6);
  leader.Step(answer);
  EXPECT_EQ(told(), Position(6));
}

TEST(ReplicationTest, T03_AFollowerRemembersWhatALeaderSaidLast) {
  LoneCore follower(3, 2, {1});
  EXPECT_FALSE(follower.core->Word(follower.now).has_value());
  const auto hear = [&](uint64_t term, uint64_t committed, std::optional<MonotonicTime> echo) {
    Message message = LoneCore::From(2, MessageType::kHeartbeat, term);
    message.hint_index = Position(committed);
    if (echo) message.echo = static_cast<uint64_t>(echo->count());
    follower.now += 50ms;
    follower.Step(message);
    const std::vector<Message> sent = follower.Synced();
    if (term >= follower.core->term().value()) {
      EXPECT_EQ(sent.back().echo, static_cast<uint64_t>(follower.now.count()));
    }
    return follower.core->Word(follower.now);
  };
  const MonotonicTime first = follower.now;
  EXPECT_FALSE(hear(2, 9, std::nullopt).has_value()) << "who knows how old it is?";
  EXPECT_FALSE(hear(2, 9, first + 1s).has_value()) << "the machine was started anew since";
  EXPECT_EQ(hear(2, 9, first)->committed, Position(9)) << "far behind what it has";
  EXPECT_EQ(follower.core->Word(follower.now)->at, first);
  EXPECT_EQ(hear(2, 10, first + 50ms)->at, first + 50ms);
  EXPECT_EQ(hear(2, 8, first)->committed, Position(10)) << "an older one that was overtaken";
  EXPECT_EQ(follower.core->Word(follower.now)->at, first + 50ms);
  EXPECT_EQ(hear(3, 5, std::nullopt)->term, Term(2)) << "what was true stays true";
  EXPECT_EQ(hear(3, 5, first + 20ms)->committed, Position(5)) << "what the leader before had, nobody has committed";
  EXPECT_EQ(hear(2, 20, first + 50ms)->committed, Position(5)) << "an old leader";
}

// What a majority has answered proves that nobody else led when that round was sent; what the receiver had answered
// before is a time on its own clock before that.
TEST(ReplicationTest, T03_AHeartbeatEchoesTheReceiversClockOfBeforeTheLastRoundOfAMajority) {
  LoneCore leader(5, 2, {1});
  leader.Lead();
  leader.Synced();
  const uint64_t term = leader.core->term().value();
  EXPECT_FALSE(leader.core->Word(leader.now).has_value()) << "nobody has answered a round";
  std::map<uint64_t, MonotonicTime> sent;
  const auto echo = [&](uint64_t to) {
    leader.now += 50ms;
    leader.core->Tick(leader.now);
    uint64_t echoed = 99;
    for (const Message& message : leader.Synced()) {
      if (message.type != MessageType::kHeartbeat) continue;
      sent[message.context] = leader.now;
      if (message.to == ReplicaId(to)) echoed = message.echo;
    }
    return echoed;
  };
  const auto answer = [&](uint64_t from, uint64_t round, uint64_t clock) {
    Message message = LoneCore::From(from, MessageType::kHeartbeatAnswer, term);
    message.context = round;
    message.echo = clock;
    leader.Step(message);
  };
  EXPECT_EQ(echo(2), 0u);
  const uint64_t first = sent.rbegin()->first;
  answer(2, first, 1000);
  EXPECT_EQ(echo(2), 0u) << "two of five";
  answer(3, first, 77);
  EXPECT_EQ(echo(2), 0u) << "when that round was sent, it had answered none";
  EXPECT_EQ(leader.core->Word(leader.now)->at, sent[first]);
  answer(2, first + 1, 1050);
  answer(3, first + 1, 127);
  EXPECT_EQ(echo(2), 1000u) << "when round + 1 was sent, it had answered this one";
  EXPECT_EQ(leader.core->Word(leader.now)->at, sent[first + 1]);
  // Its machine is started anew, and its clock with it: what was before is no time on that clock.
  leader.core->PeerStarted(ReplicaId(2));
  EXPECT_EQ(echo(2), 0u);
  for (uint64_t clock = 5; clock < 8; ++clock) {
    const uint64_t round = sent.rbegin()->first;
    answer(2, round, clock);
    answer(3, round, 200);
    echo(2);
  }
  EXPECT_EQ(echo(2), 6u);
}

TEST(ReplicationTest, T46_AHeartbeatAnswerSaysNothingAboutTheLog) {
  LoneCore follower(3, 5, {2, 2, 3, 3});
  follower.Step(LoneCore::From(2, MessageType::kHeartbeat, 5));
  std::vector<Message> sent = follower.Synced();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].index, Position(0));
  // And a leader would not count it.
  LoneCore leader(3, 5, {2, 2, 3});
  leader.Lead();
  leader.Synced();
  Position before = leader.core->commit();
  Message answer = LoneCore::From(2, MessageType::kHeartbeatAnswer, leader.core->term().value());
  answer.index = leader.core->last_index();
  answer.context = 1;
  leader.Step(answer);
  leader.Synced();
  EXPECT_EQ(leader.core->commit(), before);
  EXPECT_EQ(leader.core->peers()[0].match, Position(0));
}

TEST(ReplicationTest, T45_Figure8_OnlyEntriesOfTheLeadersCurrentTermAreCommittedByCountingReplicas) {
  LoneCore leader(5, 3, {2, 2});
  leader.Lead();
  leader.Synced();
  uint64_t term = leader.core->term().value();
  ASSERT_EQ(leader.core->last_index(), Position(4));
  // The entries of term 2 are on four of five.
  for (uint64_t id : {2, 3, 4}) leader.Step(AppendAnswer(id, term, 3));
  leader.Synced();
  EXPECT_EQ(leader.core->commit(), Position(0));
  // The no-op of the own term is on three: it is committed, and all before it.
  for (uint64_t id : {2, 3}) leader.Step(AppendAnswer(id, term, 4));
  leader.Synced();
  EXPECT_EQ(leader.core->commit(), Position(4));
}

TEST(ReplicationTest, T45_Figure8_PlayedThrough) {
  Group group(3);
  group.Elect(1);
  group.Isolate(1);
  group.Propose(1, "x");  // 3/2, on 1 only
  group.DropAll();
  group.Isolate(2);
  group.Heal();
  group.Isolate(1);
  // 2 leads term 3 with the vote of 3, and its no-op stays on its own disk.
  group.Pass(700ms);
  group.Tick(2);
  group.DeliverOnly([](const Message& message) { return message.to == ReplicaId(3); });
  group.DeliverOnly([](const Message& message) { return message.to == ReplicaId(2); });
  group.DeliverOnly([](const Message& message) { return message.to == ReplicaId(3); });
  group.DeliverOnly([](const Message& message) { return message.to == ReplicaId(2); });
  ASSERT_TRUE(group[2].IsLeader()) << group.TakeTrace();
  group.DropAll();
  group.Heal();
  group.Isolate(2);
  // 1 leads term 4, and x reaches 3 without the no-op of term 4.
  group.Tick(1);
  group.Pass(700ms);
  group.Tick(1);
  auto no_append = [](const Message& message) { return message.type != MessageType::kAppend; };
  for (int i = 0; i < 6; ++i) group.DeliverOnly(no_append);
  group.Pass(700ms);  // the first campaign only told it that there was a term 3
  group.Tick(1);
  for (int i = 0; i < 6; ++i) group.DeliverOnly(no_append);
  ASSERT_TRUE(group[1].IsLeader()) << group.TakeTrace();
  group.DropAll();
  Message x = LoneCore::Append(1, group[1].term().value(), 2, 2, {2});
  x.to = ReplicaId(3);
  x.entries[0] = group[1].log().At(Position(3));
  group.Deliver(x);
  group.DeliverOnly([](const Message& message) { return message.to == ReplicaId(1); });
  group.DropAll();
  EXPECT_EQ(group[3].log().TermAt(Position(3)), Term(2));
  EXPECT_EQ(group[1].peers()[1].match, Position(3));
  EXPECT_EQ(group[1].commit(), Position(2)) << "x is on a majority and not committed";
  // 2 comes back, is more up to date than 3, and overwrites x.
  group.Heal();
  group.Isolate(1);
  group.Tick(2);
  group.Elect(2);
  EXPECT_EQ(group[3].log().TermAt(Position(3)), Term(3));
  group.Heal();
  group.Run(300ms);
  EXPECT_EQ(group.Terms(1), group.Terms(2));
}

TEST(ReplicationTest, ALeaderCountsItselfOnlyWhenItsOwnAppendIsSynced) {
  Group group(3);
  group.Elect(1);
  group.HoldDisk(1);
  group.Isolate(3);
  group.Propose(1, "a");
  EXPECT_FALSE(group.network().empty()) << "it sends while its own append is on its way to disk";
  group.Settle();
  EXPECT_EQ(group[1].commit(), Position(2)) << "one synced copy of three";
  group.ReleaseDisk(1);
  EXPECT_EQ(group[1].commit(), Position(3));
  group.Settle();
}

TEST(ReplicationTest, T75_NothingIsAppliedBeforeItIsSyncedInTheOwnLog) {
  Group group(3);
  group.Elect(1);
  group.HoldDisk(1);
  group.Propose(1, "a");
  group.Settle();
  EXPECT_EQ(group[1].commit(), Position(3)) << "two followers are a majority";
  EXPECT_EQ(group.AppliedData(1), "");
  EXPECT_EQ(group.AppliedData(2), "a");
  group.ReleaseDisk(1);
  EXPECT_EQ(group.AppliedData(1), "a");
}

TEST(ReplicationTest, ANewCommitIndexIsSentAtOnceWhenNothingElseFollows) {
  Group group(3);
  group.Elect(1);
  group.Propose(1, "fence");
  group.Settle();  // no time passes, so no heartbeat
  EXPECT_EQ(group.AppliedData(2), "fence");
  EXPECT_EQ(group.AppliedData(3), "fence");
}

TEST(ReplicationTest, ALeaderGoesBackByTermsNotByEntries) {
  Group group(3);
  group.Elect(1);
  group.Isolate(1);
  for (int i = 0; i < 100; ++i) group.Propose(1, "lost");
  group.DropAll();
  group.Elect(2);
  for (int i = 0; i < 3; ++i) group.Propose(2, "kept");
  group.Settle();
  group.Heal();
  group.TakeTrace();
  group.Run(100ms);
  EXPECT_EQ(group.Terms(1), group.Terms(2));
  std::string trace = group.TakeTrace();
  size_t refused = 0;
  for (size_t at = trace.find(" no "); at != std::string::npos; at = trace.find(" no ", at + 1)) ++refused;
  EXPECT_LE(refused, 4u) << trace;
}

TEST(ReplicationTest, AMatchIndexNeverGoesBack) {
  LoneCore leader(3, 2, {2, 2});
  leader.Lead();
  leader.Synced();
  uint64_t term = leader.core->term().value();
  leader.Step(AppendAnswer(2, term, 4));
  leader.Step(AppendAnswer(2, term, 2));
  EXPECT_EQ(leader.core->peers()[0].match, Position(4));
  Message rejected = AppendAnswer(2, term, 3);
  rejected.reject = true;
  leader.Step(rejected);
  EXPECT_EQ(leader.core->peers()[0].match, Position(4));
  EXPECT_EQ(leader.core->peers()[0].next, Position(5));
}

TEST(ReplicationTest, AnswersForMoreThanWasSentAreIgnored) {
  LoneCore leader(3, 2, {2});
  leader.Lead();
  leader.Synced();
  leader.Step(AppendAnswer(2, leader.core->term().value(), 99));
  leader.Step(AppendAnswer(9, leader.core->term().value(), 3));
  leader.Synced();
  EXPECT_EQ(leader.core->commit(), Position(0));
}

TEST(ReplicationTest, T48_AProposalOfAnOlderTermIsRefused) {
  Group group(3);
  group.Elect(1);
  Term taken = group[1].term();
  group.Elect(2);
  group.Elect(1);
  ASSERT_TRUE(group[1].ReadyToServe());
  ProposeResult result = group[1].Propose(taken, "computed long ago");
  EXPECT_EQ(result.refusal, Refusal::kOtherTerm);
  EXPECT_TRUE(group[1].Propose(group[1].term(), "computed now").ok());
}

TEST(ReplicationTest, T47_ANewLeaderServesNothingBeforeTheNoOpOfItsTermIsApplied) {
  Group group(3);
  group.HoldApply(1);
  group.Elect(1);
  EXPECT_FALSE(group[1].ReadyToServe());
  EXPECT_EQ(group.Propose(1, "a").refusal, Refusal::kNotReady);
  EXPECT_EQ(group[1].ReadIndex(1), Refusal::kNotReady);
  EXPECT_FALSE(group[1].LeaseUntil().has_value());
  EXPECT_EQ(group.Change(1, {1, 2}, {}).refusal, Refusal::kNotReady);
  group.ReleaseApply(1);
  EXPECT_TRUE(group[1].ReadyToServe());
  EXPECT_TRUE(group.Propose(1, "a").ok());
}

TEST(ReplicationTest, AFollowerNamesTheLeaderToAProposer) {
  Group group(3);
  group.Elect(1);
  ProposeResult result = group.Propose(2, "a");
  EXPECT_EQ(result.refusal, Refusal::kNotLeader);
  EXPECT_EQ(result.leader, ReplicaId(1));
}

TEST(ReplicationTest, ABatchOfProposalsIsConsecutiveAndGoesInOneMessage) {
  Group group(3);
  group.Elect(1);
  ProposeResult result = group[1].Propose(group[1].term(), std::vector<std::string>{"a", "b", "c"});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result.first, Position(3));
  group.Collect(1);
  EXPECT_EQ(group.network().size(), 2u);
  group.Settle();
  EXPECT_EQ(group.AppliedData(3), "a b c");
}

TEST(ReplicationTest, WhatIsOnItsWayToAFollowerIsBoundedInBytes) {
  Options options;
  options.id = ReplicaId(1);
  options.max_message_bytes = 1000;
  options.max_inflight_bytes = 5000;
  LoneCore leader(3, 2, {});
  RestoredState state = NewGroup(MakeConfiguration({1, 2, 3}));
  leader.core.emplace(options, state, leader.now);
  leader.now += 300ms;
  leader.Lead();
  leader.Synced();
  uint64_t term = leader.core->term().value();
  for (uint64_t id : {2, 3}) leader.Step(AppendAnswer(id, term, 2));
  leader.ApplyAll();
  ASSERT_TRUE(leader.core->ReadyToServe());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(leader.core->Propose(Term(term), std::string(400, 'x')).ok());
  std::vector<Message> sent = AppendsTo(2, leader.Synced());
  size_t bytes = 0;
  for (const Message& message : sent) {
    EXPECT_LE(message.entries.size(), 2u);
    for (const Entry& entry : message.entries) bytes += entry.data.size();
  }
  EXPECT_GT(bytes, 3000u);
  EXPECT_LT(bytes, 6000u);
  // An answer makes room for more.
  leader.Step(AppendAnswer(2, term, sent.front().entries.back().index.value()));
  EXPECT_EQ(AppendsTo(2, leader.Synced()).size(), 1u);
}

TEST(ReplicationTest, AnEntryThatIsGreaterThanAllBoundsStillGoes) {
  Group group(3);
  group.Elect(1);
  group.Propose(1, std::string(40 << 20, 'x'));
  group.Settle();
  EXPECT_EQ(group.AppliedData(2).size(), size_t{40} << 20);
}

TEST(ReplicationTest, LostAppendsAreFoundByHeartbeats) {
  Group group(3);
  group.Elect(1);
  for (const char* data : {"a", "b", "c"}) {
    group.Propose(1, data);
    group.DropAll();
  }
  group.Run(300ms);
  EXPECT_EQ(group.AppliedData(2), "a b c");
  EXPECT_EQ(group.AppliedData(3), "a b c");
}

TEST(ReplicationTest, MessagesMayComeTwiceAndInAnyOrder) {
  LoneCore follower(3, 2, {});
  follower.Step(LoneCore::Append(2, 2, 2, 2, {2, 2}, 4));
  follower.Step(LoneCore::Append(2, 2, 1, 1, {2}, 1));
  follower.Step(LoneCore::Append(2, 2, 2, 2, {2, 2}, 4));
  follower.Step(LoneCore::Append(2, 2, 1, 1, {2}, 1));
  follower.Synced();
  EXPECT_EQ(follower.core->last_index(), Position(4));
  EXPECT_EQ(follower.core->commit(), Position(4));
}

TEST(ReplicationTest, WhatNoLeaderWouldSendIsIgnored) {
  LoneCore follower(3, 2, {2});
  Message gap = LoneCore::Append(2, 2, 2, 2, {2, 2});
  gap.entries[1].index = Position(9);
  Message newer = LoneCore::Append(2, 2, 2, 2, {7});
  Message falling = LoneCore::Append(2, 3, 2, 2, {3, 2});
  Message unreadable = LoneCore::Append(2, 2, 2, 2, {2});
  unreadable.entries[0].type = EntryType::kConfiguration;
  Message not_for_us = LoneCore::Append(2, 2, 2, 2, {2});
  Message no_reference = LoneCore::From(2, MessageType::kInstallSnapshot, 2);
  for (const Message& message : {gap, newer, falling, unreadable, no_reference}) follower.Step(message);
  not_for_us.to = ReplicaId(3);
  follower.core->Step(not_for_us, follower.now);
  EXPECT_TRUE(follower.Synced().empty());
  EXPECT_EQ(follower.core->last_index(), Position(2));
  EXPECT_EQ(follower.core->term(), Term(2));
}

TEST(ReplicationTest, AStateOfAGroupSurvivesACrashOfAll) {
  Group group(3);
  group.Elect(1);
  group.Propose(1, "a");
  group.Settle();
  for (uint64_t id : {1, 2, 3}) group.Crash(id);
  for (uint64_t id : {1, 2, 3}) group.Restart(id);
  group.Pass(300ms);
  group.Elect(3);
  group.Settle();
  for (uint64_t id : {1, 2, 3}) EXPECT_EQ(group.AppliedData(id), "a");
}

TEST(ReplicationTest, T56_ALeaderWhoseDiskHangsStopsItsHeartbeatsAndHandsOn) {
  Group group(3);
  group.Elect(1);
  group.HoldDisk(1);
  group.Propose(1, "a");
  group.Settle();
  group[1].PersistStalled(true, group.now());
  group.Collect(1);
  EXPECT_EQ(group.Propose(1, "b").refusal, Refusal::kTransferring);
  group.Settle();
  EXPECT_EQ(group[1].commit() >= Position(3), true) << "it may commit by its followers meanwhile";
  EXPECT_TRUE(group[2].IsLeader() || group[3].IsLeader()) << group.TakeTrace();
}

TEST(ReplicationTest, T56_AStalledLeaderThatCannotHandOnIsSucceededBecauseItIsSilent) {
  Group group(3);
  group.Elect(1);
  group.HoldDisk(1);
  group[1].PersistStalled(true, group.now());
  group.Collect(1);
  group.DropAll();  // TimeoutNow is lost
  group.Run(1500ms);
  EXPECT_FALSE(group[1].IsLeader());
  EXPECT_TRUE(group[2].IsLeader() || group[3].IsLeader());
}

}  // namespace
}  // namespace terrane::raft
