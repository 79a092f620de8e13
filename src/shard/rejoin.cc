#include "shard/rejoin.h"

#include <condition_variable>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "common/logging.h"
#include "common/process.h"
#include "common/status.h"
#include "replication/file_system.h"

namespace terrane::shard {
namespace {

namespace fs = std::filesystem;

class RejoiningServer final : public ShardServer {
 public:
  RejoiningServer(ShardServerOptions options, StartServer start)
      : options_(std::move(options)), start_(std::move(start)) {}
  ~RejoiningServer() override { Stop(); }

  absl::Status Start() {
    absl::StatusOr<std::unique_ptr<ShardServer>> server = start_(OptionsOfLife());
    if (absl::IsDataLoss(server.status())) server = BeginAgain(server.status());
    TERRANE_RETURN_IF_ERROR(server.status());
    std::lock_guard lock(mutex_);
    server_ = *std::move(server);
    address_ = server_->address();
    thread_ = std::thread([this] { Run(); });
    return absl::OkStatus();
  }

  std::string address() const override { return address_; }

  void Stop() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
    if (server_) server_->Stop();
  }

 private:
  ShardServerOptions OptionsOfLife() {
    ShardServerOptions options = options_;
    std::lock_guard lock(mutex_);
    ++life_;
    why_.reset();
    options.on_rejoin = [this, life = life_](const absl::Status& why) {
      std::lock_guard lock(mutex_);
      // What an earlier life still says of its data is no word on these.
      if (life != life_ || why_) return;
      why_ = why;
      changed_.notify_all();
    };
    return options;
  }

  absl::StatusOr<std::unique_ptr<ShardServer>> BeginAgain(const absl::Status& why) {
    LogWarn("shard", "sets its data aside and begins again from its peers",
            {{"directory", options_.directory.native()}, {"why", MessageOf(why)}});
    TERRANE_RETURN_IF_ERROR(SetAside(options_.directory));
    options_.join = true;
    return start_(OptionsOfLife());
  }

  void Run() {
    while (true) {
      absl::Status why;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stopping_ || why_.has_value(); });
        if (stopping_) return;
        why = *why_;
      }
      server_.reset();
      // Where others know it to be.
      options_.listen = address_;
      absl::StatusOr<std::unique_ptr<ShardServer>> server = BeginAgain(why);
      if (!server.ok()) {
        LogError("shard", "cannot begin again", {{"status", server.status()}});
        FlushLogs();
        std::cerr << "error: " << MessageOf(server.status()) << std::endl;
        std::_Exit(ExitCodeFor(server.status()));
      }
      server_ = *std::move(server);
    }
  }

  ShardServerOptions options_;  // Start, then only Run
  const StartServer start_;
  std::string address_;                  // const after Start
  std::unique_ptr<ShardServer> server_;  // Start, then only Run, then Stop
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t life_ = 0;
  std::optional<absl::Status> why_;  // this life has to end
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

absl::Status SetAside(const fs::path& directory) {
  replication::FileSystem* const files = replication::FileSystem::System();
  for (const char* name : {"raft", "store"}) {
    const fs::path from = directory / name;
    const fs::path to = directory / StrCat(name, ".damaged");
    std::error_code error;
    if (!fs::exists(from, error)) continue;
    TERRANE_RETURN_IF_ERROR(files->RemoveAll(to));
    fs::rename(from, to, error);
    if (error) return Unavailable("cannot set ", from.native(), " aside: ", error.message());
  }
  return files->SyncDirectory(directory);
}

absl::StatusOr<std::unique_ptr<ShardServer>> StartRejoining(ShardServerOptions options, StartServer start) {
  auto server = std::make_unique<RejoiningServer>(std::move(options), std::move(start));
  TERRANE_RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace terrane::shard
