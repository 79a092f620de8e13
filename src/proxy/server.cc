#include "proxy/server.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "common/executor.h"
#include "common/logging.h"
#include "common/status.h"
#include "common/timer.h"
#include "proxy/catalog.h"
#include "proxy/cluster_forwarder.h"
#include "proxy/document_service.h"
#include "proxy/holds.h"
#include "proxy/metadata_watcher.h"
#include "proxy/routed_call.h"
#include "proxy/shard_links.h"
#include "rpc/server.h"

namespace terrane::proxy {
namespace {

constexpr int kAdminWorkers = 8;
constexpr int kSlowWorkers = 8;          // for what reads whole chunks
constexpr int kWorkers = 2;              // that send held requests out again
constexpr int kConnectionsPerShard = 2;  // one HTTP/2 connection is served by one thread at a time
constexpr std::chrono::seconds kGrace{1};

absl::Status Check(const ProxyServerOptions& options) {
  if (options.metadata.empty())
    return InvalidArgument("no endpoint of the metadata service is given (--metadata host:port,...)");
  for (const std::string& endpoint : options.metadata) {
    if (endpoint.find(':') == std::string::npos)
      return InvalidArgument("metadata endpoint '", endpoint, "' has no port");
  }
  if (options.default_deadline.count() <= 0) return InvalidArgument("the default deadline must be positive");
  return absl::OkStatus();
}

class ProxyServerImpl final : public ProxyServer {
 public:
  explicit ProxyServerImpl(ProxyServerOptions options)
      : options_(std::move(options)),
        workers_("proxy", kWorkers),
        admin_("admin", kAdminWorkers, 1024),
        slow_("admin-slow", kSlowWorkers, 1024),
        metadata_pool_(rpc::ChannelOptions{.tls = options_.tls}),
        metadata_(&metadata_pool_, options_.metadata),
        links_(rpc::ChannelOptions{.tls = options_.tls}, kConnectionsPerShard),
        holds_(
            HoldLimits{
                .time = options_.max_hold, .requests = options_.max_held_requests, .bytes = options_.max_held_bytes},
            &workers_, &timer_) {}
  ~ProxyServerImpl() override { Stop(); }

  absl::Status Start() {
    table_.AddListener([this](const std::shared_ptr<const routing::ChunkMap>& map) {
      links_.Update(*map, [this](const ShardLink* link, std::string_view leader) {
        in_flight_.CancelAtOtherLeaders(link, leader);
      });
      holds_.OnRoutes(*map);
    });
    watcher_ = std::make_unique<MetadataWatcher>(&metadata_, &table_, &timer_);
    holds_.OnLongHold([this] { watcher_->RefreshIfIdle(); });
    catalog_ = std::make_unique<Catalog>(&table_, watcher_.get());
    calls_ = {&table_, &links_, &holds_, watcher_.get(), &timer_, &in_flight_};
    statements_ = {&calls_, catalog_.get(), &session_, options_.default_deadline};
    services_.push_back(MakeDocumentService(&statements_));
    for (auto& service : MakeClusterForwarders(&metadata_, &admin_, &slow_)) services_.push_back(std::move(service));
    std::vector<grpc::Service*> services;
    for (const auto& service : services_) services.push_back(service.get());
    TERRANE_ASSIGN_OR_RETURN(
        server_,
        rpc::Server::Start({.address = options_.listen, .tls = options_.tls, .insecure = options_.insecure}, services));
    return absl::OkStatus();
  }

  std::string address() const override { return server_->address(); }

  void Stop() override {
    std::lock_guard lock(stop_mutex_);
    if (stopped_) return;
    stopped_ = true;
    holds_.Stop();
    // What still waits for others after the grace is told so; then every handler comes to its end.
    timer_.After(kGrace, [this] {
      metadata_.Cancel();
      in_flight_.CancelAll();
    });
    if (server_ != nullptr) server_->Shutdown(kGrace);
    if (watcher_ != nullptr) watcher_->Stop();
    timer_.Stop();
    workers_.Stop();
    admin_.Stop();
    slow_.Stop();
  }

 private:
  const ProxyServerOptions options_;
  Timer timer_;
  Executor workers_;
  Executor admin_;
  Executor slow_;
  rpc::ChannelPool metadata_pool_;
  rpc::LeaderClient metadata_;
  routing::RouteTable table_;
  ShardLinks links_;
  Holds holds_;
  CallsInFlight in_flight_;
  ProxySession session_;
  std::unique_ptr<MetadataWatcher> watcher_;
  std::unique_ptr<Catalog> catalog_;
  CallEnvironment calls_{};
  StatementEnvironment statements_{};
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<rpc::Server> server_;
  std::mutex stop_mutex_;
  bool stopped_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ProxyServer>> ProxyServer::Start(ProxyServerOptions options) {
  TERRANE_RETURN_IF_ERROR(Check(options));
  auto server = std::make_unique<ProxyServerImpl>(std::move(options));
  TERRANE_RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace terrane::proxy
