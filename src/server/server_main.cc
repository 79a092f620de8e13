#include "server/server_main.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <set>

#include "absl/strings/numbers.h"
#include "common/logging.h"
#include "common/version.h"
#include "rpc/address_map.h"
#include "server/open_files.h"

namespace terrane::server {
namespace {

namespace fs = std::filesystem;

// Holds the directory for this process: an flock on the directory itself, so that nothing is left behind by a kill.
absl::StatusOr<int> LockDirectory(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return MakeStatus(absl::StatusCode::kUnknown, "cannot make ", directory.native(), ": ", error.message());
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, ToAbsl(directory.native()));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    close(fd);
    absl::StatusOr<std::string> pid = ReadWholeFile(directory / "pid");
    if (pid.ok() && pid->ends_with('\n')) pid->pop_back();
    return FailedPrecondition("directory ", directory.native(), " is in use",
                              pid.ok() ? " by process " + *pid : std::string(),
                              ". Stop that one, or choose another --dir");
  }
  return fd;
}

// Port in use gets an exit code of its own.
int ExitCodeOfStart(const absl::Status& status) {
  return absl::IsUnavailable(status) ? kExitAddressInUse : ExitCodeFor(status);
}

int Fail(const std::string& program, const absl::Status& status) {
  std::cerr << "error: " << MessageOf(status) << std::endl;
  LogError(program, "cannot start", {{"status", status}});
  FlushLogs();
  return ExitCodeOfStart(status);
}

}  // namespace

void CommonSettings::Define(CommandLine* line) {
  line->Add("dir", &directory, "Directory of this process: pid, endpoint and data");
  line->Require("dir");
  line->Add("listen", &listen, "host:port to listen on; port 0 takes a free one, see DIR/endpoint");
  line->Add("log-level", &log_level, "debug, info, warn, error or off");
  line->Add("log-file", &log_file, "File for the log; empty: standard error");
  line->Add("tls-certificate", &tls.certificate, "PEM file with the own certificate chain");
  line->Add("tls-key", &tls.key, "PEM file with its key");
  line->Add("tls-ca", &tls.ca, "PEM file with whom to trust; clients must then show a certificate");
  line->Add("insecure", &insecure, "Allow listening beyond loopback without TLS");
  line->Add("address-map", &address_map, "Connect elsewhere than to an address that is told: host:port=host:port,...");
}

void GroupSettings::Define(CommandLine* line) {
  line->Add("advertise", &advertise, "host:port that others are told; empty: the bound one");
  line->Add("cluster", &cluster, "Id of the cluster; empty: as the metadata service says");
  line->Add("replica", &replica, 1, 1'000'000, "Number of this replica in its group");
  line->Add("members", &members, "All replicas of the group: 1=host:port,2=host:port,...; empty: this one alone");
  line->Add("heartbeat", &timeouts.heartbeat, "Time between heartbeats of a leader");
  line->Add("election-min", &timeouts.election_min, "Least time without a leader before an election");
  line->Add("election-max", &timeouts.election_max, "Greatest such time");
  line->Add("slow-disk", &timeouts.slow_disk, "A leader whose log write takes longer hands on");
}

absl::StatusOr<std::vector<replication::Member>> GroupSettings::Members() const {
  std::vector<replication::Member> list;
  std::set<uint64_t> numbers;
  for (const std::string& member : members) {
    const size_t equals = member.find('=');
    uint64_t number = 0;
    if (equals == std::string::npos || !absl::SimpleAtoi(member.substr(0, equals), &number) || number == 0 ||
        equals + 1 == member.size()) {
      return InvalidArgument("--members: \"", member, "\" is not of the form NUMBER=host:port");
    }
    if (!numbers.insert(number).second) return InvalidArgument("--members: replica ", number, " is named twice");
    list.push_back({ReplicaId(number), member.substr(equals + 1)});
  }
  if (!list.empty() && !numbers.contains(static_cast<uint64_t>(replica))) {
    return InvalidArgument("--members: replica ", replica, " (--replica) is not among them");
  }
  if (timeouts.heartbeat.count() < 1 || timeouts.election_min < 2 * timeouts.heartbeat ||
      timeouts.election_max < timeouts.election_min) {
    return InvalidArgument("--election-min must be at least twice --heartbeat, and --election-max at least that");
  }
  return list;
}

absl::Status CheckEndpoints(std::string_view setting, const std::vector<std::string>& endpoints) {
  for (const std::string& endpoint : endpoints) {
    const size_t colon = endpoint.rfind(':');
    int port = 0;
    if (colon == std::string::npos || colon == 0 || !absl::SimpleAtoi(endpoint.substr(colon + 1), &port) || port < 1 ||
        port > 65535) {
      return InvalidArgument(setting, ": \"", endpoint, "\" is not host:port");
    }
  }
  return absl::OkStatus();
}

int Serve(const std::string& program, const CommonSettings& settings,
          const std::function<absl::StatusOr<RunningServer>()>& start) {
  StopSignal stop;  // before any thread
  // gRPC would print its own view of every failed connection between the lines of the log; the status that we get says
  // it.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  absl::StatusOr<LogLevel> level = ParseLogLevel(settings.log_level);
  if (!level.ok()) return Fail(program, Annotate(level.status(), "--log-level"));
  if (absl::Status status = rpc::SetAddressMap(settings.address_map); !status.ok()) {
    return Fail(program, Annotate(status, "--address-map"));
  }
  const fs::path directory = settings.directory;
  absl::StatusOr<int> lock = LockDirectory(directory);
  if (!lock.ok()) return Fail(program, lock.status());
  if (absl::Status status = StartLogging(*level, settings.log_file); !status.ok()) return Fail(program, status);

  RaiseOpenFileLimit(program);
  LogInfo(program, "starting", {{"version", VersionNumber()}, {"commit", GitCommit()}, {"dir", directory.native()}});
  if (absl::Status status = WriteFileAtomically(directory / "pid", StrCat(getpid(), "\n")); !status.ok()) {
    return Fail(program, status);
  }
  absl::StatusOr<RunningServer> server = start();
  absl::Status status = server.status();
  if (status.ok()) status = WriteFileAtomically(directory / "endpoint", server->address + "\n");
  if (!status.ok()) {
    if (server.ok()) server->stop();
    std::error_code ignored;
    fs::remove(directory / "pid", ignored);
    return Fail(program, status);
  }
  LogInfo(program, "serving", {{"endpoint", server->address}});
  const int signal = stop.Wait();
  LogInfo(program, "stopping", {{"signal", signal}});
  server->stop();
  std::error_code ignored;
  fs::remove(directory / "endpoint", ignored);
  fs::remove(directory / "pid", ignored);
  LogInfo(program, "stopped");
  FlushLogs();
  close(*lock);
  return kExitOk;
}

}  // namespace terrane::server
