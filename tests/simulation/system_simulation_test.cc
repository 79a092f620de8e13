// Seeds of the simulation of the whole system in every test run; `./dev simulate` runs more, or one again.
#include "simulation/system_simulation.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "common/logging.h"
#include "raft/check.h"

namespace terrane::simulation {
namespace {

#ifdef TERRANE_SANITIZED
constexpr uint64_t kSeedsEach = 10;
#else
constexpr uint64_t kSeedsEach = 250;
#endif

SystemOptions running;

// Four ranges, so that ctest runs them beside other tests.
class SystemSimulation : public testing::TestWithParam<int> {};

TEST_P(SystemSimulation, HoldsItsPromisesAndEveryMoveEnds) {
  ASSERT_TRUE(StartLogging(LogLevel::kOff, "").ok());
  raft::SetCheckFailureHook([](const char*) {
    std::fprintf(stderr, "seed %llu; replay: %s\n", static_cast<unsigned long long>(running.seed),
                 ReplayCommand(running).c_str());
  });
  Probes probes;
  for (uint64_t i = 0; i < kSeedsEach; ++i) {
    running.seed = 1 + static_cast<uint64_t>(GetParam()) * kSeedsEach + i;
    const SystemResult result = RunSystemSimulation(running);
    ASSERT_EQ(result.failure, "") << "seed " << running.seed << "; replay: " << ReplayCommand(running);
    probes.Add(result.probes);
  }
  std::printf("%s", probes.ToString(kSeedsEach).c_str());
  // A run that never met a fault has not tested it.
  EXPECT_GT(probes.Count("write acknowledged"), 50 * kSeedsEach);
  EXPECT_GT(probes.Count("replica killed"), 2 * kSeedsEach);
  EXPECT_GT(probes.Count("move committed"), kSeedsEach);
  if (kSeedsEach < 100) return;
  // Those that so many seeds meet ten times or more; others are too rare for that, and a longer run lists them.
  for (const char* name :
       {"a fence met a leader change", "end of attempt after K", "K met a leader change",
        "move committed after an ended attempt", "a retry found its record", "checkpoint installed",
        "segment file fetched at apply", "range repaired", "chunk split", "proxy held and released by a commit",
        "proxy held and released by the end of an attempt", "served by proof"}) {
    EXPECT_GT(probes.Count(name), 0u) << name;
  }
}
INSTANTIATE_TEST_SUITE_P(Range, SystemSimulation, testing::Range(0, 4));

TEST(SystemSimulationTest, EqualSeedsGiveEqualRuns) {
  ASSERT_TRUE(StartLogging(LogLevel::kOff, "").ok());
  for (uint64_t seed : {3u, 77u, 1234u}) {
    SystemOptions options;
    options.seed = seed;
    const SystemResult one = RunSystemSimulation(options);
    const SystemResult other = RunSystemSimulation(options);
    EXPECT_EQ(one.trace_hash, other.trace_hash);
    EXPECT_EQ(one.events, other.events);
    EXPECT_EQ(one.probes.ToString(1), other.probes.ToString(1));
    options.seed = seed + 1;
    EXPECT_NE(RunSystemSimulation(options).trace_hash, one.trace_hash);
  }
}

}  // namespace
}  // namespace terrane::simulation
