// terrane cluster ...: a local cluster of real processes.
#include <algorithm>
#include <set>

#include "absl/strings/str_format.h"
#include "common/process.h"
#include "tools/cli_command.h"
#include "tools/interrupt.h"
#include "tools/json.h"

namespace terrane::tools {
namespace {

struct StartOptions {
  // Numbers: 0 if they were not given.
  LocalClusterOptions cluster = {.directory = {}, .shards = 0, .replicas = 0, .metadata = 0, .proxies = 0};
};
struct ProcessOptions {
  std::string name;
};

std::string ProcessJson(const ProcessInfo& info) {
  JsonObject object;
  object.Add("name", info.process.name).Add("role", RoleName(info.process.role));
  object.Add("endpoint", info.process.endpoint).Add("state", ProcessStateName(info.state));
  object.Add("pid", static_cast<int64_t>(info.state == ProcessState::kStopped ? 0 : info.process.process.pid));
  if (info.process.role == Role::kShard) object.Add("shard", info.process.shard);
  object.Add("directory", info.directory.native());
  return object.Finish();
}

void PrintJson(const Cli& cli, const LocalCluster& cluster, double seconds) {
  std::vector<std::string> processes, proxies;
  for (const ProcessInfo& info : cluster.Processes()) processes.push_back(ProcessJson(info));
  for (const std::string& proxy : cluster.ProxyEndpoints()) proxies.push_back(JsonString(proxy));
  JsonObject object;
  object.Add("directory", cluster.directory().native());
  if (const std::optional<ClusterNetwork> network = cluster.Network()) {
    object.Add("network", network->subnet).Add("namespaces", network->Namespaces().NamespaceOf("*"));
  }
  if (seconds >= 0) object.Add("seconds", seconds);
  object.AddRaw("proxies", JsonArray(proxies)).AddRaw("processes", JsonArray(processes));
  cli.Line(object.Finish());
}

int Count(const LocalCluster& cluster, Role role) {
  int n = 0;
  for (const ProcessInfo& info : cluster.Processes()) n += info.process.role == role;
  return n;
}

std::set<std::string> Shards(const LocalCluster& cluster) {
  std::set<std::string> shards;
  for (const ProcessInfo& info : cluster.Processes()) {
    if (info.process.role == Role::kShard) shards.insert(info.process.shard);
  }
  return shards;
}

// What of the options of a first start a cluster that is there already takes no notice of.
std::string Ignored(const LocalClusterOptions& options, const LocalCluster& cluster) {
  std::string ignored;
  const auto add = [&](std::string_view flag, int asked, int there) {
    if (asked != 0 && asked != there) {
      StrAppend(&ignored, ignored.empty() ? "" : ", ", flag, " ", asked, " (there are ", there, ")");
    }
  };
  const int shards = static_cast<int>(Shards(cluster).size());
  add("--shards", options.shards, shards);
  add("--replicas", options.replicas, Count(cluster, Role::kShard) / std::max(1, shards));
  add("--metadata", options.metadata, Count(cluster, Role::kMetadata));
  add("--proxies", options.proxies, Count(cluster, Role::kProxy));
  if (options.netns && !cluster.Network()) StrAppend(&ignored, ignored.empty() ? "" : ", ", "--netns");
  return ignored;
}

absl::StatusOr<int> RunStart(Cli& cli, const StartOptions& options) {
  if (cli.directory.empty()) return InvalidArgument("--dir is missing: where the cluster is to live");
  LocalClusterOptions cluster_options = options.cluster;
  cluster_options.directory = cli.directory;
  const LocalClusterOptions defaults;
  if (cluster_options.shards == 0) cluster_options.shards = defaults.shards;
  if (cluster_options.replicas == 0) cluster_options.replicas = defaults.replicas;
  if (cluster_options.metadata == 0) cluster_options.metadata = defaults.metadata;
  if (cluster_options.proxies == 0) cluster_options.proxies = defaults.proxies;
  const InterruptWatch watch;
  cluster_options.interrupted = [] { return Interrupted() != 0; };
  const auto start = std::chrono::steady_clock::now();
  absl::StatusOr<std::unique_ptr<LocalCluster>> started = LocalCluster::Start(std::move(cluster_options));
  if (absl::IsCancelled(started.status())) {
    return absl::CancelledError(StrCat(
        "interrupted; what was started is stopped. Start it again: terrane cluster start", " --dir ", cli.directory));
  }
  TERRANE_RETURN_IF_ERROR(started.status());
  const std::unique_ptr<LocalCluster>& cluster = *started;
  const std::string ignored = Ignored(options.cluster, *cluster);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (cli.json) {
    PrintJson(cli, *cluster, seconds);
    return kExitOk;
  }
  const std::string dir = cli.directory;
  cli.Line(StrCat("cluster ", dir, " is up in ", absl::StrFormat("%.1f", seconds),
                  " s: ", Plural(Count(*cluster, Role::kMetadata), "metadata node"), ", ",
                  Plural(static_cast<int64_t>(Shards(*cluster).size()), "shard"),
                  Count(*cluster, Role::kShard) == static_cast<int>(Shards(*cluster).size())
                      ? ""
                      : StrCat(" of ", Count(*cluster, Role::kShard), " replicas"),
                  ", ",
                  Count(*cluster, Role::kProxy) == 1 ? "1 proxy" : StrCat(Count(*cluster, Role::kProxy), " proxies")));
  for (const std::string& proxy : cluster->ProxyEndpoints()) {
    cli.Line(absl::StrFormat("  proxy   %-22s try: terrane status --dir %s", proxy, dir));
  }
  if (const std::optional<ClusterNetwork> network = cluster->Network()) {
    cli.Line(absl::StrFormat("  network %-22s pull a cable: terrane cluster unplug --process NAME --dir %s",
                             network->subnet, dir));
    cli.Line(absl::StrFormat("          %-22s look around: ip netns exec %s ss -tn", "",
                             network->Namespaces().NamespaceOf("m1")));
  }
  cli.Line(absl::StrFormat("  logs    %-22s stop: terrane cluster stop --dir %s", dir + "/*/log", dir));
  if (!ignored.empty()) cli.Line("  note    it was there already, so this has no effect: " + ignored);
  return kExitOk;
}

absl::StatusOr<int> RunStop(Cli& cli, const ProcessOptions& options) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<LocalCluster> cluster, cli.OpenCluster());
  TERRANE_ASSIGN_OR_RETURN(const int killed,
                           options.name.empty() ? cluster->Stop() : cluster->StopProcess(options.name));
  if (cli.json) {
    cli.Line(JsonObject().Add("stopped", true).Add("killed", killed).Finish());
  } else {
    cli.Line(StrCat(options.name.empty() ? "cluster " + cli.directory : options.name, " is stopped",
                    killed == 0 ? "" : StrCat("; killed, as they did not end by themselves: ", killed)));
  }
  return kExitOk;
}

absl::StatusOr<int> RunClusterStatus(Cli& cli, const ProcessOptions&) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<LocalCluster> cluster, cli.OpenCluster());
  if (cli.json) {
    PrintJson(cli, *cluster, -1);
    return kExitOk;
  }
  for (const ProcessInfo& info : cluster->Processes()) {
    const bool stopped = info.state == ProcessState::kStopped;
    cli.Line(absl::StrFormat("  %-6s %-9s %-22s %-8s %s", info.process.name, RoleName(info.process.role).data(),
                             info.process.endpoint, ProcessStateName(info.state).data(),
                             stopped ? "" : StrCat("pid ", info.process.process.pid)));
  }
  return kExitOk;
}

// kill, pause, resume, restart: one process, by name.
template <absl::Status (LocalCluster::*kOperation)(std::string_view)>
absl::StatusOr<int> RunOperation(Cli& cli, const ProcessOptions& options) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<LocalCluster> cluster, cli.OpenCluster());
  TERRANE_RETURN_IF_ERROR(((*cluster).*kOperation)(options.name));
  TERRANE_ASSIGN_OR_RETURN(const ProcessInfo info, cluster->Process(options.name));
  cli.Line(cli.json ? ProcessJson(info) : StrCat(options.name, " is ", ProcessStateName(info.state)));
  return kExitOk;
}

template <bool kPlugged>
absl::StatusOr<int> RunCable(Cli& cli, const ProcessOptions& options) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<LocalCluster> cluster, cli.OpenCluster());
  TERRANE_RETURN_IF_ERROR(kPlugged ? cluster->Plug(options.name) : cluster->Unplug(options.name));
  cli.Line(cli.json ? JsonObject().Add("name", options.name).Add("plugged", kPlugged).Finish()
                    : StrCat(options.name, kPlugged ? " is plugged in" : " is unplugged"));
  return kExitOk;
}

absl::StatusOr<int> RunRestart(Cli& cli, const ProcessOptions& options) {
  if (!options.name.empty()) return RunOperation<&LocalCluster::Restart>(cli, options);
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<LocalCluster> cluster, cli.OpenCluster());
  TERRANE_RETURN_IF_ERROR(cluster->Stop().status());
  return RunStart(cli, StartOptions());
}

CLI::Option* AddProcess(CLI::App* command, ProcessOptions* options) {
  return command->add_option("--process", options->name, "Name as in `cluster status`: m1, s1-a, p1")
      ->type_name("NAME");
}

}  // namespace

void AddClusterCommands(CLI::App& app, Cli& cli) {
  CLI::App& group = *app.add_subcommand("cluster", "A local cluster of real processes on this machine");
  group.require_subcommand(1);

  auto start = std::make_shared<StartOptions>();
  CLI::App* command =
      AddCommand(group, cli, "start", "Start the cluster in --dir, making it if there is none", start, RunStart);
  const auto number = [command, start](const std::string& name, int* target, const std::string& help) {
    AddNumber<int>(command, name, 1, target, help);
  };
  number("--shards", &start->cluster.shards, "How many shards, when it is made; 2");
  number("--replicas", &start->cluster.replicas, "Replicas of each shard when it is made, 1, 3 or 5; 1");
  number("--metadata", &start->cluster.metadata, "Nodes of the metadata service when it is made, 1, 3 or 5; 1");
  number("--proxies", &start->cluster.proxies, "How many proxies, when it is made; 1");
  command->add_flag("--netns", start->cluster.netns,
                    "Each process in a network namespace of its own, when it is made; needs root and iproute2");
  command->add_option("--log-level", start->cluster.log_level, "Of all processes; info");
  AddDuration(
      command, "--wait", [start](auto duration) { start->cluster.ready_timeout = duration; },
      "How long to wait for it to serve; 30s");

  auto process = std::make_shared<ProcessOptions>();
  AddProcess(AddCommand(group, cli, "stop", "Stop all processes, or one", process, RunStop), process.get());
  AddCommand(group, cli, "status", "Which processes there are and how they are", process, RunClusterStatus);
  AddProcess(AddCommand(group, cli, "kill", "kill -9 a process", process, RunOperation<&LocalCluster::Kill>),
             process.get())
      ->required();
  AddProcess(
      AddCommand(group, cli, "pause", "Stop a process in its tracks", process, RunOperation<&LocalCluster::Pause>),
      process.get())
      ->required();
  AddProcess(AddCommand(group, cli, "resume", "Let it go on", process, RunOperation<&LocalCluster::Resume>),
             process.get())
      ->required();
  AddProcess(AddCommand(group, cli, "unplug", "Pull the cable of a process; for clusters made with --netns", process,
                        RunCable<false>),
             process.get())
      ->required();
  AddProcess(AddCommand(group, cli, "plug", "Plug it in again", process, RunCable<true>), process.get())->required();
  AddProcess(AddCommand(group, cli, "restart", "Stop and start all processes, or one; starts one that was killed",
                        process, RunRestart),
             process.get());
}

}  // namespace terrane::tools
