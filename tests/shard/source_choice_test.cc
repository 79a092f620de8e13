#include "shard/source_choice.h"

#include <gtest/gtest.h>

namespace terrane::shard {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(SourceChoiceTest, BulkComesFromAFollowerAndSticksToIt) {
  SourceChoice choice;
  EXPECT_TRUE(choice.ForBulk(seconds(1)).endpoint.empty());
  choice.SetEndpoints({"leader", "f1", "f2"});
  const auto first = choice.ForBulk(seconds(1));
  EXPECT_NE(first.endpoint, "leader");
  EXPECT_TRUE(first.not_leader);
  choice.Worked(first.endpoint, seconds(1));
  EXPECT_EQ(choice.ForBulk(seconds(2)).endpoint, first.endpoint);
  choice.SetEndpoints({"leader", "f1", "f2"});
  EXPECT_EQ(choice.ForBulk(seconds(2)).endpoint, first.endpoint);
}

TEST(SourceChoiceTest, TheLeaderIsAskedOnlyWhenNoFollowerAnswersAndNotForLong) {
  SourceChoice choice;
  choice.SetEndpoints({"leader", "f1", "f2"});
  const std::string first = choice.ForBulk(seconds(1)).endpoint;
  choice.Failed(first, seconds(1));
  const std::string second = choice.ForBulk(seconds(1)).endpoint;
  EXPECT_NE(second, first);
  EXPECT_NE(second, "leader");
  choice.Failed(second, seconds(1));
  EXPECT_EQ(choice.ForBulk(seconds(1)).endpoint, "leader");
  EXPECT_FALSE(choice.ForBulk(seconds(1)).not_leader);
  // A follower may be back.
  EXPECT_NE(choice.ForBulk(seconds(3)).endpoint, "leader");
  // Everybody has failed: somebody is asked all the same.
  for (const char* endpoint : {"leader", "f1", "f2"}) choice.Failed(endpoint, seconds(3));
  EXPECT_FALSE(choice.ForBulk(seconds(3)).endpoint.empty());
}

// After a failover of the source the follower that was read from may lead.
TEST(SourceChoiceTest, WhoLeadsNowIsNoFollowerAnyMore) {
  SourceChoice choice;
  choice.SetEndpoints({"a", "b", "c"});
  const std::string follower = choice.ForBulk(seconds(1)).endpoint;
  choice.SetEndpoints({follower, "a", follower == "b" ? "c" : "b"});
  EXPECT_NE(choice.ForBulk(seconds(1)).endpoint, follower);
}

TEST(SourceChoiceTest, T33_ADamagedReplicaIsNotTheWholeShard) {
  SourceChoice choice;
  choice.SetEndpoints({"leader", "f1", "f2"});
  const std::string first = choice.ForBulk(seconds(1)).endpoint;
  choice.Damaged(first, seconds(1));
  EXPECT_TRUE(choice.HasOthers(first));
  EXPECT_NE(choice.ForBulk(seconds(30)).endpoint, first);
  for (const char* endpoint : {"leader", "f1", "f2"}) choice.Damaged(endpoint, seconds(1));
  EXPECT_FALSE(choice.HasOthers("f1"));
}

// Who has not answered for long may be sound: the move waits for it.
TEST(SourceChoiceTest, T33_AnOutageIsNoDamage) {
  SourceChoice choice;
  choice.SetEndpoints({"a", "b"});
  for (int n = 0; n < 5; ++n) {
    for (const char* endpoint : {"a", "b"}) choice.Failed(endpoint, seconds(1));
  }
  choice.Worked("b", seconds(10));
  choice.Damaged("b", seconds(10));
  EXPECT_TRUE(choice.HasOthers("b"));
  choice.Damaged("a", seconds(11));
  choice.Failed("a", seconds(12));
  EXPECT_FALSE(choice.HasOthers("b")) << "an outage does not mend it";
}

// A read of the oplog that was under way says nothing about what lies on the disk.
TEST(SourceChoiceTest, T33_DamageIsNotForgivenForAnAnswer) {
  SourceChoice choice;
  choice.SetEndpoints({"leader", "f1", "f2"});
  const std::string first = choice.ForBulk(seconds(1)).endpoint;
  choice.Damaged(first, seconds(1));
  choice.Worked(first, seconds(2));
  EXPECT_NE(choice.ForBulk(seconds(30)).endpoint, first);
  choice.Failed("leader", seconds(30));
  choice.Worked("leader", seconds(30));
  choice.Worked(first, seconds(61));
  choice.Failed(first == "f1" ? "f2" : "f1", seconds(62));
  EXPECT_EQ(choice.ForBulk(seconds(62)).endpoint, first);
  choice.Failed(first, seconds(62));
  EXPECT_EQ(choice.ForBulk(seconds(63)).endpoint, first) << "begins with the least penalty again";
}

TEST(SourceChoiceTest, TheFenceIsReadFromTheLeaderThenFromTheOthersInTurn) {
  SourceChoice choice;
  choice.SetEndpoints({"leader", "f1"});
  EXPECT_EQ(choice.ForFence().endpoint, "leader");
  EXPECT_FALSE(choice.ForFence().not_leader);
  choice.FenceFailed();
  EXPECT_EQ(choice.ForFence().endpoint, "f1");
  choice.SetEndpoints({"f1", "leader"});
  EXPECT_EQ(choice.ForFence().endpoint, "f1");
}

}  // namespace
}  // namespace terrane::shard
