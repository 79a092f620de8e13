#include "migration/rpc_shard_gateway.h"

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <map>
#include <mutex>

#include "common/executor.h"
#include "common/status.h"
#include "rpc/leader_tracker.h"
#include "rpc/status.h"
#include "terrane/v1/shard.grpc.pb.h"

namespace terrane::migration {
namespace {

using std::chrono::milliseconds;
using MoveStub = v1::ShardMove::StubInterface::async_interface;
template <typename Request, typename Response>
using MoveMethod = void (MoveStub::*)(grpc::ClientContext*, const Request*, Response*,
                                      std::function<void(grpc::Status)>);

// Which RPC a request belongs to.
MoveMethod<v1::PinStep, v1::StepResponse> MethodOf(const v1::PinStep*) {
  return &MoveStub::Pin;
}
MoveMethod<v1::PrepareStep, v1::StepResponse> MethodOf(const v1::PrepareStep*) {
  return &MoveStub::Prepare;
}
MoveMethod<v1::ImportStep, v1::ImportStatus> MethodOf(const v1::ImportStep*) {
  return &MoveStub::Import;
}
MoveMethod<v1::VerifyStep, v1::VerifyStatus> MethodOf(const v1::VerifyStep*) {
  return &MoveStub::Verify;
}
MoveMethod<v1::FenceStep, v1::StepResponse> MethodOf(const v1::FenceStep*) {
  return &MoveStub::Fence;
}
MoveMethod<v1::FenceReadsStep, v1::StepResponse> MethodOf(const v1::FenceReadsStep*) {
  return &MoveStub::FenceReads;
}
MoveMethod<v1::CompleteStep, v1::StepResponse> MethodOf(const v1::CompleteStep*) {
  return &MoveStub::Complete;
}
MoveMethod<v1::OwnStep, v1::StepResponse> MethodOf(const v1::OwnStep*) {
  return &MoveStub::Own;
}
MoveMethod<v1::ReleaseStep, v1::StepResponse> MethodOf(const v1::ReleaseStep*) {
  return &MoveStub::Release;
}
MoveMethod<v1::EndAttemptStep, v1::StepResponse> MethodOf(const v1::EndAttemptStep*) {
  return &MoveStub::EndAttempt;
}
MoveMethod<v1::DropCopyStep, v1::StepResponse> MethodOf(const v1::DropCopyStep*) {
  return &MoveStub::DropCopy;
}
MoveMethod<v1::CreateChunkStep, v1::StepResponse> MethodOf(const v1::CreateChunkStep*) {
  return &MoveStub::CreateChunk;
}
MoveMethod<v1::SplitChunkStep, v1::StepResponse> MethodOf(const v1::SplitChunkStep*) {
  return &MoveStub::SplitChunk;
}

template <typename Request, typename Response>
struct PendingCall {
  grpc::ClientContext context;
  Request request;
  Response response;
};

class RpcShardGateway : public ShardGateway {
 public:
  RpcShardGateway(rpc::ChannelPool* pool, EndpointsOf endpoints)
      : pool_(pool), endpoints_(std::move(endpoints)), executor_("shards", 1) {}

  ~RpcShardGateway() override {
    Cancel();
    {
      std::unique_lock lock(mutex_);
      idle_.wait(lock, [this] { return running_.empty(); });
    }
    executor_.Stop();
  }

  void Cancel() override {
    std::map<grpc::ClientContext*, std::shared_ptr<void>> running;
    {
      std::lock_guard lock(mutex_);
      cancelled_ = true;
      running = running_;
    }
    // Without the lock: a cancelled call may come back on this very thread.
    for (auto& [context, kept] : running) context->TryCancel();
  }

  void Send(const std::string& shard, const StepRequest& request, milliseconds timeout,
            std::function<void(absl::StatusOr<StepAnswer>)> done) override {
    std::visit(
        [&](const auto& step) {
          auto method = MethodOf(&step);
          Call(
              shard, step, timeout,
              [method](const std::shared_ptr<grpc::Channel>& channel, auto* call,
                       std::function<void(grpc::Status)> over) {
                auto stub = v1::ShardMove::NewStub(channel);
                (stub->async()->*method)(&call->context, &call->request, &call->response,
                                         KeepStub(std::move(stub), over));
              },
              ResponseOf(method),
              [done](auto answer) {
                if (!answer.ok()) return done(answer.status());
                done(StepAnswer(*std::move(answer)));
              });
        },
        request);
  }

  void Describe(const std::string& shard, milliseconds timeout,
                std::function<void(absl::StatusOr<v1::DescribeResponse>)> done) override {
    Call(
        shard, v1::DescribeRequest(), timeout,
        [](const std::shared_ptr<grpc::Channel>& channel, auto* call, std::function<void(grpc::Status)> over) {
          auto stub = v1::ShardAdmin::NewStub(channel);
          stub->async()->Describe(&call->context, &call->request, &call->response, KeepStub(std::move(stub), over));
        },
        v1::DescribeResponse(),
        [this, shard, done = std::move(done)](absl::StatusOr<v1::DescribeResponse> answer) {
          // Any replica describes itself; what counts here is what the leader says.
          if (!answer.ok() || answer->leader()) return done(std::move(answer));
          std::string leader;
          for (const v1::ReplicaStatus& replica : answer->statistics().replicas()) {
            if (replica.leader()) leader = replica.endpoint();
          }
          Tracker(shard)->Learn(leader);
          done(Annotate(rpc::NotLeader(leader), "shard " + shard));
        });
  }

  void Audit(const std::string& shard, const v1::AuditRequest& request, milliseconds timeout,
             std::function<void(absl::StatusOr<v1::AuditResponse>)> done) override {
    Call(
        shard, request, timeout,
        [](const std::shared_ptr<grpc::Channel>& channel, auto* call, std::function<void(grpc::Status)> over) {
          auto stub = v1::ShardAdmin::NewStub(channel);
          stub->async()->Audit(&call->context, &call->request, &call->response, KeepStub(std::move(stub), over));
        },
        v1::AuditResponse(), std::move(done));
  }

 private:
  template <typename Request, typename Response>
  static Response ResponseOf(MoveMethod<Request, Response>) {
    return {};
  }

  // The stub lives until the call is over.
  template <typename Stub>
  static std::function<void(grpc::Status)> KeepStub(std::unique_ptr<Stub> stub,
                                                    std::function<void(grpc::Status)> over) {
    return [kept = std::shared_ptr<Stub>(std::move(stub)), over = std::move(over)](grpc::Status status) {
      over(std::move(status));
    };
  }

  rpc::LeaderTracker* Tracker(const std::string& shard) {
    std::lock_guard lock(mutex_);
    auto& tracker = trackers_[shard];
    if (!tracker) tracker = std::make_unique<rpc::LeaderTracker>();
    return tracker.get();
  }

  // One call to whoever is believed to lead; a wrong belief is mended for the caller's next try.
  template <typename Request, typename Response, typename Start, typename Done>
  void Call(const std::string& shard, const Request& request, milliseconds timeout, Start start, Response, Done done) {
    rpc::LeaderTracker* tracker = Tracker(shard);
    tracker->SetEndpoints(endpoints_(shard));
    const std::string endpoint = tracker->Current();
    const auto refuse = [&](absl::Status status) {
      (void)executor_.Post([done = std::move(done), status] { done(absl::StatusOr<Response>(status)); });
    };
    if (endpoint.empty()) {
      return refuse(rpc::WithReason(NotFound("no shard ", shard, " has registered"), v1::ErrorDetail::NO_SUCH_SHARD));
    }
    auto call = std::make_shared<PendingCall<Request, Response>>();
    call->request = request;
    call->context.set_deadline(std::chrono::system_clock::now() + timeout);
    bool cancelled = false;
    {
      std::lock_guard lock(mutex_);
      cancelled = cancelled_;
      if (!cancelled) running_[&call->context] = call;
    }
    if (cancelled) return refuse(absl::CancelledError("shutting down"));
    start(pool_->Get(endpoint), call.get(), [this, call, tracker, endpoint, shard, done](grpc::Status wire) {
      absl::Status status = rpc::FromGrpc(wire);
      if (status.ok()) {
        tracker->Learn(endpoint);
        done(absl::StatusOr<Response>(std::move(call->response)));
      } else {
        tracker->Failed(endpoint, status);
        done(absl::StatusOr<Response>(Annotate(status, StrCat("shard ", shard, " at ", endpoint))));
      }
      std::lock_guard lock(mutex_);
      running_.erase(&call->context);
      if (running_.empty()) idle_.notify_all();
    });
  }

  rpc::ChannelPool* const pool_;
  const EndpointsOf endpoints_;
  std::mutex mutex_;
  std::condition_variable idle_;
  bool cancelled_ = false;
  std::map<grpc::ClientContext*, std::shared_ptr<void>> running_;  // calls under way
  std::map<std::string, std::unique_ptr<rpc::LeaderTracker>> trackers_;
  Executor executor_;
};

}  // namespace

std::unique_ptr<ShardGateway> MakeRpcShardGateway(rpc::ChannelPool* pool, EndpointsOf endpoints) {
  return std::make_unique<RpcShardGateway>(pool, std::move(endpoints));
}

}  // namespace terrane::migration
