// What a slow or paused replica may cost the others, and itself: bounds in bytes, and how it comes back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/replica_group.h"

namespace terrane::replication {
namespace {

using testing::Await;
using ::testing::HasSubstr;
using testing::ReplicaGroup;

constexpr uint64_t kMegabyte = 1 << 20;

// Proposals that wait for a majority are bounded; what exceeds it is refused, and may be sent again.
TEST(FlowTest, ProposalsWaitUpToABound) {
  ReplicaGroup group(3, [](ReplicatedLog::Options* options) {
    options->max_pending_bytes = kMegabyte;
    options->timeouts.slow_disk = std::chrono::minutes(10);
  });
  ASSERT_TRUE(group.StartAll().ok());
  const uint64_t leader = group.Leader();
  ASSERT_EQ(group.Propose(leader, "first").outcome, ProposeOutcome::kApplied);
  ASSERT_TRUE(group.AwaitEqual(1));
  // The others answer heartbeats and write nothing.
  std::mutex stall;
  std::unique_lock stalled(stall);
  for (ReplicaId id : group.ids()) {
    if (id.value() == leader) continue;
    group[id.value()].disk.SetSyncHook([&](const auto&) { std::lock_guard wait(stall); });
  }
  const Term term = group[leader].log->Leader().term;
  std::atomic<int> refused{0}, applied{0}, others{0};
  std::atomic<bool> named{true};
  for (int i = 0; i < 100; ++i) {
    group[leader].log->Propose(term, std::string(100'000, 'x'), [&](ProposeResult result) {
      if (result.outcome == ProposeOutcome::kApplied) {
        ++applied;
      } else if (result.outcome == ProposeOutcome::kNotInLog && absl::IsUnavailable(result.status)) {
        if (result.status.ToString().find("takes no more for now") == std::string::npos) named = false;
        ++refused;
      } else {
        ++others;
      }
    });
    EXPECT_LE(group[leader].log->Statistics().pending_bytes, kMegabyte);
  }
  EXPECT_TRUE(Await([&] { return refused == 90; })) << refused;
  EXPECT_TRUE(named);
  EXPECT_GE(group[leader].log->Statistics().pending_bytes, 1'000'000u);
  EXPECT_EQ(applied, 0);
  // Only what was taken is in the log, and all of that is applied in the end; then there is room again.
  stalled.unlock();
  EXPECT_TRUE(Await([&] { return applied == 10; })) << applied;
  EXPECT_EQ(others, 0);
  EXPECT_TRUE(Await([&] { return group[leader].log->Statistics().pending_bytes == 0; }));
  EXPECT_EQ(group.Propose(leader, "last").outcome, ProposeOutcome::kApplied);
  EXPECT_TRUE(group.AwaitEqual(12));
  EXPECT_EQ(group[leader].machine.Data().size(), 12u);
  for (ReplicaId id : group.ids()) group[id.value()].disk.SetSyncHook(nullptr);
}

// An entry that alone exceeds the bound still comes through.
TEST(FlowTest, AnEntryGreaterThanTheBoundIsTakenAlone) {
  ReplicaGroup group(3, [](ReplicatedLog::Options* options) { options->max_pending_bytes = 1000; });
  ASSERT_TRUE(group.StartAll().ok());
  EXPECT_EQ(group.Propose(group.Leader(), std::string(100'000, 'x')).outcome, ProposeOutcome::kApplied);
}

// A follower whose state machine does not come along takes no more than it may hold; the others go on; it is the leader
// that keeps its log for it, or a checkpoint.
TEST(FlowTest, AFollowerThatCannotApplyTakesNoMoreThanItMayHold) {
  constexpr uint64_t kBound = 256 << 10;
  ReplicaGroup group(3, [](ReplicatedLog::Options* options) {
    options->max_unapplied_bytes = kBound;
    options->max_inbox_bytes = kMegabyte;
    options->keep_bytes = 2 * kMegabyte;
  });
  ASSERT_TRUE(group.StartAll().ok());
  const uint64_t leader = group.Leader();
  const uint64_t slow = leader % 3 + 1;
  ASSERT_EQ(group.Propose(leader, "first").outcome, ProposeOutcome::kApplied);
  ASSERT_TRUE(group.AwaitEqual(1));
  group[slow].machine.Hold(true);
  size_t count = 1;
  uint64_t most_unapplied = 0, most_held = 0, most_entries = 0;
  for (; count < 200; ++count) {
    ASSERT_EQ(group.Propose(leader, std::string(50'000, 'x')).outcome, ProposeOutcome::kApplied);
    const LogStatistics statistics = group[slow].log->Statistics();
    most_unapplied = std::max(most_unapplied, statistics.unapplied_bytes);
    most_held = std::max(most_held, statistics.held_bytes);
    most_entries = std::max(most_entries, statistics.entry_bytes);
  }
  // One message of up to a megabyte more than the bounds.
  EXPECT_LE(most_unapplied, kBound + kMegabyte);
  EXPECT_GT(most_unapplied, kBound);
  EXPECT_LE(most_held, 2 * kMegabyte);
  EXPECT_GT(most_held, 0u);
  EXPECT_LE(most_entries, kBound + 2 * kMegabyte);
  EXPECT_EQ(group.Leader(), leader);
  group[slow].machine.Hold(false);
  EXPECT_TRUE(group.AwaitEqual(count));
  EXPECT_TRUE(Await([&] { return group[slow].log->Statistics().held_bytes == 0; }));
  EXPECT_EQ(group[slow].log->Statistics().unapplied_bytes, 0u);
}

// A follower that is cut off for long costs the leader no more than the log that it keeps anyway, and takes a
// checkpoint.
TEST(FlowTest, AFollowerThatIsAwayForLongIsNotWaitedFor) {
  constexpr uint64_t kKeep = 512 << 10;
  ReplicaGroup group(3, [](ReplicatedLog::Options* options) {
    options->keep_bytes = kKeep;
    // It may have been heard a moment ago when it is offered a checkpoint: the log is kept that far, for that long.
    options->keep_for_fetch_bytes = 2 * kKeep;
  });
  ASSERT_TRUE(group.StartAll().ok());
  const uint64_t leader = group.Leader();
  const uint64_t away = leader % 3 + 1;
  ASSERT_EQ(group.Propose(leader, "first").outcome, ProposeOutcome::kApplied);
  ASSERT_TRUE(group.AwaitEqual(1));
  group.network().Isolate(ReplicaId(away), group.ids());
  uint64_t most = 0;
  size_t count = 1;
  for (; count < 300; ++count) {
    ASSERT_EQ(group.Propose(leader, std::string(40'000, 'x')).outcome, ProposeOutcome::kApplied);
    most = std::max(most, group[leader].log->Statistics().entry_bytes);
  }
  // 12 MB were written. A cut leaves half of what is kept, comes once it has grown by as much, and takes whole
  // segments.
  EXPECT_LE(most, 2 * kKeep + (512 << 10)) << "bytes";
  EXPECT_GT(group[leader].log->Statistics().first, Position(200));
  group.network().Heal();
  ASSERT_TRUE(group.ProposeSomewhere("last"));
  EXPECT_TRUE(group.AwaitEqual(count + 1));
  EXPECT_GE(group[away].machine.installs(), 1);
}

// While a peer fetches a checkpoint, the log behind it is kept, up to a bound: else it would fetch for ever.
TEST(FlowTest, TheLogBehindAFetchIsKeptUpToABound) {
  constexpr uint64_t kKeep = 256 << 10;
  for (const bool within : {true, false}) {
    SCOPED_TRACE(within);
    ReplicaGroup group(3, [&](ReplicatedLog::Options* options) {
      options->keep_bytes = kKeep;
      options->keep_for_fetch_bytes = within ? 64 * kMegabyte : kMegabyte;
    });
    ASSERT_TRUE(group.StartAll().ok());
    const uint64_t leader = group.Leader();
    const uint64_t away = leader % 3 + 1;
    group.network().Isolate(ReplicaId(away), group.ids());
    size_t count = 0;
    const auto write = [&](int n) {
      for (int i = 0; i < n; ++i, ++count) {
        ASSERT_EQ(group.Propose(leader, std::string(20'000, 'x')).outcome, ProposeOutcome::kApplied);
      }
    };
    write(50);
    // Who is silent is not waited for.
    ASSERT_TRUE(Await([&] {
      write(1);
      return group[leader].log->Statistics().first > Position(40);
    }));
    // The first chunk waits while four megabytes are written.
    std::mutex mutex;
    std::condition_variable wake;
    bool asked = false, go = false;
    Position needed;  // the first behind the checkpoint
    group.network().SetChunkHook([&](ReplicaId, ReplicaId, v1::CheckpointChunk* chunk) {
      std::unique_lock lock(mutex);
      if (!asked) needed = Position(chunk->checkpoint().position() + 1);
      asked = true;
      wake.notify_all();
      wake.wait(lock, [&] { return go; });
      return absl::OkStatus();
    });
    group.network().Heal();
    {
      std::unique_lock lock(mutex);
      wake.wait(lock, [&] { return asked; });
    }
    const auto fetching = [&] {
      const auto members = group[leader].log->Members();
      return std::any_of(members.begin(), members.end(), [&](const MemberStatus& member) {
        EXPECT_FALSE(member.fetching && member.replica != ReplicaId(away));
        return member.fetching;
      });
    };
    EXPECT_TRUE(fetching());
    write(200);
    if (within) {
      EXPECT_LE(group[leader].log->Statistics().first, needed);
    } else {
      EXPECT_GT(group[leader].log->Statistics().first, needed);
      EXPECT_LE(group[leader].log->Statistics().entry_bytes, 2 * kMegabyte);
    }
    {
      std::lock_guard lock(mutex);
      go = true;
      wake.notify_all();
    }
    EXPECT_TRUE(group.AwaitEqual(count));
    EXPECT_TRUE(Await([&] { return !fetching(); }));
    if (within) {
      EXPECT_EQ(group[away].machine.installs(), 1);
      // It is cut when nobody needs it any more.
      EXPECT_TRUE(Await([&] {
        write(1);
        return group[leader].log->Statistics().first > needed;
      }));
    } else {
      EXPECT_GE(group[away].machine.installs(), 2);
    }
    group.network().SetChunkHook(nullptr);
  }
}

}  // namespace
}  // namespace terrane::replication
