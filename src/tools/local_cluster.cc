#include "tools/local_cluster.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <thread>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/client.h"
#include "common/executor.h"
#include "common/process.h"
#include "common/random.h"
#include "common/status.h"
#include "tools/directory_lock.h"
#include "tools/free_ports.h"
#include "tools/health.h"

namespace terrane::tools {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr milliseconds kStopLimit{10'000};
constexpr milliseconds kKillLimit{10'000};
constexpr milliseconds kBetweenLooks{20};
constexpr uint64_t kMostReplicas = 26;  // s1-a to s1-z

SteadyTime After(milliseconds limit) {
  return std::chrono::steady_clock::now() + limit;
}
bool Passed(SteadyTime time) {
  return std::chrono::steady_clock::now() >= time;
}

std::string ProgramOf(Role role) {
  switch (role) {
    case Role::kMetadata:
      return "terrane-meta";
    case Role::kShard:
      return "terrane-shard";
    case Role::kProxy:
      return "terrane-proxy";
  }
  return "";
}

fs::path DirectoryOfThisProgram() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path();
}

// The last line that says something.
std::string LastLine(const fs::path& path) {
  absl::StatusOr<std::string> text = ReadWholeFile(path);
  if (!text.ok()) return "";
  const std::vector<std::string> lines = absl::StrSplit(*text, '\n', absl::SkipWhitespace());
  return lines.empty() ? "" : lines.back();
}

// `x` of a line of a log that ends in status="x"; else nothing.
std::string StatusOfLine(const std::string& line) {
  constexpr std::string_view kStatus = " status=\"";
  const size_t begin = line.find(kStatus);
  return begin == std::string::npos || !line.ends_with('"')
             ? ""
             : line.substr(begin + kStatus.size(), line.size() - 1 - begin - kStatus.size());
}

std::string ReplicaName(std::string_view shard, uint64_t replica) {
  return StrCat(shard, "-", std::string(1, static_cast<char>('a' + replica - 1)));
}

absl::Status CheckReplicas(int replicas) {
  if (replicas == 1 || replicas == 3 || replicas == 5) return absl::OkStatus();
  return InvalidArgument("--replicas: 1, 3 or 5 of each shard");
}

// Endpoints are still to be chosen.
void AddReplicas(const std::string& shard, int replicas, ClusterFile* file) {
  for (int i = 1; i <= replicas; ++i) {
    const auto replica = static_cast<uint64_t>(i);
    file->processes.push_back({ReplicaName(shard, replica), Role::kShard, shard, replica, "", {}});
  }
}

absl::Status ChooseEndpoints(ClusterFile* file) {
  std::vector<ClusterProcess*> without;
  for (ClusterProcess& process : file->processes) {
    if (process.endpoint.empty()) without.push_back(&process);
  }
  Random random(Random::SystemSeed());
  TERRANE_ASSIGN_OR_RETURN(const std::vector<uint16_t> ports, ChooseFreePorts(without.size(), random));
  for (size_t i = 0; i < ports.size(); ++i) {
    std::string address = "127.0.0.1";
    if (file->network) {
      std::vector<std::string> endpoints;
      for (const ClusterProcess& process : file->processes) endpoints.push_back(process.endpoint);
      TERRANE_ASSIGN_OR_RETURN(address, FreeAddress(file->network->subnet, endpoints));
    }
    without[i]->endpoint = StrCat(address, ":", ports[i]);
  }
  return absl::OkStatus();
}

absl::Status NoSuchProcess(const ClusterFile& file, std::string_view name) {
  std::vector<std::string> names;
  for (const ClusterProcess& process : file.processes) names.push_back(process.name);
  return NotFound("no process ", name, ". Processes: ", absl::StrJoin(names, ", "));
}

}  // namespace

// The thread that starts tied processes: they die with it, so it must live as long as the cluster, whichever threads
// use the cluster.
class LocalCluster::Spawner {
 public:
  explicit Spawner(bool tied) : tied_(tied), thread_("spawn", 1) {}

  absl::StatusOr<ProcessId> Start(SpawnOptions options) {
    options.tied_to_thread = tied_;
    std::promise<absl::StatusOr<ProcessId>> started;
    if (!thread_.Post([&] { started.set_value(Spawn(options)); }))
      return absl::CancelledError("the cluster is stopping");
    return started.get_future().get();
  }

 private:
  const bool tied_;
  Executor thread_;
};

LocalCluster::LocalCluster(LocalClusterOptions options)
    : options_(std::move(options)), spawner_(std::make_unique<Spawner>(options_.tied)) {
  if (options_.programs.empty()) options_.programs = DirectoryOfThisProgram();
}

LocalCluster::~LocalCluster() {
  if (options_.tied) (void)Stop();
}

absl::StatusOr<std::unique_ptr<LocalCluster>> LocalCluster::Start(LocalClusterOptions options) {
  if (options.shards < 1 || options.shards > 100) return InvalidArgument("--shards: from 1 to 100");
  TERRANE_RETURN_IF_ERROR(CheckReplicas(options.replicas));
  if (options.metadata != 1 && options.metadata != 3 && options.metadata != 5) {
    return InvalidArgument("--metadata: 1, 3 or 5 nodes");
  }
  if (options.proxies < 1 || options.proxies > 100) return InvalidArgument("--proxies: from 1 to 100");
  std::error_code error;
  const bool made = fs::create_directories(options.directory, error);
  if (error) return MakeStatus(absl::StatusCode::kUnknown, options.directory.native(), ": ", error.message());
  options.directory = fs::canonical(options.directory, error);
  std::unique_ptr<LocalCluster> cluster(new LocalCluster(std::move(options)));
  if (const absl::Status status = cluster->StartAll(); !status.ok()) {
    if (made) fs::remove(cluster->directory(), error);  // if there is nothing in it
    return status;
  }
  return cluster;
}

absl::StatusOr<std::unique_ptr<LocalCluster>> LocalCluster::Open(const fs::path& directory) {
  TERRANE_ASSIGN_OR_RETURN(const ClusterFile file, ClusterFile::Load(directory));
  LocalClusterOptions options;
  options.programs = file.programs;
  std::error_code error;
  options.directory = fs::canonical(directory, error);
  return std::unique_ptr<LocalCluster>(new LocalCluster(std::move(options)));
}

absl::StatusOr<ClusterFile> LocalCluster::NewCluster() const {
  for (const auto& entry : fs::directory_iterator(options_.directory)) {
    return FailedPrecondition(options_.directory.native(), " is not empty and holds no cluster (there is ",
                              entry.path().filename().native(), "). Choose another --dir");
  }
  ClusterFile file;
  file.cluster = NewUniqueId();
  file.replicas = options_.replicas;
  file.flags = options_.flags;
  if (options_.programs != DirectoryOfThisProgram()) file.programs = options_.programs.native();
  if (options_.log_level != "info") {
    for (Role role : {Role::kMetadata, Role::kShard, Role::kProxy}) {
      file.flags[role].push_back("--log-level=" + options_.log_level);
    }
  }
  for (int i = 1; i <= options_.metadata; ++i) {
    file.processes.push_back({StrCat("m", i), Role::kMetadata, "", static_cast<uint64_t>(i), "", {}});
  }
  for (int i = 1; i <= options_.shards; ++i) {
    AddReplicas(StrCat("s", i), options_.replicas, &file);
  }
  for (int i = 1; i <= options_.proxies; ++i) {
    file.processes.push_back({StrCat("p", i), Role::kProxy, "", 0, "", {}});
  }
  if (options_.netns) {
    TERRANE_ASSIGN_OR_RETURN(const std::string subnet, NetworkNamespaces::ChooseFreeSubnet());
    file.network = ClusterNetwork{file.cluster.substr(0, 6), subnet};
  }
  TERRANE_RETURN_IF_ERROR(ChooseEndpoints(&file));
  return file;
}

std::vector<std::string> LocalCluster::CommandOf(const ClusterFile& file, const ClusterProcess& process) const {
  const fs::path directory = DirectoryOf(process);
  std::vector<std::string> command = {options_.programs / ProgramOf(process.role), "--dir=" + directory.native(),
                                      "--listen=" + process.endpoint, "--log-file=" + (directory / "log").native()};
  std::vector<std::string> members;
  for (const ClusterProcess& other : file.processes) {
    if (other.role == process.role && other.shard == process.shard) {
      members.push_back(StrCat(other.replica, "=", other.endpoint));
    }
  }
  const std::string metadata = absl::StrJoin(file.Endpoints(Role::kMetadata), ",");
  if (process.role != Role::kProxy) {
    command.push_back("--cluster=" + file.cluster);
    command.push_back(StrCat("--replica=", process.replica));
    command.push_back("--members=" + absl::StrJoin(members, ","));
  }
  if (process.role == Role::kShard) command.push_back("--name=" + process.shard);
  if (process.join) command.push_back("--join");
  if (file.network) command.push_back("--insecure");  // no route leads out of that network
  if (process.role != Role::kMetadata) command.push_back("--metadata=" + metadata);
  std::vector<std::string> detours;
  for (const ClusterProcess& other : file.processes) {
    if (!options_.route || other.name == process.name) continue;
    const std::string endpoint = options_.route(process, other);
    if (endpoint != other.endpoint) detours.push_back(StrCat(other.endpoint, "=", endpoint));
  }
  if (!detours.empty()) command.push_back("--address-map=" + absl::StrJoin(detours, ","));
  if (auto flags = file.flags.find(process.role); flags != file.flags.end()) {
    command.insert(command.end(), flags->second.begin(), flags->second.end());
  }
  if (auto flags = options_.process_flags.find(process.name); flags != options_.process_flags.end()) {
    command.insert(command.end(), flags->second.begin(), flags->second.end());
  }
  return command;
}

absl::Status LocalCluster::Launch(const ClusterFile& file, ClusterProcess* process) {
  const fs::path directory = DirectoryOf(*process);
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return MakeStatus(absl::StatusCode::kUnknown, directory.native(), ": ", error.message());
  SpawnOptions options;
  options.arguments = CommandOf(file, *process);
  options.output = directory / "stdout";
  options.working_directory = directory;
  if (file.network) options.network_namespace = file.network->Namespaces().PathOf(process->name);
  absl::StatusOr<ProcessId> started = spawner_->Start(std::move(options));
  if (!started.ok()) return Annotate(started.status(), "starting " + process->name);
  process->process = *started;
  return absl::OkStatus();
}

absl::Status LocalCluster::MakeNetwork(const ClusterFile& file) {
  if (!file.network) return absl::OkStatus();
  std::map<std::string, std::string> addresses;
  for (const ClusterProcess& process : file.processes) {
    addresses[process.name] = process.endpoint.substr(0, process.endpoint.rfind(':'));
  }
  return Annotate(file.network->Namespaces().Make(addresses), "cannot make the cluster's network");
}

absl::Status LocalCluster::RemoveIdleNetwork() const {
  TERRANE_ASSIGN_OR_RETURN(DirectoryLock lock, DirectoryLock::Take(options_.directory));
  TERRANE_ASSIGN_OR_RETURN(const ClusterFile file, ClusterFile::Load(options_.directory));
  for (const ClusterProcess& process : file.processes) {
    if (State(process.process) != ProcessState::kStopped) return absl::OkStatus();
  }
  return file.network ? file.network->Namespaces().Remove() : absl::OkStatus();
}

absl::Status LocalCluster::StartAll() {
  TERRANE_ASSIGN_OR_RETURN(DirectoryLock lock, DirectoryLock::Take(options_.directory));
  absl::StatusOr<ClusterFile> file = ClusterFile::Load(options_.directory);
  const bool is_new = absl::IsNotFound(file.status());
  if (is_new) file = NewCluster();
  TERRANE_RETURN_IF_ERROR(file.status());
  std::vector<ClusterProcess> launched;
  // Whoever comes after us, if we are killed here, finds what there is: the file is there before the first process, and
  // knows each one as soon as it runs.
  absl::Status status = file->Save(options_.directory);
  if (status.ok()) status = NotInterrupted();
  if (status.ok()) {
    status = MakeNetwork(*file);
    if (!status.ok() && is_new) {  // as if nothing had been asked for
      (void)file->network->Namespaces().Remove();
      ClusterFile::Remove(options_.directory);
      return status;
    }
  }
  for (ClusterProcess& process : file->processes) {
    if (status.ok()) status = NotInterrupted();
    if (!status.ok()) break;
    if (State(process.process) != ProcessState::kStopped) continue;
    if (status = Launch(*file, &process); !status.ok()) break;
    launched.push_back(process);
    status = file->Save(options_.directory);
  }
  lock.Release();
  if (status.ok()) status = AwaitHealthy(launched);
  if (status.ok()) status = AwaitServing(*file);
  if (status.ok() || (!options_.tied && absl::IsDeadlineExceeded(status))) return status;
  End(launched);
  if (const absl::Status removed = RemoveIdleNetwork(); !removed.ok()) {
    return MakeStatus(status.code(), MessageOf(status), ". And its network is left: ", MessageOf(removed));
  }
  return status;
}

absl::Status LocalCluster::NotInterrupted() const {
  return options_.interrupted() ? absl::CancelledError("interrupted") : absl::OkStatus();
}

absl::Status LocalCluster::EndedAtStart(const ClusterProcess& process) const {
  const std::optional<int> code = ExitCodeOf(process.process);
  std::string said = LastLine(DirectoryOf(process) / "stdout");
  // On a full disk only the log may have had room.
  if (said.empty()) said = StatusOfLine(LastLine(DirectoryOf(process) / "log"));
  return Unavailable(
      process.name, " ended at its start", code ? StrCat(" (exit code ", *code, ")") : "",
      said.empty() ? StrCat(" without a word; its log is ", (DirectoryOf(process) / "log").native()) : ": " + said);
}

absl::Status LocalCluster::AwaitHealthy(const std::vector<ClusterProcess>& processes) const {
  const SteadyTime end = After(options_.ready_timeout);
  std::atomic<bool> give_up = false;
  const auto await = [&](const ClusterProcess& process) -> absl::Status {
    while (!give_up) {
      if (State(process.process) == ProcessState::kStopped) {
        give_up = true;
        return EndedAtStart(process);
      }
      TERRANE_RETURN_IF_ERROR(NotInterrupted());
      const absl::Status health = CheckHealth(process.endpoint, milliseconds(500));
      if (health.ok()) return health;
      if (Passed(end)) {
        return absl::DeadlineExceededError(StrCat(process.name, " is not ready after ",
                                                  options_.ready_timeout.count() / 1000, " s: ", MessageOf(health),
                                                  ". Its log is ", (DirectoryOf(process) / "log").native()));
      }
      std::this_thread::sleep_for(kBetweenLooks);
    }
    return absl::OkStatus();
  };
  std::vector<std::future<absl::Status>> waits;
  for (const ClusterProcess& process : processes) {
    waits.push_back(std::async(std::launch::async, await, std::cref(process)));
  }
  absl::Status status;
  for (auto& wait : waits) {
    if (absl::Status one = wait.get(); status.ok()) status = one;
  }
  return status;
}

absl::Status LocalCluster::AwaitServing(const ClusterFile& file) const {
  const SteadyTime end = After(options_.ready_timeout);
  client::Options options;
  options.proxies = file.Endpoints(Role::kProxy);
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, client::Client::Connect(options));
  while (true) {
    TERRANE_RETURN_IF_ERROR(NotInterrupted());
    std::string missing;
    absl::StatusOr<v1::StatusResponse> status = client->Status({.deadline = milliseconds(1000)});
    if (!status.ok()) missing = StrCat("the metadata service: ", MessageOf(status.status()));
    for (const ClusterProcess& process : file.processes) {
      if (!status.ok() || process.role != Role::kShard) continue;
      bool leads = false;
      for (const v1::Shard& shard : status->shards()) {
        leads = leads || (shard.name() == process.shard && !shard.leader_endpoint().empty());
      }
      if (!leads) missing = StrCat("shard ", process.shard, " is not registered or has no leader");
    }
    if (missing.empty()) return absl::OkStatus();
    for (const ClusterProcess& process : file.processes) {
      if (State(process.process) == ProcessState::kStopped) return EndedAtStart(process);
    }
    if (Passed(end)) {
      return absl::DeadlineExceededError(
          StrCat("not ready after ", options_.ready_timeout.count() / 1000, " s: ", missing));
    }
    std::this_thread::sleep_for(kBetweenLooks);
  }
}

std::vector<ProcessInfo> LocalCluster::Processes() const {
  std::vector<ProcessInfo> list;
  absl::StatusOr<ClusterFile> file = ClusterFile::Load(options_.directory);
  if (!file.ok()) return list;
  for (const ClusterProcess& process : file->processes) {
    list.push_back({process, State(process.process), DirectoryOf(process)});
  }
  return list;
}

absl::StatusOr<ProcessInfo> LocalCluster::Process(std::string_view name) const {
  TERRANE_ASSIGN_OR_RETURN(const ClusterFile file, ClusterFile::Load(options_.directory));
  const ClusterProcess* process = file.Find(name);
  if (process == nullptr) return NoSuchProcess(file, name);
  return ProcessInfo{*process, State(process->process), DirectoryOf(*process)};
}

std::vector<std::string> LocalCluster::ProxyEndpoints() const {
  absl::StatusOr<ClusterFile> file = ClusterFile::Load(options_.directory);
  return file.ok() ? file->Endpoints(Role::kProxy) : std::vector<std::string>();
}

std::optional<ClusterNetwork> LocalCluster::Network() const {
  absl::StatusOr<ClusterFile> file = ClusterFile::Load(options_.directory);
  return file.ok() ? file->network : std::nullopt;
}

int LocalCluster::End(const std::vector<ClusterProcess>& processes) const {
  for (const ClusterProcess& process : processes) {
    Signal(process.process, SIGTERM);
    Signal(process.process, SIGCONT);  // a paused one hears it then
  }
  const SteadyTime end = After(kStopLimit);
  int killed = 0;
  for (const ClusterProcess& process : processes) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - std::chrono::steady_clock::now());
    if (WaitForEnd(process.process, std::max(left, milliseconds(0)))) continue;
    Signal(process.process, SIGKILL);
    WaitForEnd(process.process, kKillLimit);
    ++killed;
  }
  return killed;
}

absl::StatusOr<int> LocalCluster::Stop() {
  TERRANE_ASSIGN_OR_RETURN(DirectoryLock lock, DirectoryLock::Take(options_.directory));
  TERRANE_ASSIGN_OR_RETURN(const ClusterFile file, ClusterFile::Load(options_.directory));
  int killed = 0;
  // Who asks goes before who answers.
  for (Role role : {Role::kProxy, Role::kShard, Role::kMetadata}) {
    std::vector<ClusterProcess> processes;
    for (const ClusterProcess& process : file.processes) {
      if (process.role == role) processes.push_back(process);
    }
    killed += End(processes);
  }
  if (file.network) TERRANE_RETURN_IF_ERROR(file.network->Namespaces().Remove());
  return killed;
}

absl::StatusOr<int> LocalCluster::StopProcess(std::string_view name) {
  TERRANE_ASSIGN_OR_RETURN(const ProcessInfo info, Process(name));
  return End({info.process});
}

absl::Status LocalCluster::Kill(std::string_view name) {
  TERRANE_ASSIGN_OR_RETURN(const ProcessInfo info, Process(name));
  Signal(info.process.process, SIGKILL);
  if (WaitForEnd(info.process.process, kKillLimit)) return absl::OkStatus();
  return absl::DeadlineExceededError(StrCat(name, " does not end although it was killed (it may hang in the disk)"));
}

absl::Status LocalCluster::Pause(std::string_view name) {
  TERRANE_ASSIGN_OR_RETURN(const ProcessInfo info, Process(name));
  if (info.state == ProcessState::kStopped) return FailedPrecondition(name, " is not running");
  Signal(info.process.process, SIGSTOP);
  // The signal takes effect some time after kill() has returned.
  while (State(info.process.process) == ProcessState::kRunning)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return absl::OkStatus();
}

absl::Status LocalCluster::Resume(std::string_view name) {
  TERRANE_ASSIGN_OR_RETURN(const ProcessInfo info, Process(name));
  if (info.state == ProcessState::kStopped) return FailedPrecondition(name, " is not running");
  Signal(info.process.process, SIGCONT);
  return absl::OkStatus();
}

absl::Status LocalCluster::SetCable(std::string_view name, bool plugged) const {
  TERRANE_ASSIGN_OR_RETURN(const ClusterFile file, ClusterFile::Load(options_.directory));
  if (file.Find(name) == nullptr) return NoSuchProcess(file, name);
  if (!file.network) {
    return FailedPrecondition("the processes have no cables: the cluster was not made with `cluster start --netns`");
  }
  return file.network->Namespaces().SetCable(std::string(name), plugged);
}
absl::Status LocalCluster::Unplug(std::string_view name) {
  return SetCable(name, false);
}
absl::Status LocalCluster::Plug(std::string_view name) {
  return SetCable(name, true);
}

absl::Status LocalCluster::StartProcess(std::string_view name) {
  TERRANE_ASSIGN_OR_RETURN(DirectoryLock lock, DirectoryLock::Take(options_.directory));
  TERRANE_ASSIGN_OR_RETURN(ClusterFile file, ClusterFile::Load(options_.directory));
  ClusterProcess* process = file.Find(name);
  if (process == nullptr) return NoSuchProcess(file, name);
  if (State(process->process) == ProcessState::kStopped) {
    TERRANE_RETURN_IF_ERROR(MakeNetwork(file));
    TERRANE_RETURN_IF_ERROR(Launch(file, process));
    TERRANE_RETURN_IF_ERROR(file.Save(options_.directory));
  }
  lock.Release();
  return AwaitHealthy({*process});
}

absl::Status LocalCluster::Restart(std::string_view name) {
  TERRANE_RETURN_IF_ERROR(StopProcess(name).status());
  return StartProcess(name);
}

absl::StatusOr<std::string> LocalCluster::AddShard(std::optional<int> replicas) {
  if (replicas) TERRANE_RETURN_IF_ERROR(CheckReplicas(*replicas));
  TERRANE_ASSIGN_OR_RETURN(DirectoryLock lock, DirectoryLock::Take(options_.directory));
  TERRANE_ASSIGN_OR_RETURN(ClusterFile file, ClusterFile::Load(options_.directory));
  int number = 1;
  while (!file.OfShard(StrCat("s", number)).empty()) ++number;
  const std::string shard = StrCat("s", number);
  AddReplicas(shard, replicas.value_or(file.ReplicasOfNewShard()), &file);
  TERRANE_RETURN_IF_ERROR(ChooseEndpoints(&file));
  TERRANE_RETURN_IF_ERROR(MakeNetwork(file));
  std::vector<ClusterProcess> launched;
  for (ClusterProcess* process : file.OfShard(shard)) {
    TERRANE_RETURN_IF_ERROR(Launch(file, process));
    TERRANE_RETURN_IF_ERROR(file.Save(options_.directory));
    launched.push_back(*process);
  }
  lock.Release();
  TERRANE_RETURN_IF_ERROR(AwaitHealthy(launched));
  TERRANE_RETURN_IF_ERROR(AwaitServing(file));
  return shard;
}

absl::StatusOr<ProcessInfo> LocalCluster::AddReplica(std::string_view shard) {
  TERRANE_ASSIGN_OR_RETURN(DirectoryLock lock, DirectoryLock::Take(options_.directory));
  TERRANE_ASSIGN_OR_RETURN(ClusterFile file, ClusterFile::Load(options_.directory));
  uint64_t replica = 0;
  for (const ClusterProcess* process : file.OfShard(shard)) replica = std::max(replica, process->replica);
  if (replica == 0) return NotFound("no shard ", shard, " in ", options_.directory.native());
  // A number is not used again as long as a directory bears its name: it would be another replica's.
  std::error_code error;
  do {
    ++replica;
  } while (fs::exists(options_.directory / ReplicaName(shard, replica), error));
  if (replica > kMostReplicas) {
    return FailedPrecondition("shard ", shard, " has used up its names, up to ", ReplicaName(shard, kMostReplicas),
                              ". Remove the directories of replicas that are gone");
  }
  ClusterProcess added{ReplicaName(shard, replica), Role::kShard, std::string(shard), replica, "", {}};
  added.join = true;
  file.processes.push_back(added);
  TERRANE_RETURN_IF_ERROR(ChooseEndpoints(&file));
  TERRANE_RETURN_IF_ERROR(MakeNetwork(file));
  ClusterProcess* process = &file.processes.back();
  TERRANE_RETURN_IF_ERROR(Launch(file, process));
  TERRANE_RETURN_IF_ERROR(file.Save(options_.directory));
  lock.Release();
  if (absl::Status healthy = AwaitHealthy({*process}); !healthy.ok()) {
    ForgetReplica(process->name).IgnoreError();  // why it does not start is what counts
    return healthy;
  }
  return Process(process->name);
}

absl::StatusOr<int> LocalCluster::ForgetReplica(std::string_view name) {
  TERRANE_ASSIGN_OR_RETURN(const int killed, StopProcess(name));
  TERRANE_ASSIGN_OR_RETURN(DirectoryLock lock, DirectoryLock::Take(options_.directory));
  TERRANE_ASSIGN_OR_RETURN(ClusterFile file, ClusterFile::Load(options_.directory));
  if (file.network) TERRANE_RETURN_IF_ERROR(file.network->Namespaces().RemoveProcess(std::string(name)));
  std::erase_if(file.processes, [&](const ClusterProcess& process) { return process.name == name; });
  TERRANE_RETURN_IF_ERROR(file.Save(options_.directory));
  return killed;
}

}  // namespace terrane::tools
