// What the three mains share: common flags, the process's directory with `pid` and `endpoint`, the wait for a signal,
// exit codes. terrane-meta, terrane-shard and terrane-proxy only say what is special about them.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/command_line.h"
#include "common/process.h"
#include "common/status.h"
#include "replication/replicated_log.h"
#include "rpc/credentials.h"

namespace terrane::server {

// Settings of every process; docs/configuration.md lists them.
struct CommonSettings {
  std::string directory;
  std::string listen = "127.0.0.1:0";
  std::string log_level = "info";
  std::string log_file;
  rpc::TlsFiles tls;
  bool insecure = false;
  std::vector<std::string> address_map;  // "host:port=host:port"

  void Define(CommandLine* line);
};

// Settings of a member of a Raft group.
struct GroupSettings {
  std::string advertise;
  std::string cluster;
  int64_t replica = 1;
  std::vector<std::string> members;  // "1=host:port"
  replication::Timeouts timeouts;

  void Define(CommandLine* line);
  // kInvalidArgument: not of this form, a number twice, this replica missing, an election before two heartbeats.
  absl::StatusOr<std::vector<replication::Member>> Members() const;
};

// kInvalidArgument, naming the setting: one of them is not of the form host:port.
absl::Status CheckEndpoints(std::string_view setting, const std::vector<std::string>& endpoints);

// Owned by Serve; its end stops the server.
struct RunningServer {
  std::string address;
  std::function<void()> stop;
};

// Runs a process from its parsed settings to its exit code: makes the directory and locks it, starts the log, calls
// `start`, writes `pid` and `endpoint`, waits for SIGTERM or SIGINT, stops. What goes wrong is one line `error: ...` on
// standard error, and in the log.
int Serve(const std::string& program, const CommonSettings& settings,
          const std::function<absl::StatusOr<RunningServer>()>& start);

}  // namespace terrane::server
