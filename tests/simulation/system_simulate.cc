// system_simulate [--seeds N] [--first S] [--seed S] [--ms M] [--no-moves] [--no-faults] [--keep-going] [--twice]
//                 [--trace]
//
// Runs N seeds of the simulation of the whole system and prints what they met. Exit code 1 with the seed and the
// command that replays it at the first failure.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "common/logging.h"
#include "raft/check.h"
#include "simulation/system_simulation.h"

namespace {

terrane::simulation::SystemOptions running;

[[noreturn]] void ReportFailure(const char* sentence) {
  std::printf("seed %llu FAILED: %s\nreplay: %s\n", static_cast<unsigned long long>(running.seed), sentence,
              ReplayCommand(running).c_str());
  std::fflush(stdout);
  _exit(1);
}

int Usage() {
  std::fputs(
      "usage: system_simulate [--seeds N] [--first S] [--ms M] [--no-moves] [--no-faults]\n"
      "                       [--keep-going] [--twice] [--trace]\n"
      "  --seeds N     how many seeds (1000)      --first S     the first of them (1)\n"
      "  --seed S      only this one              --ms M        virtual time before the faults of a seed end (2500)\n"
      "  --no-moves    chunks stay where they are --no-faults   nothing breaks\n"
      "  --keep-going  name each seed that fails and go on\n"
      "  --twice       run each seed twice: it fails where the second run differs from the first\n"
      "  --trace       what happens, on stderr\n",
      stderr);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t seeds = 1000;
  uint64_t first = 1;
  bool keep_going = false;
  bool twice = false;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--trace" || flag == "--no-moves" || flag == "--no-faults" || flag == "--keep-going" ||
        flag == "--twice") {
      if (flag == "--trace") running.trace = true;
      if (flag == "--no-moves") running.moves = false;
      if (flag == "--no-faults") running.faults = false;
      if (flag == "--keep-going") keep_going = true;
      if (flag == "--twice") twice = true;
      continue;
    }
    if (i + 1 >= argc) return Usage();
    char* end = nullptr;
    const uint64_t value = std::strtoull(argv[++i], &end, 10);
    if (end == argv[i] || *end != '\0') return Usage();
    if (flag == "--seeds") {
      seeds = value;
    } else if (flag == "--first") {
      first = value;
    } else if (flag == "--seed") {
      first = value;
      seeds = 1;
    } else if (flag == "--ms") {
      running.fault_ms = static_cast<int64_t>(value);
    } else {
      return Usage();
    }
  }
  (void)terrane::StartLogging(running.trace ? terrane::LogLevel::kInfo : terrane::LogLevel::kOff, "");
  terrane::raft::SetCheckFailureHook([](const char* sentence) { ReportFailure(sentence); });
  terrane::simulation::Probes probes;
  uint64_t events = 0;
  uint64_t failed = 0;
  const auto start = std::chrono::steady_clock::now();
  for (running.seed = first; running.seed < first + seeds; ++running.seed) {
    std::vector<uint64_t> hashes;
    if (twice) {
      terrane::simulation::SystemOptions once = running;
      once.trace = false;
      once.record = &hashes;
      RunSystemSimulation(once);
      running.expect = &hashes;
    }
    const terrane::simulation::SystemResult result = RunSystemSimulation(running);
    if (!result.failure.empty()) {
      if (!keep_going) ReportFailure(result.failure.c_str());
      ++failed;
      std::printf("seed %llu FAILED: %s\n", static_cast<unsigned long long>(running.seed), result.failure.c_str());
    }
    probes.Add(result.probes);
    events += result.events;
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::printf("%s%llu seeds from %llu: %llu violations; %.1f s, %.1f ms and %.0f events a seed\n",
              probes.ToString(seeds).c_str(), static_cast<unsigned long long>(seeds),
              static_cast<unsigned long long>(first), static_cast<unsigned long long>(failed), took.count(),
              took.count() * 1000 / static_cast<double>(seeds),
              static_cast<double>(events) / static_cast<double>(seeds));
  for (const std::string& name : probes.NeverHit()) std::printf("never hit: %s\n", name.c_str());
  return failed == 0 ? 0 : 1;
}
