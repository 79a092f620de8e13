// One replica of one shard as a server: what terrane-shard runs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "replication/replicated_log.h"
#include "rpc/credentials.h"

namespace terrane {
class DiskFaults;
}

namespace terrane::shard {

struct ShardServerOptions {
  std::filesystem::path directory;     // of its data; made if missing
  std::string listen = "127.0.0.1:0";  // port 0: any free one
  std::string advertise;               // host:port that others are told; empty: the bound one
  std::string cluster;  // id of the cluster; empty: as the metadata service says at the first registration
  std::string shard;    // "s1"
  ReplicaId replica{1};
  std::vector<replication::Member> members;  // of the group, this one included; empty: this one alone
  // An empty directory is that of a replica that joins a group which exists (replication/replicated_log.h).
  bool join = false;
  std::vector<std::string> metadata;  // endpoints of terrane-meta, at least one
  rpc::TlsFiles tls;
  bool insecure = false;  // allows an address that is not loopback without TLS
  replication::Timeouts timeouts;
  // Below this much free space writes are refused; 0: see storage::StoreOptions.
  int64_t disk_reserve_bytes = 0;
  int64_t cache_bytes = 64 << 20;  // RocksDB's block cache
  // Of checkpoints for other replicas, all together, per second; 0: no limit.
  int64_t checkpoint_bytes_per_second = 64 << 20;
  // For tests and the bench: a disk of the log and of the store that goes wrong by rules. Null: the machine's.
  std::shared_ptr<DiskFaults> disk_faults;
  // For tests: the clock by which the group's leases and elections run. Lives as long as the server.
  Clock* raft_clock = Clock::System();
  // In a group of several: this directory cannot go on, but the group can (rejoin.h sets it). Null: the process ends.
  std::function<void(const absl::Status&)> on_rejoin;
  // A failing disk while running ends the process with exit code 70 (replication/replicated_log.h), and so does damage
  // that a write or a compaction meets without on_rejoin or without another voter.
};

// Thread-safe.
class ShardServer {
 public:
  // Recovers the directory and listens; serves (health says SERVING) from the return on, and registers with the
  // metadata service in the background until that has worked.
  //   kInvalidArgument     the options
  //   kUnavailable         the address is in use
  //   kFailedPrecondition  the directory is in use, somebody else's, or of a newer format: the message says which
  //   kDataLoss            damaged: the message names file and place. In a group of several it begins again from its
  //                        peers instead (rejoin.h)
  static absl::StatusOr<std::unique_ptr<ShardServer>> Start(ShardServerOptions options);
  virtual ~ShardServer() = default;  // stops

  // The bound host:port.
  virtual std::string address() const = 0;
  // Refuses new requests, lets running ones end for up to a second, stops the log. Idempotent; blocks.
  virtual void Stop() = 0;
};

}  // namespace terrane::shard
