#include "proxy/cluster_forwarder.h"

#include "common/status.h"
#include "rpc/stream.h"
#include "rpc/unary.h"
#include "terrane/v1/cluster.grpc.pb.h"

namespace terrane::proxy {
namespace {

constexpr std::chrono::seconds kDefaultDeadline{30};
constexpr std::chrono::hours kCheckDeadline{1};
constexpr std::chrono::hours kSplitDeadline{1};  // it reads the whole chunk
constexpr std::chrono::seconds kAttemptTimeout{5};
constexpr std::chrono::hours kAllTheTime{24 * 365};  // that the deadline leaves

// May the request be sent again when its outcome is unknown?
enum class Repeat { kAlways, kNever };

template <typename Service, typename Request, typename Response>
grpc::ServerUnaryReactor* Forward(rpc::LeaderClient* metadata, Executor* executor, grpc::CallbackServerContext* context,
                                  const Request* request, Response* response,
                                  grpc::Status (Service::StubInterface::*method)(grpc::ClientContext*, const Request&,
                                                                                 Response*),
                                  Repeat repeat, std::chrono::seconds otherwise = kDefaultDeadline) {
  return rpc::RunBlocking(context, executor, [=](const rpc::Call& call) {
    const auto attempt = [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* client) {
      response->Clear();
      const auto stub = Service::NewStub(channel);
      return (static_cast<typename Service::StubInterface*>(stub.get())->*method)(client, *request, response);
    };
    // Something that can not be repeated gets all the time there is.
    const MonotonicTime deadline = call.DeadlineOr(otherwise);
    return metadata->Call(deadline, attempt, repeat == Repeat::kAlways ? kAttemptTimeout : kAllTheTime,
                          repeat == Repeat::kAlways);
  });
}

class CollectionsForwarder final : public v1::Collections::CallbackService {
 public:
  CollectionsForwarder(rpc::LeaderClient* metadata, Executor* executor) : metadata_(metadata), executor_(executor) {}

  grpc::ServerUnaryReactor* Create(grpc::CallbackServerContext* context, const v1::CreateCollectionRequest* request,
                                   v1::CreateCollectionResponse* response) override {
    return Forward<v1::Collections>(metadata_, executor_, context, request, response,
                                    &v1::Collections::StubInterface::Create, ById(request->request_id()));
  }
  grpc::ServerUnaryReactor* Drop(grpc::CallbackServerContext* context, const v1::DropCollectionRequest* request,
                                 v1::DropCollectionResponse* response) override {
    return Forward<v1::Collections>(metadata_, executor_, context, request, response,
                                    &v1::Collections::StubInterface::Drop, ById(request->request_id()));
  }
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context, const v1::ListCollectionsRequest* request,
                                 v1::ListCollectionsResponse* response) override {
    return Forward<v1::Collections>(metadata_, executor_, context, request, response,
                                    &v1::Collections::StubInterface::List, Repeat::kAlways);
  }

 private:
  static Repeat ById(const std::string& request_id) { return request_id.empty() ? Repeat::kNever : Repeat::kAlways; }
  rpc::LeaderClient* const metadata_;
  Executor* const executor_;
};

class ClusterForwarder final : public v1::Cluster::CallbackService {
 public:
  ClusterForwarder(rpc::LeaderClient* metadata, Executor* executor, Executor* slow)
      : metadata_(metadata), executor_(executor), slow_(slow) {}

  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context, const v1::StatusRequest* request,
                                   v1::StatusResponse* response) override {
    return Pass(context, request, response, &v1::Cluster::StubInterface::Status);
  }
  grpc::ServerUnaryReactor* ListChunks(grpc::CallbackServerContext* context, const v1::ListChunksRequest* request,
                                       v1::ListChunksResponse* response) override {
    return Pass(context, request, response, &v1::Cluster::StubInterface::ListChunks);
  }
  grpc::ServerUnaryReactor* SplitChunk(grpc::CallbackServerContext* context, const v1::SplitChunkRequest* request,
                                       v1::SplitChunkResponse* response) override {
    return Forward<v1::Cluster>(metadata_, slow_, context, request, response, &v1::Cluster::StubInterface::SplitChunk,
                                Repeat::kNever, kSplitDeadline);
  }
  grpc::ServerUnaryReactor* MoveChunk(grpc::CallbackServerContext* context, const v1::MoveChunkRequest* request,
                                      v1::MoveChunkResponse* response) override {
    return Pass(context, request, response, &v1::Cluster::StubInterface::MoveChunk,
                request->request_id().empty() ? Repeat::kNever : Repeat::kAlways);
  }
  grpc::ServerUnaryReactor* ListMigrations(grpc::CallbackServerContext* context,
                                           const v1::ListMigrationsRequest* request,
                                           v1::ListMigrationsResponse* response) override {
    return Pass(context, request, response, &v1::Cluster::StubInterface::ListMigrations);
  }
  grpc::ServerUnaryReactor* ShowMigration(grpc::CallbackServerContext* context, const v1::ShowMigrationRequest* request,
                                          v1::ShowMigrationResponse* response) override {
    return Pass(context, request, response, &v1::Cluster::StubInterface::ShowMigration);
  }
  // To ask for the end of a move twice is to ask once.
  grpc::ServerUnaryReactor* AbortMigration(grpc::CallbackServerContext* context,
                                           const v1::AbortMigrationRequest* request,
                                           v1::AbortMigrationResponse* response) override {
    return Pass(context, request, response, &v1::Cluster::StubInterface::AbortMigration);
  }
  grpc::ServerUnaryReactor* SetSetting(grpc::CallbackServerContext* context, const v1::SetSettingRequest* request,
                                       v1::SetSettingResponse* response) override {
    return Pass(context, request, response, &v1::Cluster::StubInterface::SetSetting);
  }
  grpc::ServerUnaryReactor* ListSettings(grpc::CallbackServerContext* context, const v1::ListSettingsRequest* request,
                                         v1::ListSettingsResponse* response) override {
    return Pass(context, request, response, &v1::Cluster::StubInterface::ListSettings);
  }
  grpc::ServerUnaryReactor* ListShards(grpc::CallbackServerContext* context, const v1::ListShardsRequest* request,
                                       v1::ListShardsResponse* response) override {
    return Pass(context, request, response, &v1::Cluster::StubInterface::ListShards);
  }

  grpc::ServerUnaryReactor* ChangeReplica(grpc::CallbackServerContext* context, const v1::ChangeReplicaRequest* request,
                                          v1::ChangeReplicaResponse* response) override {
    return Pass(context, request, response, &v1::Cluster::StubInterface::ChangeReplica);
  }
  grpc::ServerUnaryReactor* StepDown(grpc::CallbackServerContext* context, const v1::StepDownRequest* request,
                                     v1::StepDownResponse* response) override {
    return Pass(context, request, response, &v1::Cluster::StubInterface::StepDown, Repeat::kNever);
  }

  grpc::ServerWriteReactor<v1::CheckEvent>* Check(grpc::CallbackServerContext* context,
                                                  const v1::CheckRequest* request) override {
    return rpc::RunStream<v1::CheckEvent>(context, slow_, [this, request](auto stream) {
      bool told = false;  // what was told is not told again
      const auto attempt = [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* client) {
        const auto reader = v1::Cluster::NewStub(channel)->Check(client, *request);
        v1::CheckEvent event;
        while (reader->Read(&event)) {
          told = true;
          if (!stream->Write(std::move(event))) client->TryCancel();
        }
        grpc::Status status = reader->Finish();
        if (told && !status.ok()) return grpc::Status(grpc::StatusCode::ABORTED, status.error_message());
        return status;
      };
      stream->Finish(metadata_->Call(stream->call().DeadlineOr(kCheckDeadline), attempt, kCheckDeadline));
    });
  }

 private:
  template <typename Request, typename Response>
  grpc::ServerUnaryReactor* Pass(grpc::CallbackServerContext* context, const Request* request, Response* response,
                                 grpc::Status (v1::Cluster::StubInterface::*method)(grpc::ClientContext*,
                                                                                    const Request&, Response*),
                                 Repeat repeat = Repeat::kAlways) {
    return Forward<v1::Cluster>(metadata_, executor_, context, request, response, method, repeat);
  }
  rpc::LeaderClient* const metadata_;
  Executor* const executor_;
  Executor* const slow_;
};

}  // namespace

std::vector<std::unique_ptr<grpc::Service>> MakeClusterForwarders(rpc::LeaderClient* metadata, Executor* executor,
                                                                  Executor* slow) {
  std::vector<std::unique_ptr<grpc::Service>> services;
  services.push_back(std::make_unique<CollectionsForwarder>(metadata, executor));
  services.push_back(std::make_unique<ClusterForwarder>(metadata, executor, slow));
  return services;
}

}  // namespace terrane::proxy
