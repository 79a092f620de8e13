// Changes of a shard's replicas: checks what was asked for and has the shard's leader do it.
#pragma once

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "metadata/node.h"
#include "rpc/channel.h"
#include "terrane/v1/cluster.pb.h"

namespace terrane::metadata {

// Both block, on the leader of the metadata service, until the shard's leader has answered; they follow it while it
// changes. kNotFound: no such shard, or replica; kFailedPrecondition with REPLICA_CONFLICT: the shard's leader refuses,
// and says why. A StepDown whose outcome is unknown is kUnavailable or kDeadlineExceeded: it is not repeated.
// `pool` is for the calls to shards.
absl::StatusOr<v1::ChangeReplicaResponse> ChangeReplica(Node& node, rpc::ChannelPool* pool,
                                                        const v1::ChangeReplicaRequest& request,
                                                        MonotonicTime deadline);
absl::StatusOr<v1::StepDownResponse> StepDown(Node& node, rpc::ChannelPool* pool, const v1::StepDownRequest& request,
                                              MonotonicTime deadline);

}  // namespace terrane::metadata
