#include "support/mini_cluster.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <iostream>
#include <sstream>

#include "common/status.h"
#include "tools/cli.h"

namespace terrane::testing {
namespace {

// Sanitizers make everything slower: elections must not begin because of that.
void AddSanitizerFlags([[maybe_unused]] std::map<tools::Role, std::vector<std::string>>* flags) {
#ifdef TERRANE_SANITIZED
  for (tools::Role role : {tools::Role::kMetadata, tools::Role::kShard}) {
    for (const char* flag : {"--heartbeat=250ms", "--election-min=1500ms", "--election-max=3s", "--slow-disk=1500ms"}) {
      (*flags)[role].push_back(flag);
    }
  }
#endif
}

}  // namespace

absl::StatusOr<std::unique_ptr<MiniCluster>> MiniCluster::Start(MiniClusterOptions options) {
  // The links listen on 127.0.0.1 of the test, which is not that of the processes.
  if (options.netns && options.network) return InvalidArgument("netns and network exclude each other");
  std::unique_ptr<MiniCluster> cluster(new MiniCluster());
  std::string directory = (std::filesystem::path(::testing::TempDir()) / "terrane-XXXXXX").native();
  if (mkdtemp(directory.data()) == nullptr) return absl::ErrnoToStatus(errno, ToAbsl(directory));
  cluster->directory_ = directory;
  tools::LocalClusterOptions local;
  local.directory = directory;
  local.shards = options.shards;
  local.replicas = options.replicas;
  local.metadata = options.metadata;
  local.proxies = options.proxies;
  local.netns = options.netns;
  local.flags = std::move(options.flags);
  local.process_flags = std::move(options.process_flags);
  local.tied = true;
  local.programs = std::filesystem::path(TERRANE_BINARY_DIR) / "bin";
  if (options.network) {
    TERRANE_ASSIGN_OR_RETURN(cluster->network_, FaultNetwork::Start());
    local.route = [network = cluster->network_.get()](const auto& from, const auto& to) {
      return network->Route(from.name, to.name, to.endpoint);
    };
  }
  if (options.disk_faults) local.flags[tools::Role::kShard].push_back("--test-disk-faults=disk-faults");
  AddSanitizerFlags(&local.flags);
  TERRANE_ASSIGN_OR_RETURN(cluster->processes_, tools::LocalCluster::Start(std::move(local)));
  cluster->client_ = cluster->NewClient();
  return cluster;
}

MiniCluster::~MiniCluster() {
  client_.reset();
  processes_.reset();  // stops
  if (::testing::Test::HasFailure() || directory_.empty()) {
    std::cerr << "the cluster's directory is left for a look: " << directory_ << std::endl;
    return;
  }
  std::error_code error;
  std::filesystem::remove_all(directory_, error);
}

std::string MiniCluster::Endpoint(std::string_view name) const {
  absl::StatusOr<tools::ProcessInfo> info = processes_->Process(name);
  return info.ok() ? info->process.endpoint : "";
}

std::unique_ptr<client::Client> MiniCluster::NewClient(client::Options options) const {
  options.proxies = processes_->ProxyEndpoints();
  return client::Client::Connect(std::move(options)).value();
}

CliResult MiniCluster::Terrane(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), "terrane");
  arguments.push_back("--dir=" + directory_.native());
  std::vector<const char*> argv;
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  std::ostringstream out, err;
  CliResult result;
  result.exit = tools::RunCli(static_cast<int>(argv.size()), argv.data(), out, err);
  result.out = out.str();
  result.err = err.str();
  return result;
}

}  // namespace terrane::testing
