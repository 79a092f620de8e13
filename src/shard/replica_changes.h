// Who belongs to this shard, for the services: changes of its replicas and of its leader.
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "replication/replicated_log.h"
#include "shard/core.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::shard {

// Blocks until the change is committed; on the leader. Repeated, it answers as the first time.
//   NOT_LEADER; kInvalidArgument: the request; kNotFound with NO_SUCH_REPLICA; kFailedPrecondition with
//   REPLICA_CONFLICT: says why
absl::StatusOr<terrane::v1::ChangeShardReplicaResponse> ChangeReplica(
    const Core& core, const terrane::v1::ChangeShardReplicaRequest& request);

// Blocks until another one leads, or the leadership has not moved within two seconds (kUnavailable).
//   NOT_LEADER; kFailedPrecondition: nobody to take it answers
absl::StatusOr<terrane::v1::ShardStepDownResponse> StepDown(const Core& core,
                                                            const terrane::v1::ShardStepDownRequest& request);

// Hands leadership on before a planned stop, if there is somebody to take it; blocks until that is so, at most for half
// a second.
void HandOn(replication::ReplicatedLog& log);

// The members as of the last committed change, and its position; position 0 while one is under way.
struct Membership {
  std::vector<replication::MemberStatus> members;
  Position position;
};
Membership MembersOf(const replication::ReplicatedLog& log);
// It needs nobody's vote.
bool IsOnlyVoter(const Membership& membership, ReplicaId replica);

}  // namespace terrane::shard
