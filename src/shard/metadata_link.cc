#include "shard/metadata_link.h"

#include <atomic>
#include <utility>

#include "rpc/leader_client.h"
#include "terrane/v1/metadata.grpc.pb.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

namespace {

class GrpcMetadataLink final : public MetadataLink {
 public:
  GrpcMetadataLink(std::vector<std::string> endpoints, const rpc::TlsFiles& tls)
      : pool_({.tls = tls}), client_(&pool_, std::move(endpoints)) {}

  absl::StatusOr<v1::GetMigrationResponse> GetMigration(MigrationId id, std::chrono::milliseconds timeout) override {
    v1::GetMigrationRequest request;
    request.set_id(id.value());
    return Call<v1::GetMigrationResponse>(request, &v1::Metadata::Stub::GetMigration, timeout);
  }
  absl::StatusOr<v1::RegisterShardResponse> Register(const v1::RegisterShardRequest& request,
                                                     std::chrono::milliseconds timeout) override {
    return Call<v1::RegisterShardResponse>(request, &v1::Metadata::Stub::RegisterShard, timeout);
  }
  absl::StatusOr<v1::ShardHeartbeatResponse> Heartbeat(const v1::ShardHeartbeatRequest& request,
                                                       std::chrono::milliseconds timeout) override {
    return Call<v1::ShardHeartbeatResponse>(request, &v1::Metadata::Stub::ShardHeartbeat, timeout);
  }
  void Cancel() override {
    cancelled_ = true;
    client_.Cancel();
  }

 private:
  template <typename Response, typename Request>
  absl::StatusOr<Response> Call(const Request& request,
                                grpc::Status (v1::Metadata::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                           Response*),
                                std::chrono::milliseconds timeout) {
    Response response;
    absl::Status status =
        client_.Call(Clock::System()->Now() + timeout,
                     [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) {
                       response.Clear();
                       return (v1::Metadata::NewStub(channel).get()->*method)(context, request, &response);
                     });
    if (!status.ok() && cancelled_) return absl::CancelledError("this replica is stopping");
    if (!status.ok()) return status;
    return response;
  }

  rpc::ChannelPool pool_;
  rpc::LeaderClient client_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace

std::unique_ptr<MetadataLink> MetadataLink::Connect(std::vector<std::string> endpoints, const rpc::TlsFiles& tls) {
  return std::make_unique<GrpcMetadataLink>(std::move(endpoints), tls);
}

}  // namespace terrane::shard
