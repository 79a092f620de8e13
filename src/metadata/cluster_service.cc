#include "metadata/cluster_service.h"

#include <atomic>

#include "common/executor.h"
#include "common/random.h"
#include "common/status.h"
#include "metadata/check.h"
#include "metadata/chunk_frontend.h"
#include "metadata/collection_frontend.h"
#include "metadata/node.h"
#include "metadata/replica_frontend.h"
#include "metadata/settings.h"
#include "metadata/status_report.h"
#include "rpc/stream.h"
#include "rpc/unary.h"
#include "terrane/v1/cluster.grpc.pb.h"

namespace terrane::metadata {
namespace {

constexpr int kThreads = 12;
constexpr int kSlowThreads = 8;  // for what reads whole chunks
constexpr std::chrono::seconds kDefaultDeadline(30);
constexpr std::chrono::hours kCheckDeadline(24);
constexpr std::chrono::hours kSplitDeadline(1);

template <typename T>
absl::Status Fill(absl::StatusOr<T> answer, T* response) {
  if (!answer.ok()) return std::move(answer).status();
  *response = *std::move(answer);
  return absl::OkStatus();
}

class CollectionsService final : public v1::Collections::CallbackService {
 public:
  CollectionsService(Node* node, Executor* executor) : node_(*node), executor_(executor) {}

  grpc::ServerUnaryReactor* Create(grpc::CallbackServerContext* context, const v1::CreateCollectionRequest* request,
                                   v1::CreateCollectionResponse* response) override {
    return rpc::RunBlocking(context, executor_, [=, this](const rpc::Call& call) {
      return Fill(CreateCollection(node_, *request, call.DeadlineOr(kDefaultDeadline)), response);
    });
  }
  grpc::ServerUnaryReactor* Drop(grpc::CallbackServerContext* context, const v1::DropCollectionRequest* request,
                                 v1::DropCollectionResponse*) override {
    return rpc::RunBlocking(context, executor_, [=, this](const rpc::Call& call) {
      return DropCollection(node_, *request, call.DeadlineOr(kDefaultDeadline));
    });
  }
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context, const v1::ListCollectionsRequest*,
                                 v1::ListCollectionsResponse* response) override {
    return rpc::RunBlocking(context, executor_, [=, this](const rpc::Call& call) {
      return Fill(ListCollections(node_, call.DeadlineOr(kDefaultDeadline)), response);
    });
  }

 private:
  Node& node_;
  Executor* const executor_;
};

class ClusterRpc final : public v1::Cluster::CallbackService {
 public:
  ClusterRpc(Node* node, migration::Coordinator* coordinator, rpc::ChannelPool* pool, Executor* executor,
             Executor* slow)
      : node_(*node),
        pool_(pool),
        chunks_(node, coordinator),
        replicas_(node, pool),
        executor_(executor),
        slow_(slow) {}

  void Cancel() {
    cancelled_ = true;
    replicas_.Cancel();
  }

  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context, const v1::StatusRequest*,
                                   v1::StatusResponse* response) override {
    return rpc::RunBlocking(context, executor_, [=, this](const rpc::Call& call) {
      return Fill(MakeStatusReport(node_, pool_, call.DeadlineOr(kDefaultDeadline)), response);
    });
  }
  grpc::ServerUnaryReactor* ListChunks(grpc::CallbackServerContext* context, const v1::ListChunksRequest* request,
                                       v1::ListChunksResponse* response) override {
    return Chunks(context, request, response, &ChunkFrontend::List);
  }
  grpc::ServerUnaryReactor* SplitChunk(grpc::CallbackServerContext* context, const v1::SplitChunkRequest* request,
                                       v1::SplitChunkResponse* response) override {
    return rpc::RunBlocking(context, slow_, [=, this](const rpc::Call& call) {
      return Fill(chunks_.Split(*request, call.DeadlineOr(kSplitDeadline)), response);
    });
  }
  grpc::ServerUnaryReactor* MoveChunk(grpc::CallbackServerContext* context, const v1::MoveChunkRequest* request,
                                      v1::MoveChunkResponse* response) override {
    return Chunks(context, request, response, &ChunkFrontend::Move);
  }
  grpc::ServerUnaryReactor* ListMigrations(grpc::CallbackServerContext* context,
                                           const v1::ListMigrationsRequest* request,
                                           v1::ListMigrationsResponse* response) override {
    return Chunks(context, request, response, &ChunkFrontend::ListMigrations);
  }
  grpc::ServerUnaryReactor* ShowMigration(grpc::CallbackServerContext* context, const v1::ShowMigrationRequest* request,
                                          v1::ShowMigrationResponse* response) override {
    return Chunks(context, request, response, &ChunkFrontend::ShowMigration);
  }
  grpc::ServerUnaryReactor* AbortMigration(grpc::CallbackServerContext* context,
                                           const v1::AbortMigrationRequest* request,
                                           v1::AbortMigrationResponse* response) override {
    return Chunks(context, request, response, &ChunkFrontend::AbortMigration);
  }

  grpc::ServerUnaryReactor* ListShards(grpc::CallbackServerContext* context, const v1::ListShardsRequest*,
                                       v1::ListShardsResponse* response) override {
    return rpc::RunBlocking(context, executor_, [=, this](const rpc::Call& call) -> absl::Status {
      TERRANE_RETURN_IF_ERROR(node_.Barrier(call.DeadlineOr(kDefaultDeadline)));
      std::map<std::string, int64_t> chunks;
      node_.Read([&](const State& state) {
        for (const auto& [name, shard] : state.shards()) *response->add_shards() = shard;
        chunks = state.ChunksOfShards();
      });
      for (auto& shard : *response->mutable_shards()) {
        node_.registry().Describe(&shard);
        shard.mutable_statistics()->set_chunks(chunks[shard.name()]);
      }
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* ChangeReplica(grpc::CallbackServerContext* context, const v1::ChangeReplicaRequest* request,
                                          v1::ChangeReplicaResponse* response) override {
    return rpc::RunBlocking(context, executor_, [=, this](const rpc::Call& call) {
      return Fill(replicas_.ChangeReplica(*request, call.DeadlineOr(kDefaultDeadline)), response);
    });
  }
  grpc::ServerUnaryReactor* StepDown(grpc::CallbackServerContext* context, const v1::StepDownRequest* request,
                                     v1::StepDownResponse* response) override {
    return rpc::RunBlocking(context, executor_, [=, this](const rpc::Call& call) {
      return Fill(replicas_.StepDown(*request, call.DeadlineOr(kDefaultDeadline)), response);
    });
  }

  grpc::ServerWriteReactor<v1::CheckEvent>* Check(grpc::CallbackServerContext* context,
                                                  const v1::CheckRequest* request) override {
    return rpc::RunStream<v1::CheckEvent>(
        context, slow_, [this, request = *request](std::shared_ptr<rpc::ServerStream<v1::CheckEvent>> stream) {
          const MonotonicTime deadline = stream->call().DeadlineOr(kCheckDeadline);
          const absl::Status status = RunCheck(
              node_, request, deadline, [&] { return cancelled_ || stream->cancelled(); },
              [&](v1::CheckEvent event) { return stream->Write(std::move(event)); });
          // Another node can be asked.
          stream->Finish(absl::IsCancelled(status) && cancelled_ ? Unavailable("shutting down") : status);
        });
  }

  grpc::ServerUnaryReactor* SetSetting(grpc::CallbackServerContext* context, const v1::SetSettingRequest* request,
                                       v1::SetSettingResponse* response) override {
    return rpc::RunBlocking(context, executor_, [=, this](const rpc::Call& call) -> absl::Status {
      TERRANE_RETURN_IF_ERROR(CheckSetting(request->name(), request->value()));
      v1::MetadataCommand command;
      command.set_request_id(NewUniqueBytes());
      command.mutable_set_setting()->set_name(request->name());
      command.mutable_set_setting()->set_value(request->value());
      TERRANE_ASSIGN_OR_RETURN(v1::CommandResult result,
                               node_.Commit(std::move(command), call.DeadlineOr(kDefaultDeadline)));
      response->set_revision(result.revision());
      return absl::OkStatus();
    });
  }
  grpc::ServerUnaryReactor* ListSettings(grpc::CallbackServerContext* context, const v1::ListSettingsRequest*,
                                         v1::ListSettingsResponse* response) override {
    return rpc::RunBlocking(context, executor_, [=, this](const rpc::Call& call) -> absl::Status {
      TERRANE_RETURN_IF_ERROR(node_.Barrier(call.DeadlineOr(kDefaultDeadline)));
      node_.Read([&](const State& state) {
        for (const auto& [name, value] : state.settings()) (*response->mutable_settings())[name] = value;
      });
      return absl::OkStatus();
    });
  }

 private:
  template <typename Request, typename Response>
  grpc::ServerUnaryReactor* Chunks(grpc::CallbackServerContext* context, const Request* request, Response* response,
                                   absl::StatusOr<Response> (ChunkFrontend::*method)(const Request&, MonotonicTime)) {
    return rpc::RunBlocking(context, executor_, [=, this](const rpc::Call& call) {
      return Fill((chunks_.*method)(*request, call.DeadlineOr(kDefaultDeadline)), response);
    });
  }

  Node& node_;
  rpc::ChannelPool* const pool_;
  ChunkFrontend chunks_;
  ReplicaFrontend replicas_;
  std::atomic<bool> cancelled_ = false;
  Executor* const executor_;
  Executor* const slow_;
};

}  // namespace

class ClusterService::Impl {
 public:
  Impl(Node* node, migration::Coordinator* coordinator, rpc::ChannelPool* pool)
      : executor_("admin", kThreads),
        slow_("admin-slow", kSlowThreads),
        collections_(node, &executor_),
        cluster_(node, coordinator, pool, &executor_, &slow_) {}
  std::vector<grpc::Service*> services() { return {&collections_, &cluster_}; }
  void Cancel() { cluster_.Cancel(); }
  void Stop() {
    executor_.Stop();
    slow_.Stop();
  }

 private:
  Executor executor_;
  Executor slow_;
  CollectionsService collections_;
  ClusterRpc cluster_;
};

ClusterService::ClusterService(Node* node, migration::Coordinator* coordinator, rpc::ChannelPool* pool)
    : impl_(std::make_unique<Impl>(node, coordinator, pool)) {}
ClusterService::~ClusterService() {
  Stop();
}
std::vector<grpc::Service*> ClusterService::services() {
  return impl_->services();
}
void ClusterService::Cancel() {
  impl_->Cancel();
}
void ClusterService::Stop() {
  impl_->Stop();
}

}  // namespace terrane::metadata
