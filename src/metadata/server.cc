#include "metadata/server.h"

#include <thread>

#include "common/logging.h"
#include "common/status.h"
#include "metadata/cluster_service.h"
#include "metadata/leader_tasks.h"
#include "metadata/metadata_service.h"
#include "metadata/node.h"
#include "migration/coordinator.h"
#include "migration/rpc_shard_gateway.h"
#include "replication/grpc_transport.h"
#include "rpc/server.h"

namespace terrane::metadata {
namespace {

constexpr std::string_view kGroup = "meta";
// Of a cluster whose id is made up by its first leader: the id is in the replicated state, the directory names this.
constexpr std::string_view kUnnamedCluster = "unnamed";
constexpr std::chrono::milliseconds kGrace(500);

class Server final : public MetadataServer {
 public:
  explicit Server(MetadataServerOptions options)
      : options_(std::move(options)), pool_(rpc::ChannelOptions{.tls = options_.tls}) {}

  ~Server() override { Stop(); }

  absl::Status Open() {
    TERRANE_RETURN_IF_ERROR(rpc::CheckListenAddress(options_.listen, options_.tls, options_.insecure));
    std::vector<replication::Member> members = options_.members;
    if (members.empty()) {
      members.push_back({options_.replica, options_.advertise.empty() ? options_.listen : options_.advertise});
    }
    TERRANE_ASSIGN_OR_RETURN(machine_, MetadataStateMachine::Open(options_.directory / "state"));
    Assemble(members);
    TERRANE_RETURN_IF_ERROR(OpenLog(members));
    return Listen();
  }

  std::string address() const override { return server_->address(); }

  void Stop() override {
    if (stopped_) return;
    stopped_ = true;
    if (log_) (void)log_->TransferLeadership();
    if (machine_) machine_->Interrupt();
    if (metadata_service_) metadata_service_->CutOffWatchers();
    // Handlers that wait for the log are answered when it stops.
    std::thread refuse([this] {
      if (server_) server_->Shutdown(kGrace);
    });
    if (coordinator_) coordinator_->Stop();
    if (backend_) backend_->Stop();
    if (log_) log_->Stop();
    // Handlers that wait for shards are answered now. Not before the coordinator has stopped, for which a shard that
    // refuses for good is a reason to end a move; and a check shall know that it is over before it hears of it.
    if (cluster_service_) cluster_service_->Cancel();
    if (shards_) shards_->Cancel();
    refuse.join();
    if (metadata_service_) metadata_service_->Stop();
    if (cluster_service_) cluster_service_->Stop();
    shards_.reset();
  }

 private:
  void Assemble(const std::vector<replication::Member>& members) {
    node_ = std::make_unique<Node>(Node::Options{.replica = options_.replica, .members = members}, machine_.get());
    shards_ =
        migration::MakeRpcShardGateway(&pool_, [this](const std::string& shard) { return node_->Endpoints(shard); });
    node_->SetShards(shards_.get());
    coordinator_ = std::make_unique<migration::Coordinator>(node_->clock(), node_.get(), shards_.get());
    backend_ = std::make_unique<CollectionBackend>(node_.get());
    metadata_service_ = std::make_unique<MetadataService>(node_.get());
    cluster_service_ = std::make_unique<ClusterService>(node_.get(), coordinator_.get(), &pool_);
    tasks_ = std::make_unique<LeaderTasks>(node_.get(), coordinator_.get(), backend_.get(), metadata_service_.get(),
                                           options_.cluster);
    machine_->SetListener(tasks_.get());
  }

  absl::Status OpenLog(const std::vector<replication::Member>& members) {
    replication::ReplicatedLog::Options log;
    log.directory = options_.directory;
    log.identity = {options_.cluster.empty() ? std::string(kUnnamedCluster) : options_.cluster, std::string(kGroup),
                    options_.replica};
    log.members = members;
    log.timeouts = options_.timeouts;
    if (members.size() > 1) {
      transport_ = replication::MakeGrpcTransport({.identity = log.identity, .members = members, .tls = options_.tls});
      log.transport = transport_.get();
    }
    TERRANE_ASSIGN_OR_RETURN(log_, replication::ReplicatedLog::Open(std::move(log), machine_.get()));
    node_->SetLog(log_.get());
    return absl::OkStatus();
  }

  absl::Status Listen() {
    std::vector<grpc::Service*> services = cluster_service_->services();
    services.push_back(metadata_service_->service());
    if (transport_) services.push_back(transport_->service());
    TERRANE_ASSIGN_OR_RETURN(
        server_,
        rpc::Server::Start({.address = options_.listen, .tls = options_.tls, .insecure = options_.insecure}, services));
    node_->SetAddress(server_->address());
    return absl::OkStatus();
  }

  const MetadataServerOptions options_;
  bool stopped_ = false;
  rpc::ChannelPool pool_;
  // In the order in which they are made; each uses those before it.
  std::unique_ptr<MetadataStateMachine> machine_;
  std::unique_ptr<Node> node_;
  std::unique_ptr<migration::ShardGateway> shards_;
  std::unique_ptr<migration::Coordinator> coordinator_;
  std::unique_ptr<CollectionBackend> backend_;
  std::unique_ptr<MetadataService> metadata_service_;
  std::unique_ptr<ClusterService> cluster_service_;
  std::unique_ptr<LeaderTasks> tasks_;
  std::unique_ptr<replication::GrpcTransport> transport_;
  std::unique_ptr<replication::ReplicatedLog> log_;
  std::unique_ptr<rpc::Server> server_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetadataServer>> MetadataServer::Start(MetadataServerOptions options) {
  auto server = std::make_unique<Server>(std::move(options));
  TERRANE_RETURN_IF_ERROR(server->Open());
  return server;
}

}  // namespace terrane::metadata
