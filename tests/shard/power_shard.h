// A whole shard of one replica whose power can be cut: log file and store lose what is not synced.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "shard/export_service.h"
#include "shard/import_manager.h"
#include "shard/shard_host.h"
#include "storage/fault_injection.h"
#include "support/fault_file_system.h"

namespace terrane::shard {

// Start, Stop and Destroy on one thread; the rest on any. `on_operation` is called before each thing that is done to
// the shard's disk, on the thread that does it; `on_fatal` when the shard gives up while it has power.
class PowerShard {
 public:
  PowerShard(std::filesystem::path directory, std::string name, std::function<void()> on_operation,
             std::function<void(const absl::Status&)> on_fatal);
  ~PowerShard();

  // Returns when it serves, or why it does not.
  absl::Status Start();
  // Whoever waits for it is answered; calls that come later are refused. What host() and imports() gave stays valid.
  void Stop();
  void Destroy();  // after Stop

  // The power goes: see FaultFileSystem::PowerOff and FaultInjection::PowerCut. From then on nothing is durable any
  // more, and nobody is told that it was. Then Stop, Destroy, PowerOn, Start.
  void PowerOff(std::mt19937_64* random);
  absl::Status PowerOn();

  const std::string& name() const { return name_; }
  ShardHost& host() { return *host_; }
  ImportManager& imports() { return *imports_; }
  const std::string& address() const { return server_->address(); }
  // So much of the log is kept; small, so that it is cut all the time. Before Start.
  uint64_t keep_log_bytes = 64 << 10;

  testing::FaultFileSystem& log_disk() { return log_disk_; }
  storage::FaultInjection& store_disk() { return *store_disk_; }

 private:
  absl::Status Open();
  void Fatal(const absl::Status& status);

  const std::filesystem::path directory_;
  const std::string name_;
  const std::function<void(const absl::Status&)> on_fatal_;
  std::atomic<bool> powered_{true};
  testing::FaultFileSystem log_disk_;
  const std::shared_ptr<storage::FaultInjection> store_disk_ = storage::FaultInjection::Create();
  rpc::ChannelPool pool_;
  std::unique_ptr<ShardHost> host_;
  std::unique_ptr<ExportService> exports_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<ImportManager> imports_;
};

}  // namespace terrane::shard
