// The sections of the bench. Each starts what it measures, measures its limit beside it, and ends everything again.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "table.h"
#include "tools/local_cluster.h"

namespace terrane::bench {

struct BenchOptions {
  bool quick = false;
  std::filesystem::path directory;  // an empty one of its own, on the disk to measure
  std::filesystem::path programs;
  std::chrono::milliseconds Length() const { return std::chrono::milliseconds(quick ? 1'000 : 5'000); }
  std::chrono::milliseconds WarmUp() const { return std::chrono::milliseconds(quick ? 200 : 1'000); }
};

// A cluster under options.directory/name that ends with the object.
absl::StatusOr<std::unique_ptr<tools::LocalCluster>> StartCluster(const BenchOptions& options, const std::string& name,
                                                                  int shards, std::vector<std::string> shard_flags = {},
                                                                  int metadata = 1, int replicas = 1);

// Entries of `entry_bytes` per second that the bare Raft host commits with `window` of them on their way: 3 nodes in
// one process.
absl::StatusOr<double> RaftHostRate(const BenchOptions& options, int window, size_t entry_bytes);

// Point reads and durable writes through the proxy against a two-hop echo, at 1 and 16 clients.
absl::Status BenchRequests(const BenchOptions& options, Table* table);
// Durable writes when every sync takes 4 ms, at 1, 16 and 64 clients, against an echo with the same syncs.
absl::Status BenchSlowSyncs(const BenchOptions& options, Table* table);
// Durable writes on a shard of three replicas, at 1, 16 and 64 clients, against a shard of one and the bare Raft host.
absl::Status BenchReplicas(const BenchOptions& options, Table* table);
// The Raft core and its host: 3 nodes in one process.
absl::Status BenchRaftHost(const BenchOptions& options, Table* table);
// One move against plain scan + SST + ingest of the same documents; foreground latency with and without moves; bytes
// written to disk per byte of document.
absl::Status BenchMove(const BenchOptions& options, Table* table);
// The pauses of many moves of small chunks, as a client with >= 200 operations/s on the chunk sees them.
absl::Status BenchPauses(const BenchOptions& options, Table* table);
// How long the metadata service takes no command when its leader is killed.
absl::Status BenchFailover(const BenchOptions& options, Table* table);
// CPU and memory of an idle cluster of three shards.
absl::Status BenchIdle(const BenchOptions& options, Table* table);

}  // namespace terrane::bench
