// terrane-bench: see `./dev bench --help`.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "common/command_line.h"
#include "common/process.h"
#include "common/version.h"
#include "echo.h"
#include "sections.h"

namespace terrane::bench {
namespace {

struct Section {
  const char* name;
  absl::Status (*run)(const BenchOptions&, Table*);
};

constexpr Section kSections[] = {
    {"requests", BenchRequests}, {"slow-syncs", BenchSlowSyncs},
    {"replicas", BenchReplicas}, {"raft-host", BenchRaftHost},
    {"move", BenchMove},         {"pauses", BenchPauses},
    {"failover", BenchFailover}, {"idle", BenchIdle},
};

int Main(int argc, char** argv) {
  BenchOptions options;
  std::vector<std::string> only;
  std::string directory;
  std::string report = "bench-report.json";
  CommandLine command_line("terrane-bench", "Measures Terrane against limits that are measured in the same run.",
                           VersionLine("terrane-bench"));
  command_line.Add("quick", &options.quick, "short runs, to see that everything works");
  command_line.Add("sections", &only,
                   "only these: requests, slow-syncs, replicas, raft-host, move, pauses, failover, idle");
  command_line.Add("dir", &directory, "where data goes (default: a new directory under /tmp)");
  command_line.Add("report", &report, "file to write");
  if (const auto code = command_line.Parse(argc, argv)) return *code;
  for (const std::string& name : only) {
    if (std::none_of(std::begin(kSections), std::end(kSections), [&](const Section& s) { return s.name == name; })) {
      std::fprintf(stderr, "error: no section %s; --help lists them\n", name.c_str());
      return kExitUsage;
    }
  }
  options.programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  std::string pattern =
      ((directory.empty() ? std::filesystem::temp_directory_path() : std::filesystem::path(directory)) /
       "terrane-bench-XXXXXX")
          .string();
  if (mkdtemp(pattern.data()) == nullptr) {
    std::fprintf(stderr, "error: no directory can be made as %s\n", pattern.c_str());
    return kExitFailure;
  }
  options.directory = pattern;
  Table table;
  absl::Status status;
  for (const Section& section : kSections) {
    if (!only.empty() && std::find(only.begin(), only.end(), section.name) == only.end()) continue;
    const absl::Status outcome = section.run(options, &table);
    if (!outcome.ok()) std::fprintf(stderr, "error: section %s: %s\n", section.name, outcome.ToString().c_str());
    status.Update(outcome);
  }
  std::filesystem::remove_all(options.directory);
  status.Update(table.WriteJson(report));
  std::printf("written to %s\n", report.c_str());
  return status.ok() ? kExitOk : kExitFailure;
}

}  // namespace
}  // namespace terrane::bench

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "echo-back" && argc == 4) {
    return terrane::bench::RunEchoBack(argv[2], std::chrono::milliseconds(std::atoi(argv[3])));
  }
  if (mode == "echo-front" && argc == 3) return terrane::bench::RunEchoFront(argv[2]);
  return terrane::bench::Main(argc, argv);
}
