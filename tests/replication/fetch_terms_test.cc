// A checkpoint that is fetched while leaders change: it is right under any later one, and is not fetched again.
#include <gtest/gtest.h>

#include <atomic>

#include "support/replica_group.h"

namespace terrane::replication {
namespace {

using testing::Await;
using testing::ReplicaGroup;

// Number 3 was away until the others had cut what it lacks; its fetch waits after the first chunk.
class FetchTermsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(group_.StartAll().ok());
    ASSERT_TRUE(group_.ProposeSomewhere("first"));
    ASSERT_TRUE(group_.AwaitEqual(1));
    group_.Stop(3);
    const Position behind = group_[3].machine.Applied();
    ASSERT_TRUE(Await([&] {
      group_.ProposeSomewhere(std::string(4000, 'x'));
      ++proposed_;
      return group_[1].log->Statistics().segments >= 2 && group_[2].log->Statistics().segments >= 2;
    }));
    first_ = group_.Leader();
    second_ = 3 - first_;
    for (uint64_t id : {1, 2}) {
      if (!both_are_cut_ && id == second_) continue;
      ASSERT_TRUE(Await([&] {
        group_[id].log->CutLog([](const absl::Status&) {});
        return group_[id].log->Statistics().first.value() > behind.value() + 1;
      }));
    }
    group_.network().SetChunkHook([this](ReplicaId, ReplicaId, v1::CheckpointChunk* chunk) {
      if (chunk->has_checkpoint()) ++fetches_;
      if (chunk->has_end()) all_came_ = true;
      Await([this] { return !hold_; }, std::chrono::seconds(60));
      return absl::OkStatus();
    });
    ASSERT_EQ(group_.Leader(), first_);
    ASSERT_TRUE(group_.Start(3).ok());
    ASSERT_TRUE(Await([&] { return fetches_ == 1; }));
  }
  void TearDown() override {
    group_.network().SetBatchHook(nullptr);
    group_.network().SetChunkHook(nullptr);
  }
  // The other of the two leads from now on.
  void Transfer() {
    ASSERT_TRUE(Await([&] {
      if (group_.Leader() == second_) return true;
      (void)group_[first_].log->TransferLeadership(ReplicaId(second_));
      return false;
    }));
  }
  void ExpectOneFetch() {
    EXPECT_TRUE(group_.AwaitEqual(proposed_));
    EXPECT_EQ(fetches_, 1);
    EXPECT_EQ(group_[3].machine.installs(), 1);
    ASSERT_TRUE(group_.ProposeSomewhere("y"));
    EXPECT_TRUE(group_.AwaitEqual(proposed_ + 1));
  }

  bool both_are_cut_ = true;
  std::atomic<bool> hold_{true};
  std::atomic<int> fetches_{0};
  std::atomic<bool> all_came_{false};
  std::atomic<bool> silent_{false};
  size_t proposed_ = 1;
  uint64_t first_ = 0;  // leads when the fetch begins
  uint64_t second_ = 0;
  ReplicaGroup group_{3};
};

TEST_F(FetchTermsTest, ACheckpointIsInstalledAlsoIfTheTermChangesWhileItComes) {
  ASSERT_NO_FATAL_FAILURE(Transfer());
  ASSERT_TRUE(Await([&] { return group_[3].log->Leader().leader == ReplicaId(second_); }));
  hold_ = false;
  ExpectOneFetch();
}

// The one that leads now is not known when the last byte comes.
TEST_F(FetchTermsTest, ACheckpointThatComesWhileNobodyLeadsIsKept) {
  // All that only a leader sends to 3 is lost from then on, but not the votes.
  group_.network().SetBatchHook([this](const PeerBatch& batch, bool) {
    if (!silent_ || batch.to != ReplicaId(3)) return true;
    return std::none_of(batch.messages.begin(), batch.messages.end(),
                        [](const raft::Message& message) { return message.IsOfLeader(); });
  });
  const Term before = group_[3].log->Leader().term;
  silent_ = true;
  ASSERT_NO_FATAL_FAILURE(Transfer());
  ASSERT_TRUE(Await([&] {
    const LeaderState state = group_[3].log->Leader();
    return state.term > before && !state.leader;
  }));
  hold_ = false;
  EXPECT_FALSE(Await([&] { return group_[3].machine.installs() > 0; }, std::chrono::milliseconds(200)));
  silent_ = false;
  ExpectOneFetch();
}

class OneLogIsWholeTest : public FetchTermsTest {
 protected:
  OneLogIsWholeTest() { both_are_cut_ = false; }
};

// Who leads now has the entries that number 3 lacks: what it fetches is of no use when it comes, and as large as a
// store.
TEST_F(OneLogIsWholeTest, WhatWasFetchedForNothingIsRemoved) {
  ASSERT_NO_FATAL_FAILURE(Transfer());
  ASSERT_TRUE(group_.AwaitEqual(proposed_));
  hold_ = false;
  EXPECT_TRUE(Await([&] {
    const auto names = group_[3].disk.List("/replica/checkpoints/incoming");
    return all_came_ && (!names.ok() || names->empty());
  }));
  EXPECT_EQ(fetches_, 1);
  EXPECT_EQ(group_[3].machine.installs(), 0);
  ASSERT_TRUE(group_.ProposeSomewhere("y"));
  EXPECT_TRUE(group_.AwaitEqual(proposed_ + 1));
}

}  // namespace
}  // namespace terrane::replication
