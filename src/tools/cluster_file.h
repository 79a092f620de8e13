// D/cluster: what a local cluster consists of. Text, one line for each process, so that a person can read it:
//
//   format=1 cluster=4f0c.. replicas=3
//   process name=s1-a role=shard shard=s1 replica=1 endpoint=127.0.0.1:12017 pid=4711 started=889120
//   flag role=shard --log-level=debug
//
// One with a network of its own (network_namespaces.h) has format 2 and a line more:
//
//   network name=3f9a1c subnet=198.18.7.0/24
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/child_process.h"
#include "tools/network_namespaces.h"

namespace terrane::tools {

enum class Role { kMetadata, kShard, kProxy };
// "metadata", "shard", "proxy".
std::string_view RoleName(Role role);

struct ClusterProcess {
  std::string name;  // "m1", "s1-a", "p1"
  Role role = Role::kProxy;
  std::string shard;     // "s1"; shards only
  uint64_t replica = 0;  // from 1; metadata nodes and shards
  std::string endpoint;  // host:port, kept for restarts
  ProcessId process;     // as last started
  bool join = false;     // shards: a replica that was added to its group
};

struct ClusterNetwork {
  std::string name;
  std::string subnet;

  NetworkNamespaces Namespaces() const { return {name, subnet}; }
};

struct ClusterFile {
  std::string cluster;   // id of the cluster
  std::string programs;  // directory of the programs, if it was given; empty: next to whoever starts them
  int replicas = 0;      // of each shard, as the cluster was made; 0: an older version made it and did not say
  std::optional<ClusterNetwork> network;  // in which each process has a namespace; else all are on 127.0.0.1
  std::vector<ClusterProcess> processes;
  std::map<Role, std::vector<std::string>> flags;  // beyond those that every process gets

  ClusterProcess* Find(std::string_view name);
  const ClusterProcess* Find(std::string_view name) const;
  std::vector<std::string> Endpoints(Role role) const;
  // The replicas of a shard. Empty: there is no such shard.
  std::vector<ClusterProcess*> OfShard(std::string_view shard);

  // What `replicas` says, or for a cluster of an older version what its shards were made with, as far as can be seen.
  int ReplicasOfNewShard() const;

  // kNotFound: `directory` holds no cluster; kDataLoss: the file cannot be read; kFailedPrecondition: it was written by
  // a newer version.
  static absl::StatusOr<ClusterFile> Load(const std::filesystem::path& directory);
  // Atomic.
  absl::Status Save(const std::filesystem::path& directory) const;
  static void Remove(const std::filesystem::path& directory);
};

}  // namespace terrane::tools
