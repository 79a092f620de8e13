// The cluster itself, its shards and settings.
#include <algorithm>

#include "common/start_number.h"
#include "metadata/transition.h"

namespace terrane::metadata {
namespace {

constexpr size_t kMaxNameBytes = 120;

v1::ShardReplica* FindReplica(v1::Shard* shard, uint64_t id) {
  for (auto& replica : *shard->mutable_replicas()) {
    if (replica.replica_id() == id) return &replica;
  }
  return nullptr;
}

// The shard's leader says who its replicas are; what is known of their directories stays.
void ReplaceReplicas(const v1::MetadataCommand::RegisterShard& command, v1::Shard* shard) {
  v1::Shard before;
  before.Swap(shard);
  shard->set_name(command.name());
  shard->set_configuration(command.configuration());
  for (const auto& replica : command.replicas()) {
    v1::ShardReplica* added = shard->add_replicas();
    *added = replica;
    if (const v1::ShardReplica* known = FindReplica(&before, replica.replica_id())) {
      added->set_incarnation(known->incarnation());
      added->set_start(known->start());
    }
  }
}

// Replicas announce themselves. Returns why one of them is refused (trap T51): in a shard of several its peers would
// know, a shard of one has only us to ask.
std::string AnnounceReplicas(const v1::MetadataCommand::RegisterShard& command, v1::Shard* shard) {
  const bool alone = shard->replicas_size() == 1;
  for (const auto& replica : command.replicas()) {
    v1::ShardReplica* known = FindReplica(shard, replica.replica_id());
    if (known == nullptr) {
      // Who belongs to it is for its leader to say, once it has.
      if (shard->configuration() == 0) *shard->add_replicas() = replica;
      continue;
    }
    const std::string who = StrCat("replica ", replica.replica_id(), " of ", command.name());
    if (replica.incarnation() != 0 && known->incarnation() != 0) {
      if (replica.incarnation() == known->incarnation() && IsOldCopy(replica.start(), known->start())) {
        return StrCat("the directory of ", who, " is an old copy: its start ", StartCount(known->start()),
                      " is known, this is ",
                      StartCount(known->start()) == StartCount(replica.start()) ? "another start " : "start ",
                      StartCount(replica.start()));
      }
      if (replica.incarnation() != known->incarnation() && alone) {
        return StrCat("the directory of ", who,
                      " is new or another one, but it is known with its data: the wrong disk, or an empty one under an "
                      "old id");
      }
    }
    known->set_endpoint(replica.endpoint());
    if (replica.incarnation() != 0) {
      known->set_incarnation(replica.incarnation());
      known->set_start(replica.start());
    }
  }
  return "";
}

}  // namespace

absl::Status Transition::Apply(const v1::MetadataCommand::InitializeCluster& command) {
  if (command.cluster().empty()) {
    return Refuse(absl::StatusCode::kInvalidArgument, v1::ErrorDetail::UNKNOWN, "the cluster's id is empty");
  }
  if (!state_.cluster_.empty()) {
    if (state_.cluster_ == command.cluster()) return absl::OkStatus();
    return Refuse(absl::StatusCode::kFailedPrecondition, v1::ErrorDetail::UNKNOWN,
                  StrCat("this is cluster ", state_.cluster_, ", not ", command.cluster()));
  }
  Change();
  state_.cluster_ = command.cluster();
  return absl::OkStatus();
}

absl::Status Transition::Apply(const v1::MetadataCommand::RegisterShard& command) {
  if (command.name().empty() || command.name().size() > kMaxNameBytes) {
    return Refuse(absl::StatusCode::kInvalidArgument, v1::ErrorDetail::UNKNOWN,
                  StrCat("a shard's name has 1 to ", kMaxNameBytes, " bytes"));
  }
  auto known = state_.shards_.find(command.name());
  v1::Shard shard;
  if (known != state_.shards_.end()) shard = known->second;
  shard.set_name(command.name());
  for (const auto& replica : command.replicas()) {
    if (replica.replica_id() == 0 || replica.endpoint().empty()) {
      return Refuse(absl::StatusCode::kInvalidArgument, v1::ErrorDetail::UNKNOWN,
                    StrCat("a replica of ", command.name(), " without an id or an endpoint"));
    }
  }
  if (command.configuration() > 0) {
    if (command.configuration() <= shard.configuration()) return absl::OkStatus();
    ReplaceReplicas(command, &shard);
  } else if (std::string why = AnnounceReplicas(command, &shard); !why.empty()) {
    return Refuse(absl::StatusCode::kFailedPrecondition, v1::ErrorDetail::UNKNOWN, why);
  }
  if (shard.replicas_size() == 0) {
    return Refuse(absl::StatusCode::kInvalidArgument, v1::ErrorDetail::UNKNOWN,
                  StrCat("shard ", command.name(), " without replicas"));
  }
  if (known != state_.shards_.end() && known->second.SerializeAsString() == shard.SerializeAsString()) {
    return absl::OkStatus();
  }
  Change();
  *out_.delta.add_shards() = shard;
  state_.shards_[command.name()] = std::move(shard);
  return absl::OkStatus();
}

absl::Status Transition::Apply(const v1::MetadataCommand::SetSetting& command) {
  if (command.name().empty() || command.name().size() > kMaxNameBytes) {
    return Refuse(absl::StatusCode::kInvalidArgument, v1::ErrorDetail::UNKNOWN,
                  StrCat("a setting's name has 1 to ", kMaxNameBytes, " bytes"));
  }
  if (state_.Setting(command.name()) == command.value()) return absl::OkStatus();
  Change();
  out_.settings = true;
  if (command.value().empty()) {
    state_.settings_.erase(command.name());
  } else {
    state_.settings_[command.name()] = command.value();
  }
  return absl::OkStatus();
}

}  // namespace terrane::metadata
