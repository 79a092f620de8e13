#include <thread>

#include "common/status.h"
#include "process_usage.h"
#include "sections.h"

namespace terrane::bench {

absl::StatusOr<std::unique_ptr<tools::LocalCluster>> StartCluster(const BenchOptions& options, const std::string& name,
                                                                  int shards, std::vector<std::string> shard_flags,
                                                                  int metadata, int replicas) {
  tools::LocalClusterOptions cluster;
  cluster.directory = options.directory / name;
  cluster.shards = shards;
  cluster.metadata = metadata;
  cluster.replicas = replicas;
  cluster.tied = true;
  cluster.programs = options.programs;
  if (!shard_flags.empty()) cluster.flags[tools::Role::kShard] = std::move(shard_flags);
  std::filesystem::create_directories(cluster.directory);
  return tools::LocalCluster::Start(std::move(cluster));
}

absl::Status BenchIdle(const BenchOptions& options, Table* table) {
  TERRANE_ASSIGN_OR_RETURN(const auto cluster, StartCluster(options, "idle", 3));
  const std::chrono::seconds length(options.quick ? 3 : 15);
  std::vector<ProcessUsage> before;
  for (const auto& info : cluster->Processes()) before.push_back(UsageOf(info.process.process.pid));
  std::this_thread::sleep_for(length);  // idleness is what is measured
  double cpu = 0;
  double most = 0;
  size_t i = 0;
  for (const auto& info : cluster->Processes()) {
    const ProcessUsage now = UsageOf(info.process.process.pid);
    cpu += now.cpu_seconds - before[i++].cpu_seconds;
    most = std::max(most, now.resident_mb);
  }
  table->Add({"idle cluster of 3 shards", "CPU, all processes", 100 * cpu / static_cast<double>(length.count()),
              "% core", std::nullopt, "", ""});
  table->Add({"idle cluster of 3 shards", "memory, largest process", most, "MB", std::nullopt, "", ""});
  return absl::OkStatus();
}

}  // namespace terrane::bench
