#include "shard/replica_changes.h"

#include <algorithm>
#include <future>
#include <memory>
#include <thread>

#include "common/status.h"
#include "rpc/status.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

constexpr std::chrono::milliseconds kHandOver{2000};
constexpr std::chrono::milliseconds kHandOnStop{500};
constexpr std::chrono::milliseconds kBetweenLooks{2};

absl::StatusOr<replication::MemberChange> ChangeOf(v1::ReplicaChange change) {
  switch (change) {
    case v1::ADD:
      return replication::MemberChange::kAdd;
    case v1::PROMOTE:
      return replication::MemberChange::kPromote;
    case v1::REMOVE:
      return replication::MemberChange::kRemove;
    default:
      return InvalidArgument("change is none that this version knows: ADD, PROMOTE or REMOVE");
  }
}

// Nothing: it still leads, or nobody does.
std::optional<ReplicaId> AwaitOtherLeader(const replication::ReplicatedLog& log, std::chrono::milliseconds limit) {
  const MonotonicTime end = Clock::System()->Now() + limit;
  while (Clock::System()->Now() < end) {
    const replication::LeaderState leader = log.Leader();
    if (!leader.is_leader && leader.leader) return leader.leader;
    std::this_thread::sleep_for(kBetweenLooks);
  }
  return std::nullopt;
}

}  // namespace

Membership MembersOf(const replication::ReplicatedLog& log) {
  Membership membership;
  const Position before = log.ConfigurationPosition();
  membership.members = log.Members();
  if (log.ConfigurationPosition() == before) membership.position = before;
  return membership;
}

bool IsOnlyVoter(const Membership& membership, ReplicaId replica) {
  bool votes = false;
  for (const replication::MemberStatus& member : membership.members) {
    if (!member.voter) continue;
    if (member.replica != replica) return false;
    votes = true;
  }
  return votes;
}

absl::StatusOr<v1::ChangeShardReplicaResponse> ChangeReplica(const Core& core,
                                                             const v1::ChangeShardReplicaRequest& request) {
  TERRANE_RETURN_IF_ERROR(core.proposer->ServingTerm().status());
  TERRANE_ASSIGN_OR_RETURN(const replication::MemberChange change, ChangeOf(request.change()));
  replication::ReplicatedLog* const log = core.proposer->log();
  auto promise = std::make_shared<std::promise<absl::Status>>();
  log->ChangeMember(change, ReplicaId(request.replica_id()), request.endpoint(),
                    [promise](absl::Status status) { promise->set_value(std::move(status)); });
  const absl::Status status = promise->get_future().get();
  if (absl::IsUnavailable(status)) {
    TERRANE_RETURN_IF_ERROR(core.proposer->ServingTerm().status());
  }
  if (absl::IsFailedPrecondition(status)) return rpc::WithReason(status, v1::ErrorDetail::REPLICA_CONFLICT);
  if (absl::IsNotFound(status)) return rpc::WithReason(status, v1::ErrorDetail::NO_SUCH_REPLICA);
  TERRANE_RETURN_IF_ERROR(status);
  v1::ChangeShardReplicaResponse response;
  const Membership membership = MembersOf(*log);
  response.set_configuration(membership.position.value());
  for (const replication::MemberStatus& member : membership.members) {
    v1::ShardReplica* replica = response.add_replicas();
    replica->set_replica_id(member.replica.value());
    replica->set_endpoint(member.address);
    replica->set_learner(!member.voter);
  }
  return response;
}

absl::StatusOr<v1::ShardStepDownResponse> StepDown(const Core& core, const v1::ShardStepDownRequest& request) {
  TERRANE_RETURN_IF_ERROR(core.proposer->ServingTerm().status());
  replication::ReplicatedLog* const log = core.proposer->log();
  const std::vector<replication::MemberStatus> members = log->Members();
  const auto asked = std::find_if(members.begin(), members.end(), [&](const replication::MemberStatus& member) {
    return member.replica == ReplicaId(request.to());
  });
  if (request.to() != 0 && asked == members.end()) {
    return rpc::WithReason(NotFound("no replica ", request.to(), " of ", core.shard), v1::ErrorDetail::NO_SUCH_REPLICA);
  }
  v1::ShardStepDownResponse response;
  if (request.to() != 0 && asked->leads) {
    response.set_leader(request.to());
    response.set_leader_endpoint(asked->address);
    return response;
  }
  if (absl::Status status = log->TransferLeadership(ReplicaId(request.to())); !status.ok()) {
    return rpc::WithReason(status, v1::ErrorDetail::REPLICA_CONFLICT);
  }
  const std::optional<ReplicaId> next = AwaitOtherLeader(*log, kHandOver);
  if (!next) {
    return Unavailable("leadership of ", core.shard, " was offered, but nobody has taken it within ", kHandOver.count(),
                       " ms");
  }
  response.set_leader(next->value());
  for (const replication::MemberStatus& member : log->Members()) {
    if (member.replica == *next) response.set_leader_endpoint(member.address);
  }
  return response;
}

void HandOn(replication::ReplicatedLog& log) {
  if (!log.Leader().is_leader || log.Members().size() < 2) return;
  if (log.TransferLeadership().ok()) AwaitOtherLeader(log, kHandOnStop);
}

}  // namespace terrane::shard
