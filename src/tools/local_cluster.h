// A whole cluster of real processes on 127.0.0.1, or each in a network namespace of its own, under one directory:
//
//   D/cluster                   what it consists of (cluster_file.h)
//   D/m1 m2 m3                  metadata nodes
//   D/s1-a s1-b s2-a            replicas of shards
//   D/p1                        proxies
//   D/<process>/log             its log      stdout  what it printed      endpoint, pid   written by itself
//   D/<process>/data            its data
//
// Endpoints are chosen once and kept, so that a process that is restarted is found again. Used by `terrane cluster`,
// the demo, the bench and tests.
//
// Thread-safe. Changes of D/cluster are one at a time, also between processes (by a lock on the directory itself, so
// that nothing stays behind). All operations block.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/cluster_file.h"

namespace terrane::tools {

struct LocalClusterOptions {
  std::filesystem::path directory;  // made if missing
  int shards = 2;
  int replicas = 1;  // of each shard: 1, 3 or 5
  int metadata = 1;  // 1, 3 or 5
  int proxies = 1;
  // Each process in a network namespace of its own (network_namespaces.h), so that its cable can be pulled. Of the
  // first start, too.
  bool netns = false;
  std::string log_level = "info";
  // More flags for all processes of a role ("--election-min=100ms"); kept for restarts.
  std::map<Role, std::vector<std::string>> flags;

  // For tests: more flags for one process, by its name. Not kept.
  std::map<std::string, std::vector<std::string>> process_flags;
  // For tests: the endpoint at which `from` is to reach `to`, if it is not to.endpoint (--address-map). Asked at each
  // start of `from`; not kept. Not together with netns.
  std::function<std::string(const ClusterProcess& from, const ClusterProcess& to)> route;

  // The processes die with this object, with this process, and with its crash. Else they outlive it.
  bool tied = false;
  std::filesystem::path programs;  // where terrane-shard and so on are; empty: next to this program
  std::chrono::milliseconds ready_timeout{30'000};
  std::function<bool()> interrupted = [] { return false; };  // asked while Start and AddShard wait
};

struct ProcessInfo {
  ClusterProcess process;
  ProcessState state = ProcessState::kStopped;
  std::filesystem::path directory;
};

class LocalCluster {
 public:
  // Starts the cluster in the directory, making it if it is not there (`shards`, `replicas`, `metadata`, `proxies`,
  // `netns` and `flags` are of the first start; later ones start what the directory holds). Returns when the cluster
  // serves: every process is healthy, every shard registered with its leader. Processes that run already are left
  // alone.
  //   kInvalidArgument     the options
  //   kFailedPrecondition  the directory holds something else, or network namespaces are not permitted: what is missing
  //   kUnavailable         a process ended at its start: the message bears what it said. What was started is stopped
  //   kCancelled           interrupted. What was started is stopped
  //   kDeadlineExceeded    not ready in time: names who is not. What was started is left for a look, unless `tied`
  static absl::StatusOr<std::unique_ptr<LocalCluster>> Start(LocalClusterOptions options);
  // The cluster in the directory as it is, running or not. kNotFound: none.
  static absl::StatusOr<std::unique_ptr<LocalCluster>> Open(const std::filesystem::path& directory);
  // Stops everything if the cluster is tied.
  ~LocalCluster();

  const std::filesystem::path& directory() const { return options_.directory; }
  std::vector<ProcessInfo> Processes() const;
  std::vector<std::string> ProxyEndpoints() const;
  // Null: the processes have no network of their own.
  std::optional<ClusterNetwork> Network() const;
  // kNotFound, with the names that there are.
  absl::StatusOr<ProcessInfo> Process(std::string_view name) const;

  // SIGTERM to all, proxies first; returns when no process and no network is left. One that has not ended after 10 s is
  // killed: the result counts them.
  absl::StatusOr<int> Stop();
  // The same for one.
  absl::StatusOr<int> StopProcess(std::string_view name);
  // SIGKILL; returns when it is gone.
  absl::Status Kill(std::string_view name);
  // SIGSTOP and SIGCONT. kFailedPrecondition: it is not running.
  absl::Status Pause(std::string_view name);
  absl::Status Resume(std::string_view name);
  // Pulls the cable between a process and all others, clients too: connections stay, and nothing passes. A restart of
  // the process does not plug it in again, so it does not become healthy. kFailedPrecondition: the cluster has no
  // network of its own.
  absl::Status Unplug(std::string_view name);
  absl::Status Plug(std::string_view name);
  // Starts it if it does not run, and returns when it is healthy.
  absl::Status StartProcess(std::string_view name);
  // Stop and start.
  absl::Status Restart(std::string_view name);
  // Starts one more shard with empty directories and 1, 3 or 5 replicas, else as many as the cluster was made with;
  // returns its name when it is registered and has a leader. kCancelled: interrupted; it goes on to start.
  absl::StatusOr<std::string> AddShard(std::optional<int> replicas = std::nullopt);
  // Starts one more replica of a shard, with an empty directory, and returns when it is healthy. It waits to be taken
  // in (client::Client::ChangeReplica). kNotFound: no such shard. One that does not start is forgotten.
  absl::StatusOr<ProcessInfo> AddReplica(std::string_view shard);
  // Stops a replica that has left its group, and forgets it; its directory stays. Returns 1 if it had to be killed.
  absl::StatusOr<int> ForgetReplica(std::string_view name);

 private:
  class Spawner;
  explicit LocalCluster(LocalClusterOptions options);

  std::filesystem::path DirectoryOf(const ClusterProcess& process) const { return options_.directory / process.name; }
  std::vector<std::string> CommandOf(const ClusterFile& file, const ClusterProcess& process) const;
  // With the lock on the directory held; do not wait for what they start.
  absl::StatusOr<ClusterFile> NewCluster() const;
  absl::Status Launch(const ClusterFile& file, ClusterProcess* process);
  // What is missing of the cluster's network, if it is to have one.
  static absl::Status MakeNetwork(const ClusterFile& file);
  absl::Status SetCable(std::string_view name, bool plugged) const;
  // Removes the network if no process runs. Takes the lock.
  absl::Status RemoveIdleNetwork() const;
  // SIGTERM to all, then SIGKILL; returns how many needed that. Without the lock.
  int End(const std::vector<ClusterProcess>& processes) const;

  absl::Status StartAll();
  // Until the processes answer health checks, or one has ended.
  absl::Status AwaitHealthy(const std::vector<ClusterProcess>& processes) const;
  // Until a proxy says that every shard of `file` has a leader.
  absl::Status AwaitServing(const ClusterFile& file) const;
  absl::Status NotInterrupted() const;
  absl::Status EndedAtStart(const ClusterProcess& process) const;

  LocalClusterOptions options_;
  std::unique_ptr<Spawner> spawner_;
};

}  // namespace terrane::tools
