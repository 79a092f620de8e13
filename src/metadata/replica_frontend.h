// Changes of a shard's replicas: checks what was asked for and has the shard's leader do it.
#pragma once

#include <mutex>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "metadata/node.h"
#include "rpc/channel.h"
#include "terrane/v1/cluster.pb.h"

namespace terrane::rpc {
class LeaderClient;
}

namespace terrane::metadata {

// Thread-safe. Calls block, on the leader of the metadata service, until the shard's leader has answered; they follow
// it while it changes. kNotFound: no such shard, or replica; kFailedPrecondition with REPLICA_CONFLICT: the shard's
// leader refuses, and says why. A StepDown whose outcome is unknown is kUnavailable or kDeadlineExceeded: it is not
// repeated.
class ReplicaFrontend {
 public:
  // Both outlive it; `pool` is for the calls to shards.
  ReplicaFrontend(Node* node, rpc::ChannelPool* pool) : node_(*node), pool_(pool) {}

  absl::StatusOr<v1::ChangeReplicaResponse> ChangeReplica(const v1::ChangeReplicaRequest& request,
                                                          MonotonicTime deadline);
  absl::StatusOr<v1::StepDownResponse> StepDown(const v1::StepDownRequest& request, MonotonicTime deadline);

  // Calls to shards end soon, those under way and later ones: with kUnavailable, and OUTCOME_UNKNOWN if the shard may
  // have done, or may yet do, what it was asked for. Another node can be asked.
  void Cancel();

 private:
  template <typename Method, typename Request, typename Response>
  absl::Status CallLeader(const std::string& shard, MonotonicTime deadline, Method method, const Request& request,
                          Response* response, bool repeatable);

  Node& node_;
  rpc::ChannelPool* const pool_;
  std::mutex mutex_;
  bool cancelled_ = false;
  std::set<rpc::LeaderClient*> running_;  // of the calls under way
};

}  // namespace terrane::metadata
