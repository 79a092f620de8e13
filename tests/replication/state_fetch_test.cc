// A state machine that cannot apply an entry that others have applied takes their state; its log stays what it is.
#include <gtest/gtest.h>

#include "support/replica_group.h"

namespace terrane::replication {
namespace {

using testing::Await;
using testing::ReplicaGroup;

uint64_t AFollowerOf(uint64_t leader) {
  return leader == 1 ? 2 : 1;
}

TEST(StateFetchTest, T60_AnEntryThatCannotBeAppliedHereIsTakenFromAPeerWithItsState) {
  ReplicaGroup group(3);
  ASSERT_TRUE(group.StartAll().ok());
  const uint64_t leader = group.Leader();
  const uint64_t follower = AFollowerOf(leader);
  group[follower].machine.Lack("lost");
  const std::vector<std::string> data = {"a", "b", "lost", "c", "d"};
  for (const std::string& entry : data) ASSERT_EQ(group.Propose(leader, entry).outcome, ProposeOutcome::kApplied);
  EXPECT_TRUE(group.AwaitEqual(data.size()));
  EXPECT_EQ(group[follower].machine.Data(), data);
  EXPECT_EQ(group[follower].machine.installs(), 1);
  EXPECT_EQ(group[leader].machine.installs(), 0);
  // It goes on as before: by entries, and as a voter (the third is not needed).
  const uint64_t third = 6 - leader - follower;
  group.Stop(third);
  for (const std::string entry : {"e", "f"}) {
    ASSERT_EQ(group.Propose(leader, entry).outcome, ProposeOutcome::kApplied);
  }
  EXPECT_TRUE(group.AwaitEqual(data.size() + 2));
  EXPECT_EQ(group[follower].machine.installs(), 1);
  EXPECT_TRUE(group[follower].Fatal().ok());
}

// The leader itself cannot apply it: it hands on, answers every proposal once, and comes back as a follower.
TEST(StateFetchTest, ALeaderThatLacksAnEntryHandsOn) {
  ReplicaGroup group(3);
  ASSERT_TRUE(group.StartAll().ok());
  const uint64_t leader = group.Leader();
  ASSERT_EQ(group.Propose(leader, "a").outcome, ProposeOutcome::kApplied);
  group[leader].machine.Lack("lost");
  // Others have applied it, so the entry is there, and this replica's answer is that it cannot tell.
  EXPECT_EQ(group.Propose(leader, "lost").outcome, ProposeOutcome::kUnknown);
  const uint64_t next = group.Leader(leader);
  ASSERT_NE(next, 0u);
  ASSERT_TRUE(group.ProposeSomewhere("b"));
  EXPECT_TRUE(group.AwaitEqual(3));
  EXPECT_EQ(group[leader].machine.Data(), (std::vector<std::string>{"a", "lost", "b"}));
  EXPECT_EQ(group[leader].machine.installs(), 1);
}

// A restart in the middle: the entry is met again.
TEST(StateFetchTest, ARestartBeforeTheStateCameAsksAgain) {
  ReplicaGroup group(3);
  ASSERT_TRUE(group.StartAll().ok());
  const uint64_t leader = group.Leader();
  const uint64_t follower = AFollowerOf(leader);
  group[follower].machine.Lack("lost");
  group.Stop(follower);
  for (const std::string entry : {"a", "lost", "b"}) {
    ASSERT_EQ(group.Propose(leader, entry).outcome, ProposeOutcome::kApplied);
  }
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(group.Start(follower).ok());
    group.Stop(follower);
  }
  ASSERT_TRUE(group.Start(follower).ok());
  EXPECT_TRUE(group.AwaitEqual(3));
  EXPECT_GE(group[follower].machine.installs(), 1);
  EXPECT_TRUE(group[follower].Fatal().ok());
}

// The log behind it was cut meanwhile: the leader's own checkpoint does for state and log.
TEST(StateFetchTest, ALogThatWasCutMeanwhileIsNoObstacle) {
  ReplicaGroup group(3, [](ReplicatedLog::Options* options) { options->keep_bytes = 0; });
  ASSERT_TRUE(group.StartAll().ok());
  const uint64_t leader = group.Leader();
  const uint64_t follower = AFollowerOf(leader);
  group[follower].machine.Lack("lost");
  group.Stop(follower);
  for (const std::string entry : {"a", "lost", "b"}) {
    ASSERT_EQ(group.Propose(leader, entry).outcome, ProposeOutcome::kApplied);
  }
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(group.Propose(leader, std::string(10000, 'x')).outcome, ProposeOutcome::kApplied);
  }
  ASSERT_TRUE(group.Start(follower).ok());
  EXPECT_TRUE(group.AwaitEqual(53));
  EXPECT_TRUE(group[follower].Fatal().ok());
}

// Nobody to ask: an error by name, not a wait for ever.
TEST(StateFetchTest, AloneItIsFatal) {
  ReplicaGroup group(1);
  ASSERT_TRUE(group.StartAll().ok());
  ASSERT_EQ(group.Leader(), 1u);
  group[1].machine.Lack("lost");
  EXPECT_EQ(group.Propose(1, "lost").outcome, ProposeOutcome::kUnknown);
  EXPECT_TRUE(Await([&] { return !group[1].Fatal().ok(); }));
}

// A process that is stopping ends its Apply with kCancelled: no failure.
TEST(StateFetchTest, CancelledMeansStopping) {
  ReplicaGroup group(3);
  ASSERT_TRUE(group.StartAll().ok());
  const uint64_t leader = group.Leader();
  const uint64_t follower = AFollowerOf(leader);
  group[follower].machine.FailApply(absl::CancelledError("stopping"));
  ASSERT_EQ(group.Propose(leader, "a").outcome, ProposeOutcome::kApplied);
  EXPECT_TRUE(Await([&] { return group[follower].log->Committed() >= group[leader].log->Applied(); }));
  group.Stop(follower);
  EXPECT_TRUE(group[follower].Fatal().ok());
  EXPECT_TRUE(group[follower].machine.Data().empty());
}

// The leader has enough to do.
TEST(StateFetchTest, ACheckpointComesFromAFollowerWhileThereIsOne) {
  ReplicaGroup group(3, [](ReplicatedLog::Options* options) { options->keep_bytes = 128 << 10; });
  ASSERT_TRUE(group.StartAll().ok());
  ASSERT_TRUE(group.ProposeSomewhere("first"));
  const uint64_t leader = group.Leader();
  const uint64_t away = AFollowerOf(leader);
  const uint64_t other = 6 - leader - away;
  group.Stop(away);
  size_t count = 1;
  ASSERT_TRUE(Await([&] {
    group.ProposeSomewhere(std::string(20'000, 'x'));
    ++count;
    return group[leader].log->Statistics().first > Position(100);
  }));
  ASSERT_TRUE(group.AwaitEqual(count));
  // The stream breaks once in its middle, and goes on where it was.
  std::mutex mutex;
  std::map<uint64_t, uint64_t> sent;
  std::map<uint64_t, uint64_t> headers;  // bytes of the checkpoint that was announced
  int chunks = 0;
  group.network().SetChunkHook([&](ReplicaId from, ReplicaId, v1::CheckpointChunk* chunk) -> absl::Status {
    std::lock_guard lock(mutex);
    if (++chunks == 6) return absl::UnavailableError("broken");
    sent[from.value()] += chunk->data().size();
    if (chunk->has_checkpoint()) headers[from.value()] = chunk->checkpoint().bytes();
    return absl::OkStatus();
  });
  ASSERT_TRUE(group.Start(away).ok());
  EXPECT_TRUE(group.AwaitEqual(count));
  EXPECT_EQ(group[away].machine.installs(), 1);
  group.network().SetChunkHook(nullptr);
  std::lock_guard lock(mutex);
  EXPECT_EQ(sent[leader], 0u);
  EXPECT_GT(sent[other], 1'000'000u);
  EXPECT_EQ(sent[other], headers[other]) << "nothing two times";
  EXPECT_GT(chunks, 6);
}

}  // namespace
}  // namespace terrane::replication
