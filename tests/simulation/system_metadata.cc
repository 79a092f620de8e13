#include "simulation/system_metadata.h"

#include "common/status.h"
#include "metadata/invariants.h"
#include "migration/ranges.h"
#include "rpc/status.h"
#include "simulation/system.h"

namespace terrane::simulation {

using migration::Stage;
using replication::ProposeOutcome;
using replication::ProposeResult;

// ---- state machine --------------------------------------------------------------------------------------------------

class MetaNode::Machine final : public replication::StateMachine {
 public:
  Machine(MetaNode* node, const Durable& durable) : node_(*node), applied_(durable.applied) {
    auto state = metadata::State::FromProto(durable.state);
    if (!state.ok()) {
      node_.world().Fail(StrCat("metadata state does not load: ", state.status().ToString()));
    } else {
      state_ = *std::move(state);
    }
  }

  Position AppliedPosition() override { return applied_; }
  absl::Status Apply(std::span<const replication::CommittedEntry> batch,
                     std::span<replication::ApplyResult> results) override {
    std::vector<metadata::Applied> all;
    for (size_t i = 0; i < batch.size(); ++i) {
      applied_ = batch[i].position;
      if (batch[i].internal) continue;
      v1::MetadataCommand command;
      if (!command.ParseFromArray(batch[i].data.data(), static_cast<int>(batch[i].data.size()))) {
        return DataLoss("an entry of the metadata log is no command");
      }
      metadata::Applied applied = state_.Apply(command);
      results[i].value = applied.result;
      if (applied.HasRoutes()) hub_.Publish(std::make_shared<const v1::WatchEvent>(applied.delta));
      all.push_back(std::move(applied));
    }
    node_.Applied(all);
    return absl::OkStatus();
  }
  absl::StatusOr<Position> MakeDurable() override {
    node_.durable_ = Picture();
    return applied_;
  }
  absl::Status TakeCheckpoint(const std::filesystem::path&) override { return Internal("not asked for"); }
  absl::Status InstallCheckpoint(const std::filesystem::path&) override { return Internal("not asked for"); }
  void OnLeaderStart(Term term) override { node_.LeaderStarts(term); }
  void OnLeaderStop(Term) override { node_.LeaderStops(); }

  std::shared_ptr<const Durable> Picture() const {
    auto picture = std::make_shared<Durable>();
    picture->applied = applied_;
    picture->state = state_.ToProto();
    return picture;
  }
  absl::Status Replace(const Durable& by) {
    TERRANE_ASSIGN_OR_RETURN(state_, metadata::State::FromProto(by.state));
    applied_ = by.applied;
    hub_.Reset();
    return absl::OkStatus();
  }

  const metadata::State& state() const { return state_; }
  metadata::WatchHub& hub() { return hub_; }

 private:
  MetaNode& node_;
  metadata::State state_;
  Position applied_;
  metadata::WatchHub hub_;
};

// The event loop as the coordinator's thread and timer.
class MetaNode::Loop final : public migration::LoopHost {
 public:
  explicit Loop(MetaNode* node) : node_(*node) {}
  void Post(std::function<void()> fn) override { node_.After(Time(0), std::move(fn)); }
  Timer::Id After(std::chrono::nanoseconds delay, std::function<void()> fn) override {
    const Timer::Id id = ++next_;
    waiting_->insert(id);
    node_.After(delay, [waiting = waiting_, id, fn = std::move(fn)] {
      if (waiting->erase(id) > 0) fn();
    });
    return id;
  }
  void Cancel(Timer::Id id) override { waiting_->erase(id); }

 private:
  MetaNode& node_;
  Timer::Id next_ = 0;
  const std::shared_ptr<std::set<Timer::Id>> waiting_ = std::make_shared<std::set<Timer::Id>>();
};

MetaNode::MetaNode(SimulatedSystem* system, RaftGroup* group, std::string name)
    : RaftReplica(&system->world, group, std::move(name)), system_(*system) {}

MetaNode::~MetaNode() = default;

const metadata::State& MetaNode::state() const {
  return machine_->state();
}

std::string MetaNode::DescribeMoves() {
  std::string out;
  for (const v1::Migration& record : ActiveMigrations()) {
    const auto progress = coordinator_->Progress(MigrationId(record.id()));
    StrAppend(&out, "move ", record.id(), " in ", migration::NameOf(migration::StageOf(record)), " from ",
              record.source(), " to ", record.target(), " waits: ", progress ? progress->pace() : "unknown here", "\n");
  }
  return out;
}

replication::StateMachine* MetaNode::machine() {
  return machine_.get();
}

Position MetaNode::OpenMachine() {
  machine_ = std::make_unique<Machine>(this, *durable_);
  loop_host_ = std::make_shared<Loop>(this);
  coordinator_ = std::make_shared<migration::CoordinatorLoop>(this, this, this, loop_host_);
  return machine_->AppliedPosition();
}

void MetaNode::CloseMachine(bool) {
  streams_.clear();
  coordinator_.reset();
  loop_host_.reset();
  trackers_.clear();
  splitting_.clear();
  pumping_ = false;
  machine_.reset();
}

std::shared_ptr<const void> MetaNode::Checkpoint() {
  return machine_->Picture();
}

absl::Status MetaNode::Install(const std::shared_ptr<const void>& checkpoint) {
  return machine_->Replace(*std::static_pointer_cast<const Durable>(checkpoint));
}

void MetaNode::Applied(const std::vector<metadata::Applied>& applied) {
  std::vector<uint64_t> ids;
  for (const metadata::Applied& one : applied) ids.insert(ids.end(), one.migrations.begin(), one.migrations.end());
  if (!ids.empty()) {
    coordinator_->Post([ids = std::move(ids)](migration::CoordinatorLoop& loop) { loop.RecordsChanged(ids); });
  }
}

void MetaNode::FirstApplied(const raft::Entry& entry, const replication::ApplyResult&) {
  if (entry.type == raft::EntryType::kNormal) system_.ledger.MetadataApplied(state());
}

void MetaNode::LeaderStarts(Term term) {
  coordinator_->Post([term](migration::CoordinatorLoop& loop) { loop.StartLeading(term); });
}

void MetaNode::LeaderStops() {
  coordinator_->Post([](migration::CoordinatorLoop& loop) { loop.StopLeading(); });
  streams_.clear();
}

// ---- services -------------------------------------------------------------------------------------------------------

absl::Status MetaNode::CheckLeader() const {
  return Serving() ? absl::OkStatus() : rpc::NotLeader(LeaderHint());
}

void MetaNode::Barrier(std::function<void(absl::Status)> then) {
  if (absl::Status status = CheckLeader(); !status.ok()) return then(status);
  if (HasLease()) return then(absl::OkStatus());
  ReadIndex(std::move(then));
}

void MetaNode::GetRoutes(Reply<v1::WatchEvent> reply) {
  Barrier([this, reply = std::move(reply)](absl::Status status) {
    if (!status.ok()) return reply(status);
    reply(state().Routes());
  });
}

void MetaNode::GetMigration(uint64_t id, Reply<v1::GetMigrationResponse> reply) {
  Barrier([this, id, reply = std::move(reply)](absl::Status status) {
    if (!status.ok()) return reply(status);
    v1::GetMigrationResponse response;
    response.set_dead_below(state().dead_below());
    if (id < state().dead_below()) return reply(response);
    const v1::Migration* record = state().FindMigration(id);
    if (record == nullptr) {
      return reply(rpc::WithReason(NotFound("no migration ", id), v1::ErrorDetail::NO_SUCH_MIGRATION));
    }
    *response.mutable_migration() = *record;
    reply(response);
  });
}

void MetaNode::ShardHeartbeat(Reply<v1::ShardHeartbeatResponse> reply) {
  if (absl::Status status = CheckLeader(); !status.ok()) return reply(status);
  v1::ShardHeartbeatResponse response;
  response.set_dead_below(state().dead_below());
  reply(response);
}

void MetaNode::Commit(v1::MetadataCommand command, Reply<v1::CommandResult> reply) {
  if (absl::Status status = CheckLeader(); !status.ok()) return reply(status);
  Propose(term(), std::move(command), [this, reply = std::move(reply)](absl::StatusOr<v1::CommandResult> result) {
    if (absl::IsAborted(result.status())) {
      return reply(rpc::WithReason(Unavailable("nobody can tell"), v1::ErrorDetail::OUTCOME_UNKNOWN));
    }
    if (!result.ok()) return reply(rpc::NotLeader(LeaderHint()));
    reply(*std::move(result));
  });
}

void MetaNode::Split(uint32_t collection, std::string at, Reply<v1::CommandResult> reply) {
  Barrier([this, collection, at, reply = std::move(reply)](absl::Status status) {
    if (!status.ok()) return reply(status);
    const v1::Chunk chunk = *state().FindChunk(CollectionId(collection), at);
    const std::string min = chunk.range().min();
    if (chunk.migration_id() != 0 || at == min || !splitting_.insert(min).second) {
      return reply(FailedPrecondition("the chunk is in a move, or begins there, or is being split"));
    }
    v1::SplitChunkStep step;
    step.set_collection_id(collection);
    *step.mutable_range() = chunk.range();
    step.set_at(at);
    Send(chunk.shard(), step, std::chrono::seconds(5),
         [this, chunk, at, min, reply](absl::StatusOr<migration::StepAnswer> answer) {
           splitting_.erase(min);
           if (!answer.ok()) return reply(answer.status());
           v1::MetadataCommand command;
           auto* split = command.mutable_split_chunk();
           split->set_collection_id(chunk.collection_id());
           *split->mutable_range() = chunk.range();
           split->set_at(at);
           split->set_expected_token(chunk.token());
           Commit(std::move(command), reply);
         });
  });
}

void MetaNode::Watch(Proxy* proxy, uint64_t id, uint64_t from) {
  if (!Serving()) return;
  Stream& stream = streams_[proxy->name()];
  if (id <= stream.id) return;  // late, or twice
  stream.proxy = proxy;
  stream.id = id;
  stream.sent = 0;
  // The hub wakes its subscribers in no order that can be repeated.
  stream.subscription = machine_->hub().Subscribe(
      Revision(from), state().revision(), [this] { return std::make_shared<const v1::WatchEvent>(state().Routes()); },
      [this] {
        if (!std::exchange(pumping_, true)) After(Time(0), [this] { Pump(); });
      });
  Pump();
}

void MetaNode::Pump() {
  pumping_ = false;
  for (auto& [name, stream] : streams_) {
    if (stream.subscription == nullptr) continue;
    while (metadata::SharedEvent event = stream.subscription->Next()) {
      world().Send(this, stream.proxy, "routes", [proxy = stream.proxy, id = stream.id, number = ++stream.sent, event] {
        proxy->OnWatchEvent(id, number, *event);
      });
    }
    if (stream.subscription->cut_off()) stream.subscription.reset();
  }
}

// ---- gateways of the coordinator ------------------------------------------------------------------------------------

std::vector<v1::Migration> MetaNode::ActiveMigrations() {
  std::vector<v1::Migration> active;
  for (const auto& [id, record] : state().migrations()) {
    if (!migration::IsEnded(migration::StageOf(record))) active.push_back(record);
  }
  return active;
}

std::optional<v1::Migration> MetaNode::FindMigration(MigrationId id) {
  const v1::Migration* record = state().FindMigration(id.value());
  return record == nullptr ? std::nullopt : std::optional(*record);
}

absl::StatusOr<migration::MoveContext> MetaNode::ContextOf(const v1::Migration& record) {
  const auto* entry = state().FindCollection(CollectionId(record.collection_id()));
  if (entry == nullptr) return NotFound("the collection is gone");
  migration::MoveContext context;
  context.collection = entry->record.name();
  context.shard_key = entry->record.shard_key();
  context.epoch = entry->record.epoch();
  const std::string leader = trackers_[record.source()].Current();
  if (!leader.empty()) context.source_endpoints.push_back(leader);
  for (const auto& replica : state().FindShard(record.source())->replicas()) {
    if (replica.endpoint() != leader) context.source_endpoints.push_back(replica.endpoint());
  }
  return context;
}

std::string MetaNode::Setting(const std::string& name) {
  return state().Setting(name);
}

void MetaNode::Propose(Term term, v1::MetadataCommand command,
                       std::function<void(absl::StatusOr<v1::CommandResult>)> done) {
  if (command.now_ms() == 0) command.set_now_ms(Wall().count());
  const bool commit = command.has_commit_migration();
  RaftReplica::Propose(term, command.SerializeAsString(), [this, commit, done = std::move(done)](ProposeResult result) {
    switch (result.outcome) {
      case ProposeOutcome::kApplied:
        if (!result.status.ok()) return done(result.status);
        return done(std::any_cast<v1::CommandResult>(std::move(result.value)));
      case ProposeOutcome::kNotInLog:
        return done(Unavailable("not proposed"));
      case ProposeOutcome::kUnknown:
        if (commit) world().Probe("commit outcome unknown");
        return done(Aborted("nobody can tell whether the command will be applied"));
    }
  });
}

void MetaNode::Send(const std::string& shard, const migration::StepRequest& request, std::chrono::milliseconds timeout,
                    std::function<void(absl::StatusOr<migration::StepAnswer>)> done) {
  rpc::LeaderTracker& tracker = trackers_[shard];
  std::vector<std::string> endpoints;
  for (const auto& replica : state().FindShard(shard)->replicas()) endpoints.push_back(replica.endpoint());
  tracker.SetEndpoints(std::move(endpoints));
  const std::string endpoint = tracker.Current();
  ShardReplica* replica = system_.FindReplica(endpoint);
  world().Call<migration::StepAnswer>(
      this, replica, "step", timeout,
      [replica, request](Reply<migration::StepAnswer> reply) { replica->HandleStep(request, std::move(reply)); },
      [&tracker, endpoint, done = std::move(done)](absl::StatusOr<migration::StepAnswer> answer) {
        if (answer.ok()) {
          tracker.Learn(endpoint);
        } else {
          tracker.Failed(endpoint, answer.status());
        }
        done(std::move(answer));
      });
}

void MetaNode::Describe(const std::string&, std::chrono::milliseconds,
                        std::function<void(absl::StatusOr<v1::DescribeResponse>)> done) {
  done(Internal("nobody asks for it here"));
}
void MetaNode::Audit(const std::string&, const v1::AuditRequest&, std::chrono::milliseconds,
                     std::function<void(absl::StatusOr<v1::AuditResponse>)> done) {
  done(Internal("nobody asks for it here"));
}

}  // namespace terrane::simulation
