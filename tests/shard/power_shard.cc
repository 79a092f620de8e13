#include "power_shard.h"

#include <utility>

#include "common/status.h"
#include "support/await.h"

namespace terrane::shard {

PowerShard::PowerShard(std::filesystem::path directory, std::string name, std::function<void()> on_operation,
                       std::function<void(const absl::Status&)> on_fatal)
    : directory_(std::move(directory)), name_(std::move(name)), on_fatal_(std::move(on_fatal)) {
  std::filesystem::create_directories(directory_);
  log_disk_.SetOperationHook(on_operation);
  store_disk_->SetOperationHook(on_operation);
  store_disk_->SetRealSyncs(false);
}

PowerShard::~PowerShard() {
  Stop();
  Destroy();
}

void PowerShard::Fatal(const absl::Status& status) {
  if (powered_) on_fatal_(status);
}

absl::Status PowerShard::Start() {
  absl::Status status = Open();
  if (!status.ok()) {
    Stop();
    Destroy();
  }
  return status;
}

absl::Status PowerShard::Open() {
  ShardHost::Options options;
  options.shard = name_;
  options.workers = 2;
  options.store.directory = directory_;
  options.store.faults = store_disk_;
  options.store.on_fatal = [this](const absl::Status& status) { Fatal(status); };
  // Small, so that memtables are flushed, files compacted and copies removed all the time.
  options.store.write_buffer_bytes = 64 << 10;
  options.store.block_cache_bytes = 1 << 20;
  options.store.drop_batch_keys = 100;
  options.store.drop_pause = std::chrono::milliseconds(1);
  TERRANE_ASSIGN_OR_RETURN(host_, ShardHost::Open(std::move(options)));

  replication::ReplicatedLog::Options log;
  log.directory = "/" + name_;
  log.identity = {.cluster = "test", .group = name_, .replica = ReplicaId(1)};
  log.members = {{ReplicaId(1), "127.0.0.1:1"}};
  log.file_system = &log_disk_;
  log.segment_bytes = 32 << 10;
  log.keep_bytes = keep_log_bytes;
  log.on_fatal = [this](const absl::Status& status) { Fatal(status); };
  TERRANE_RETURN_IF_ERROR(host_->OpenLog(std::move(log)));
  if (!testing::Await([&] { return host_->proposer().ServingTerm().ok() || !powered_; })) {
    return Unavailable("shard ", name_, " does not lead");
  }
  if (!powered_) return Unavailable("the power is gone");

  const auto ownership = [this] { return host_->applier().View(); };
  exports_ =
      ExportService::Make({.store = &host_->store(), .ownership = ownership, .bulk_threads = 2, .oplog_threads = 2});
  TERRANE_ASSIGN_OR_RETURN(server_, rpc::Server::Start({}, {exports_->service()}));
  ImportManager::Options imports;
  imports.host = MakeImportHost(&host_->core());
  imports.make_source = [this](std::vector<std::string> endpoints) {
    return MakeGrpcImportSource(&pool_, std::move(endpoints));
  };
  imports.serving = [this] { return host_->proposer().ServingTerm().status(); };
  imports.driver.segment_bytes = 32 << 10;
  imports.driver.verify_range_bytes = 32 << 10;
  imports.driver.poll_wait = std::chrono::milliseconds(50);
  imports_ = std::make_unique<ImportManager>(std::move(imports));
  return absl::OkStatus();
}

void PowerShard::Stop() {
  if (imports_) imports_->Stop();
  if (exports_) exports_->Stop();
  if (host_) host_->Stop();
  if (server_) server_->Shutdown(std::chrono::milliseconds(200));
}

void PowerShard::Destroy() {
  imports_.reset();
  server_.reset();
  exports_.reset();
  host_.reset();
}

void PowerShard::PowerOff(std::mt19937_64* random) {
  powered_ = false;
  // The log first: the store does not notice its end, and could let the log be cut for syncs that mean nothing.
  log_disk_.PowerOff(random);
  store_disk_->PowerCut((*random)() | 1);
}

absl::Status PowerShard::PowerOn() {
  TERRANE_RETURN_IF_ERROR(store_disk_->Restore());
  log_disk_.PowerOn();
  powered_ = true;
  return absl::OkStatus();
}

}  // namespace terrane::shard
