#include "metadata/node.h"

#include "common/status.h"
#include "metadata/waiting.h"
#include "rpc/status.h"

namespace terrane::metadata {

using replication::ProposeOutcome;
using replication::ProposeResult;

absl::Status ToStatus(const v1::CommandResult& result) {
  if (result.code() == 0) return absl::OkStatus();
  absl::Status status(static_cast<absl::StatusCode>(result.code()), result.message());
  return rpc::WithDetail(std::move(status), result.detail());
}

Node::Node(Options options, MetadataStateMachine* machine)
    : options_(std::move(options)), machine_(machine), registry_(options_.clock) {
  machine_->SetDecorator([this](v1::WatchEvent* event) {
    for (auto& shard : *event->mutable_shards()) {
      registry_.Decorate(&shard);
      shard.clear_statistics();
    }
  });
}

Node::~Node() = default;

void Node::SetAddress(std::string address) {
  std::lock_guard lock(address_mutex_);
  address_ = std::move(address);
}

std::string Node::AddressOf(const replication::Member& member) const {
  if (member.replica != options_.replica) return member.address;
  std::lock_guard lock(address_mutex_);
  return address_.empty() ? member.address : address_;
}

absl::Status Node::CheckLeader() const {
  const replication::LeaderState leader = log().Leader();
  if (leader.is_leader && leader.ready_to_serve) return absl::OkStatus();
  if (leader.is_leader) return rpc::NotLeader("");  // soon
  std::string endpoint;
  for (const auto& member : options_.members) {
    if (leader.leader && member.replica == *leader.leader && member.replica != options_.replica)
      endpoint = member.address;
  }
  return rpc::NotLeader(endpoint);
}

absl::Status Node::Barrier(MonotonicTime deadline) {
  TERRANE_RETURN_IF_ERROR(CheckLeader());
  if (log().HasLease()) return absl::OkStatus();
  Waiting<absl::Status> waiting;
  log().ReadIndex([waiting](absl::Status status) { waiting.Set(std::move(status)); });
  auto status = waiting.Wait(deadline);
  if (!status) return Unavailable("the other metadata nodes did not confirm in time that this one leads");
  if (absl::IsUnavailable(*status)) {
    TERRANE_RETURN_IF_ERROR(CheckLeader());
  }
  return *status;
}

void Node::Propose(Term term, v1::MetadataCommand command,
                   std::function<void(absl::StatusOr<v1::CommandResult>)> done) {
  if (command.now_ms() == 0) command.set_now_ms(options_.clock->Wall().count());
  log().Propose(term, command.SerializeAsString(), [done = std::move(done)](ProposeResult result) {
    switch (result.outcome) {
      case ProposeOutcome::kApplied:
        if (!result.status.ok()) return done(result.status);
        return done(std::any_cast<v1::CommandResult>(std::move(result.value)));
      case ProposeOutcome::kNotInLog:
        return done(result.status.ok() ? Unavailable("not proposed") : result.status);
      case ProposeOutcome::kUnknown:
        return done(Aborted("nobody can tell whether the command will be applied"));
    }
  });
}

absl::StatusOr<v1::CommandResult> Node::Commit(v1::MetadataCommand command, MonotonicTime deadline) {
  TERRANE_RETURN_IF_ERROR(CheckLeader());
  const bool repeatable = !command.request_id().empty();
  Waiting<absl::StatusOr<v1::CommandResult>> waiting;
  Propose(log().Leader().term, std::move(command),
          [waiting](absl::StatusOr<v1::CommandResult> result) { waiting.Set(std::move(result)); });
  auto result = waiting.Wait(deadline);
  if (!result || absl::IsAborted(result->status())) {
    absl::StatusCode code = repeatable ? absl::StatusCode::kUnavailable : absl::StatusCode::kAborted;
    return rpc::WithReason(
        MakeStatus(code, "the metadata service can not tell whether this was done; ask again",
                   repeatable ? " with the same request_id" : " how things are before you repeat it"),
        v1::ErrorDetail::OUTCOME_UNKNOWN);
  }
  if (absl::IsUnavailable(result->status())) {
    TERRANE_RETURN_IF_ERROR(CheckLeader());
  }
  TERRANE_RETURN_IF_ERROR(result->status());
  TERRANE_RETURN_IF_ERROR(ToStatus(**result));
  return *std::move(*result);
}

std::vector<std::string> Node::Endpoints(const std::string& shard) const {
  std::vector<std::string> endpoints;
  auto report = registry_.Find(shard);
  if (report && !report->leader_endpoint.empty()) endpoints.push_back(report->leader_endpoint);
  Read([&](const State& state) {
    if (const v1::Shard* known = state.FindShard(shard)) {
      for (const auto& replica : known->replicas()) {
        if (endpoints.empty() || replica.endpoint() != endpoints.front()) endpoints.push_back(replica.endpoint());
      }
    }
  });
  return endpoints;
}

std::vector<v1::Migration> Node::ActiveMigrations() {
  return Read([](const State& state) {
    std::vector<v1::Migration> active;
    for (const auto& [id, record] : state.migrations()) {
      if (!migration::IsEnded(migration::StageOf(record))) active.push_back(record);
    }
    return active;
  });
}

std::optional<v1::Migration> Node::FindMigration(MigrationId id) {
  return Read([&](const State& state) -> std::optional<v1::Migration> {
    const v1::Migration* record = state.FindMigration(id.value());
    return record == nullptr ? std::nullopt : std::optional(*record);
  });
}

absl::StatusOr<migration::MoveContext> Node::ContextOf(const v1::Migration& record) {
  migration::MoveContext context;
  context.source_endpoints = Endpoints(record.source());
  const bool found = Read([&](const State& state) {
    const auto* entry = state.FindCollection(CollectionId(record.collection_id()));
    if (entry == nullptr) return false;
    context.collection = entry->record.name();
    context.shard_key = entry->record.shard_key();
    context.epoch = entry->record.epoch();
    return true;
  });
  if (!found) return NotFound("collection ", record.collection_id(), " is gone");
  return context;
}

std::string Node::Setting(const std::string& name) {
  return Read([&](const State& state) { return state.Setting(name); });
}

}  // namespace terrane::metadata
