// A cluster of real processes for tests: in a temporary directory, gone with the object.
//
//   auto cluster = MiniCluster::Start({.shards = 3, .metadata = 3});
//   ASSERT_TRUE(cluster.ok()) << cluster.status();
//   (*cluster)->client().Insert("shop.orders", {order});
//   (*cluster)->processes().Kill("s1-a");
//
// The processes die with the test, also if it crashes or is killed. After a failed test the directory stays, and its
// path is printed. The test binary must depend on the programs (CMake: terrane_cluster_test).
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/client.h"
#include "support/disk_control.h"
#include "support/fault_network.h"
#include "tools/local_cluster.h"

namespace terrane::testing {

struct MiniClusterOptions {
  int shards = 2;
  int replicas = 1;  // of each shard
  int metadata = 1;
  int proxies = 1;
  bool network = false;      // a bad network between any two of its processes
  bool netns = false;        // each process in a network namespace of its own; not together with `network`
  bool disk_faults = false;  // disks of shards' replicas that can go wrong
  // More flags for all processes of a role.
  std::map<tools::Role, std::vector<std::string>> flags;
  // More flags for one process, by its name.
  std::map<std::string, std::vector<std::string>> process_flags;
};

struct CliResult {
  int exit = 0;
  std::string out;
  std::string err;
};

class MiniCluster {
 public:
  // Returns when the cluster serves.
  static absl::StatusOr<std::unique_ptr<MiniCluster>> Start(MiniClusterOptions options = {});
  ~MiniCluster();

  // To kill, pause, restart and so on.
  tools::LocalCluster& processes() { return *processes_; }
  const std::filesystem::path& directory() const { return directory_; }
  // REQUIRES: started with .network = true
  FaultNetwork& network() { return *network_; }
  // Of a replica, by the name of its process. REQUIRES: started with .disk_faults = true
  DiskControl disk(std::string_view name) const { return DiskControl(directory_ / name / "disk-faults"); }
  // Endpoint of one process, by name.
  std::string Endpoint(std::string_view name) const;

  // One client that all may use, of all proxies, with the library's defaults.
  client::Client& client() { return *client_; }
  std::unique_ptr<client::Client> NewClient(client::Options options = {}) const;

  // Runs `terrane ARGUMENTS... --dir <this cluster>` within this process.
  CliResult Terrane(std::vector<std::string> arguments) const;

 private:
  MiniCluster() = default;
  std::filesystem::path directory_;
  std::unique_ptr<FaultNetwork> network_;
  std::unique_ptr<tools::LocalCluster> processes_;
  std::unique_ptr<client::Client> client_;
};

}  // namespace terrane::testing
