// gRPC service ShardExport: what the target of a move reads from this replica, leader or not.
//
// Segments and hashes run on a few threads of low priority, oplog requests, which somebody may be waiting for, on
// others. A request that waits costs a thread, not time: it sleeps until something is applied.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "common/clock.h"
#include "shard/ownership.h"
#include "storage/store.h"
#include "terrane/v1/shard.pb.h"

namespace grpc {
class Service;
}

namespace terrane::shard {

struct ExportOptions {
  storage::Store* store = nullptr;                              // outlives the service
  std::function<std::shared_ptr<const Ownership>()> ownership;  // as last published; thread-safe
  // Whether this replica may serve what a follower should (kFromFollowerKey): an error if it leads, or is cut off.
  // Null: it may.
  std::function<absl::Status()> follows;
  // Greatest position known to be committed. A target that reads from a replica that lags behind must know by how much.
  // Null: what is applied.
  std::function<Position()> committed;
  int bulk_threads = 4;
  int oplog_threads = 16;
  // One ReadOplog looks at so much of the oplog, whoever it is about, and at a slow disk for so long: the caller does
  // not wait for ever, and what has been looked at is lost to it if it has gone.
  int64_t oplog_scan_bytes = 32 << 20;
  std::chrono::milliseconds oplog_scan_time{1000};
  // Greatest amount that a request may ask to wait.
  std::chrono::milliseconds max_wait{5000};
  const Clock* clock = Clock::System();
};

class ExportService {
 public:
  static std::unique_ptr<ExportService> Make(ExportOptions options);
  virtual ~ExportService() = default;  // Stop() first

  virtual grpc::Service* service() = 0;
  // What was served since the start.
  virtual terrane::v1::ExportCounters Counters() const = 0;
  // Ends what waits; later requests are refused. Before the server is shut down.
  virtual void Stop() = 0;
};

}  // namespace terrane::shard
