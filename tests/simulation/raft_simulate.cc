// raft_simulate [--seeds N] [--first S] [--seed S] [--steps M] [--nodes 3|5] [--trace]
//
// Runs N seeds of the Raft simulation and prints what they met. Exit code 1 with the seed and the command that replays
// it at the first failure.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "raft/check.h"
#include "simulation/raft_simulation.h"

namespace {

terrane::raft::SimulationOptions running;

[[noreturn]] void ReportFailure(const char* sentence) {
  std::printf("seed %llu FAILED: %s\nreplay: %s\n", static_cast<unsigned long long>(running.seed), sentence,
              ReplayCommand(running).c_str());
  std::fflush(stdout);
  _exit(1);
}

int Usage() {
  std::fputs(
      "usage: raft_simulate [--seeds N] [--first S] [--steps M] [--nodes 3|5] [--trace]\n"
      "  --seeds N   how many seeds (1000)        --first S   the first of them (1)\n"
      "  --seed S    only this one                --steps M   calls into cores before the faults of a seed end (2000)\n"
      "  --nodes N   founding voters, 3 or 5; else the seed decides\n"
      "  --trace     what happens, on stderr\n",
      stderr);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t seeds = 1000;
  uint64_t first = 1;
  for (int i = 1; i < argc; ++i) {
    std::string flag = argv[i];
    if (flag == "--trace") {
      running.trace = true;
      continue;
    }
    if (i + 1 >= argc) return Usage();
    char* end = nullptr;
    uint64_t value = std::strtoull(argv[++i], &end, 10);
    if (end == argv[i] || *end != '\0') return Usage();
    if (flag == "--seeds") {
      seeds = value;
    } else if (flag == "--first") {
      first = value;
    } else if (flag == "--seed") {
      first = value;
      seeds = 1;
    } else if (flag == "--steps") {
      running.steps_min = value;
    } else if (flag == "--nodes" && (value == 3 || value == 5)) {
      running.nodes = static_cast<int>(value);
    } else {
      return Usage();
    }
  }
  terrane::raft::SetCheckFailureHook([](const char* sentence) { ReportFailure(sentence); });
  terrane::raft::SimulationCounts counts;
  auto start = std::chrono::steady_clock::now();
  for (running.seed = first; running.seed < first + seeds; ++running.seed) {
    terrane::raft::SimulationResult result = RunRaftSimulation(running);
    if (!result.failure.empty()) ReportFailure(result.failure.c_str());
    counts.Add(result.counts);
  }
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::printf("%llu seeds from %llu: no violation, every seed commits again after its faults\n",
              static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(first));
  std::printf("%s%.1f s, %.0f core steps/s\n", counts.ToString().c_str(), took.count(),
              static_cast<double>(counts.steps) / took.count());
  return 0;
}
