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

// A new directory that says that it is the shard, all alone, while the shard's leader has named replicas and their
// directories are others: --join was forgotten, or a disk is not mounted. It would lead by itself until somebody of the
// others speaks to it, and to who is not one of them nobody speaks.
bool FoundsAgain(const v1::MetadataCommand::RegisterShard& command, const v1::ShardReplica& replica,
                 const v1::ShardReplica* known, const v1::Shard& shard) {
  if (command.replicas_size() != 1 || shard.configuration() == 0) return false;
  if (replica.incarnation() == 0 || StartCount(replica.start()) != 1) return false;
  return known == nullptr || (known->incarnation() != 0 && known->incarnation() != replica.incarnation());
}

// Replicas announce themselves. Returns why one of them is refused (trap T51): in a shard of several its peers would
// know, a shard of one voter has only us to ask.
std::string AnnounceReplicas(const v1::MetadataCommand::RegisterShard& command, v1::Shard* shard) {
  const bool alone = std::count_if(shard->replicas().begin(), shard->replicas().end(),
                                   [](const v1::ShardReplica& replica) { return !replica.learner(); }) == 1;
  for (const auto& replica : command.replicas()) {
    v1::ShardReplica* known = FindReplica(shard, replica.replica_id());
    if (FoundsAgain(command, replica, known, *shard)) {
      return StrCat("replica ", replica.replica_id(), " would found ", command.name(),
                    " once more: the shard has its replicas, and this directory is a new one; start it with --join");
    }
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
    // Who does not name its directory only asks which cluster this is.
    if (replica.incarnation() == 0 && known->incarnation() != 0) continue;
    known->set_endpoint(replica.endpoint());
    known->set_incarnation(replica.incarnation());
    known->set_start(replica.start());
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
