// terrane-demo: see `./dev demo --help`.
#include <cstdio>
#include <filesystem>
#include <thread>

#include "common/command_line.h"
#include "common/process.h"
#include "common/version.h"
#include "demo.h"

namespace terrane::demo {
namespace {

int Main(int argc, char** argv) {
  DemoOptions options;
  std::string directory;
  std::string report_path = "demo-report.json";
  int64_t clients = options.clients;
  CommandLine command_line("terrane-demo",
                           "The main job, end to end: chunks move under live traffic, then every write is recounted.",
                           VersionLine("terrane-demo"));
  command_line.Add("quick", &options.quick, "50,000 orders instead of 1,000,000");
  command_line.Add("plant", &options.plant,
                   "spoil one document below the API (lost, duplicated or stale): the run must fail");
  command_line.Add("dir", &directory, "where the cluster lives (default: a new directory under /tmp)");
  command_line.Add("keep", &options.keep, "leave the directory for a look");
  command_line.Add("clients", &clients, 1, 64, "clients that make the traffic");
  command_line.Add("report", &report_path, "file to write");
  if (const auto code = command_line.Parse(argc, argv)) return *code;
  if (!options.plant.empty() && options.plant != "lost" && options.plant != "duplicated" && options.plant != "stale") {
    std::fprintf(stderr, "error: --plant takes lost, duplicated or stale, not %s\n", options.plant.c_str());
    return kExitUsage;
  }
  options.clients = static_cast<int>(clients);
  options.programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  options.source = TERRANE_SOURCE_DIR;
  if (directory.empty()) {
    std::string pattern = (std::filesystem::temp_directory_path() / "terrane-demo-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) {
      std::fprintf(stderr, "error: no directory can be made under %s\n",
                   std::filesystem::temp_directory_path().c_str());
      return kExitFailure;
    }
    directory = pattern;
  } else if (std::filesystem::exists(directory) && !std::filesystem::is_empty(directory)) {
    std::fprintf(stderr, "error: %s is not empty: the demonstration wants a directory of its own\n", directory.c_str());
    return kExitUsage;
  }
  options.directory = directory;

  StopSignal signal;
  std::atomic<bool> cancelled{false};
  std::atomic<int> received{0};
  std::thread watcher([&] {
    received = signal.Wait();
    cancelled = true;
  });
  const absl::StatusOr<Report> report = RunDemo(options, cancelled);
  const bool interrupted = cancelled.load();
  StopSignal::RequestStop();
  watcher.join();
  if (!options.keep) std::filesystem::remove_all(directory);
  if (!report.ok() || interrupted) {
    std::fprintf(
        stderr, "%s\n",
        interrupted ? "interrupted; every process has ended" : ("error: " + report.status().ToString()).c_str());
    return interrupted ? 128 + received.load() : kExitFailure;
  }
  std::printf("%s", ForPeople(*report).c_str());
  if (const absl::Status written = WriteReport(*report, report_path); !written.ok()) {
    std::fprintf(stderr, "error: %s\n", written.ToString().c_str());
    return kExitFailure;
  }
  std::printf("written to %s\n", report_path.c_str());
  return report->Good() ? kExitOk : kExitFailure;
}

}  // namespace
}  // namespace terrane::demo

int main(int argc, char** argv) {
  return terrane::demo::Main(argc, argv);
}
