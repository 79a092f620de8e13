// The cluster itself, its shards and settings.
#include <algorithm>

#include "metadata/transition.h"

namespace terrane::metadata {
namespace {

constexpr size_t kMaxNameBytes = 120;

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
    auto* replicas = shard.mutable_replicas();
    auto same = std::find_if(replicas->begin(), replicas->end(),
                             [&](const auto& other) { return other.replica_id() == replica.replica_id(); });
    if (same == replicas->end()) {
      *shard.add_replicas() = replica;
    } else {
      *same = replica;
    }
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
