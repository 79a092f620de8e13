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

// What is wrong with a directory in which a replica says that it goes on; "": nothing. `alone`: no peer would know.
std::string JudgeDirectory(const std::string& shard, const v1::ShardReplica& replica, const v1::ShardReplica& known,
                           bool alone) {
  if (replica.incarnation() == 0 || known.incarnation() == 0) return "";
  const std::string who = StrCat("the directory of replica ", replica.replica_id(), " of ", shard);
  if (replica.incarnation() == known.incarnation() && IsOldCopy(replica.start(), known.start())) {
    const uint64_t count = StartCount(known.start());
    return StrCat(who, " is an old copy: its start ", count, " is known, this is ",
                  count == StartCount(replica.start()) ? "another start " : "start ", StartCount(replica.start()));
  }
  if (replica.incarnation() != known.incarnation() && alone) {
    return StrCat(who,
                  " is new or another one, but it is known with its data: the wrong disk, or an empty one under an old "
                  "id");
  }
  return "";
}

bool IsOnlyVoter(const v1::Shard& shard, uint64_t id) {
  return std::all_of(shard.replicas().begin(), shard.replicas().end(),
                     [&](const v1::ShardReplica& replica) { return replica.learner() || replica.replica_id() == id; });
}

// The shard's leader says who its replicas are, and which directory it has itself; what is known of those of the others
// stays. Returns why it is refused.
std::string ReplaceReplicas(const v1::MetadataCommand::RegisterShard& command, uint64_t configuration,
                            v1::Shard* shard) {
  v1::Shard before;
  before.Swap(shard);
  shard->set_name(command.name());
  shard->set_configuration(configuration);
  for (const auto& replica : command.replicas()) {
    v1::ShardReplica* added = shard->add_replicas();
    *added = replica;
    const v1::ShardReplica* known = FindReplica(&before, replica.replica_id());
    if (known == nullptr) continue;
    if (std::string why = JudgeDirectory(command.name(), replica, *known, false); !why.empty()) return why;
    if (replica.incarnation() != 0) continue;
    added->set_incarnation(known->incarnation());
    added->set_start(known->start());
  }
  return "";
}

// The leader of who its replicas are known already may have another directory than the known one, or another start.
std::string NoteDirectories(const v1::MetadataCommand::RegisterShard& command, v1::Shard* shard) {
  for (const auto& replica : command.replicas()) {
    v1::ShardReplica* known = FindReplica(shard, replica.replica_id());
    if (known == nullptr || replica.incarnation() == 0) continue;
    if (std::string why = JudgeDirectory(command.name(), replica, *known, false); !why.empty()) return why;
    known->set_incarnation(replica.incarnation());
    known->set_start(replica.start());
  }
  return "";
}

// Replicas announce themselves. Returns why one of them is refused (trap T51): in a shard of several its peers would
// know, a shard of one voter has only us to ask.
std::string AnnounceReplicas(const v1::MetadataCommand::RegisterShard& command, v1::Shard* shard) {
  for (const auto& replica : command.replicas()) {
    v1::ShardReplica* known = FindReplica(shard, replica.replica_id());
    if (known == nullptr) {
      // Who belongs to it is for its leader to say, once it has.
      if (shard->configuration() == 0) *shard->add_replicas() = replica;
      continue;
    }
    const bool alone = IsOnlyVoter(*shard, replica.replica_id());
    if (std::string why = JudgeDirectory(command.name(), replica, *known, alone); !why.empty()) return why;
    // Who does not name its directory only asks which cluster this is.
    if (replica.incarnation() == 0 && known->incarnation() != 0) continue;
    known->set_endpoint(replica.endpoint());
    known->set_incarnation(replica.incarnation());
    known->set_start(replica.start());
  }
  return "";
}

// A replica says that it needs nobody's vote. It would lead by itself until somebody of the others speaks to it, and to
// who is not one of them nobody speaks: --join was forgotten, a disk is not mounted, or it was removed since.
std::string AnnounceOnlyVoter(const v1::MetadataCommand::RegisterShard& command, v1::Shard* shard) {
  const v1::ShardReplica& replica = command.replicas(0);
  const std::string who = StrCat("replica ", replica.replica_id(), " of ", command.name());
  // The entry that founds a group has the first position.
  const uint64_t known_as_of = std::max<uint64_t>(shard->configuration(), 1);
  if (command.only_voter_as_of() > known_as_of) return ReplaceReplicas(command, command.only_voter_as_of(), shard);
  if (command.only_voter_as_of() < known_as_of && !IsOnlyVoter(*shard, replica.replica_id())) {
    return StrCat(
        who, " would be the shard by itself, as of position ", command.only_voter_as_of(), ", but as of position ",
        known_as_of,
        " its replicas are others: the directory is new, or an old copy, or that of a replica that was removed "
        "since; to take a new one in, start it with --join");
  }
  if (!IsOnlyVoter(*shard, replica.replica_id()) ||
      (shard->replicas_size() > 0 && FindReplica(shard, replica.replica_id()) == nullptr)) {
    return StrCat(who, " would found the shard once more: it has its replicas; start this one with --join");
  }
  v1::MetadataCommand::RegisterShard itself;
  itself.set_name(command.name());
  *itself.add_replicas() = replica;
  return AnnounceReplicas(itself, shard);
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
  std::string why;
  if (command.only_voter_as_of() > 0) {
    if (command.replicas_size() == 0 || command.replicas(0).incarnation() == 0) {
      return Refuse(absl::StatusCode::kInvalidArgument, v1::ErrorDetail::UNKNOWN,
                    StrCat("the only voter of ", command.name(), " does not name its directory"));
    }
    why = AnnounceOnlyVoter(command, &shard);
  } else if (command.configuration() > shard.configuration()) {
    why = ReplaceReplicas(command, command.configuration(), &shard);
  } else if (command.configuration() > 0) {
    if (command.configuration() < shard.configuration()) return absl::OkStatus();
    why = NoteDirectories(command, &shard);
  } else {
    why = AnnounceReplicas(command, &shard);
  }
  if (!why.empty()) return Refuse(absl::StatusCode::kFailedPrecondition, v1::ErrorDetail::UNKNOWN, why);
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
