#include "metadata/replica_frontend.h"

#include "common/status.h"
#include "rpc/leader_client.h"
#include "rpc/status.h"
#include "terrane/v1/shard.grpc.pb.h"

namespace terrane::metadata {
namespace {

constexpr std::chrono::seconds kAttempt(5);
constexpr std::chrono::hours kAllTheTime(1);  // that the deadline leaves

absl::StatusOr<v1::Shard> Known(Node& node, const std::string& name, MonotonicTime deadline) {
  TERRANE_RETURN_IF_ERROR(node.Barrier(deadline));
  auto shard = node.Read([&](const State& state) -> std::optional<v1::Shard> {
    const v1::Shard* known = state.FindShard(name);
    return known == nullptr ? std::nullopt : std::optional(*known);
  });
  if (!shard) return rpc::WithReason(NotFound("no shard ", name), v1::ErrorDetail::NO_SUCH_SHARD);
  return *std::move(shard);
}

}  // namespace

template <typename Method, typename Request, typename Response>
absl::Status ReplicaFrontend::CallLeader(const std::string& shard, MonotonicTime deadline, Method method,
                                         const Request& request, Response* response, bool repeatable) {
  rpc::LeaderClient leader(pool_, node_.Endpoints(shard), "the replica");
  {
    std::lock_guard lock(mutex_);
    if (cancelled_) return Unavailable("shard ", shard, ": shutting down");
    running_.insert(&leader);
  }
  const absl::Status status = leader.Call(
      deadline,
      [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) {
        const auto stub = v1::ShardAdmin::NewStub(channel);
        return (static_cast<v1::ShardAdmin::StubInterface*>(stub.get())->*method)(context, request, response);
      },
      repeatable ? kAttempt : kAllTheTime, repeatable);
  {
    std::lock_guard lock(mutex_);
    running_.erase(&leader);
  }
  return Annotate(status, "shard " + shard);
}

void ReplicaFrontend::Cancel() {
  std::lock_guard lock(mutex_);
  cancelled_ = true;
  for (rpc::LeaderClient* leader : running_) leader->Cancel();
}

absl::StatusOr<v1::ChangeReplicaResponse> ReplicaFrontend::ChangeReplica(const v1::ChangeReplicaRequest& request,
                                                                         MonotonicTime deadline) {
  if (request.change() == v1::REPLICA_CHANGE_UNSET) return InvalidArgument("change is missing: ADD, PROMOTE or REMOVE");
  if (request.replica_id() == 0) return InvalidArgument("replica_id is missing; replicas are counted from 1");
  if (request.change() == v1::ADD && request.endpoint().empty()) return InvalidArgument("endpoint is missing");
  v1::ChangeReplicaResponse response;
  TERRANE_ASSIGN_OR_RETURN(*response.mutable_shard(), Known(node_, request.shard(), deadline));
  v1::ChangeShardReplicaRequest change;
  change.set_change(request.change());
  change.set_replica_id(request.replica_id());
  change.set_endpoint(request.endpoint());
  v1::ChangeShardReplicaResponse changed;
  TERRANE_RETURN_IF_ERROR(CallLeader(request.shard(), deadline, &v1::ShardAdmin::StubInterface::ChangeReplica, change,
                                     &changed,
                                     /*repeatable=*/true));
  // The record follows with the next heartbeat of the shard's leader.
  *response.mutable_shard()->mutable_replicas() = changed.replicas();
  response.mutable_shard()->set_configuration(changed.configuration());
  return response;
}

absl::StatusOr<v1::StepDownResponse> ReplicaFrontend::StepDown(const v1::StepDownRequest& request,
                                                               MonotonicTime deadline) {
  TERRANE_RETURN_IF_ERROR(Known(node_, request.shard(), deadline).status());
  v1::ShardStepDownRequest step;
  step.set_to(request.to());
  v1::ShardStepDownResponse stepped;
  // Not again after an unknown outcome: it would take the lead from whoever just got it.
  TERRANE_RETURN_IF_ERROR(CallLeader(request.shard(), deadline, &v1::ShardAdmin::StubInterface::StepDown, step,
                                     &stepped, /*repeatable=*/false));
  v1::StepDownResponse response;
  response.set_leader(stepped.leader());
  response.set_leader_endpoint(stepped.leader_endpoint());
  return response;
}

}  // namespace terrane::metadata
