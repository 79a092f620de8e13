// Seeds of the Raft simulation in every test run; `raft_simulate` runs more, or one again.
#include "simulation/raft_simulation.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "raft/check.h"

namespace terrane::raft {
namespace {

#ifdef TERRANE_SANITIZED
constexpr uint64_t kSeedsEach = 50;
#else
constexpr uint64_t kSeedsEach = 1250;
#endif

SimulationOptions running;

// Four ranges, so that ctest runs them beside other tests.
class RaftSimulation : public testing::TestWithParam<int> {};

TEST_P(RaftSimulation, HoldsItsPropertiesAndCommitsAgain) {
  SetCheckFailureHook([](const char*) {
    std::fprintf(stderr, "seed %llu; replay: %s\n", static_cast<unsigned long long>(running.seed),
                 ReplayCommand(running).c_str());
  });
  SimulationCounts counts;
  for (uint64_t i = 0; i < kSeedsEach; ++i) {
    running.seed = 1 + static_cast<uint64_t>(GetParam()) * kSeedsEach + i;
    SimulationResult result = RunRaftSimulation(running);
    ASSERT_EQ(result.failure, "") << "seed " << running.seed << "; replay: " << ReplayCommand(running);
    ASSERT_GE(result.counts.steps, 2000u);
    counts.Add(result.counts);
  }
  std::printf("%s", counts.ToString().c_str());
  // A run that never met a fault has not tested it.
  EXPECT_GE(counts.leader_changes, kSeedsEach);
  EXPECT_GE(counts.crashes_with_loss, kSeedsEach);
  EXPECT_GE(counts.partitions, kSeedsEach);
  EXPECT_GT(counts.truncations, kSeedsEach / 10);
  EXPECT_GT(counts.snapshots_installed, kSeedsEach / 10);
  EXPECT_GT(counts.configurations, kSeedsEach / 10);
  EXPECT_GT(counts.configurations_undone, 0u);
  EXPECT_GT(counts.stale_proposals_refused, 0u);
  EXPECT_GT(counts.stalls, 0u);
  EXPECT_GT(counts.index_reads, kSeedsEach);
  EXPECT_GT(counts.lease_reads, kSeedsEach);
  EXPECT_GT(counts.follower_reads, kSeedsEach);
}
INSTANTIATE_TEST_SUITE_P(Range, RaftSimulation, testing::Range(0, 4));

TEST(RaftSimulationTest, EqualSeedsGiveEqualRuns) {
  SimulationOptions options;
  options.seed = 77;
  SimulationResult one = RunRaftSimulation(options);
  SimulationResult other = RunRaftSimulation(options);
  EXPECT_EQ(one.counts.ToString(), other.counts.ToString());
}

}  // namespace
}  // namespace terrane::raft
