#include "metadata/metadata_service.h"

#include <set>

#include "common/executor.h"
#include "common/logging.h"
#include "common/random.h"
#include "common/status.h"
#include "metadata/node.h"
#include "rpc/stream.h"
#include "rpc/unary.h"
#include "terrane/v1/metadata.grpc.pb.h"

namespace terrane::metadata {
namespace {

constexpr int kThreads = 8;
constexpr std::chrono::seconds kDefaultDeadline(5);

using EventStream = rpc::ServerStream<v1::WatchEvent>;

const v1::ShardReplica* LeaderIn(const v1::ShardHeartbeatRequest& request) {
  for (const auto& replica : request.replicas()) {
    if (replica.endpoint() == request.leader_endpoint()) return &replica;
  }
  return nullptr;
}

const v1::ShardReplica* FindReplica(const v1::Shard& shard, uint64_t id) {
  for (const auto& replica : shard.replicas()) {
    if (replica.replica_id() == id) return &replica;
  }
  return nullptr;
}

// One that leads by itself although its shard has moved on without it is no leader to anybody.
absl::Status CheckLeads(const v1::ShardHeartbeatRequest& request, const v1::Shard& known) {
  const v1::ShardReplica* leader = LeaderIn(request);
  if (leader == nullptr || known.configuration() == 0 || request.configuration() > known.configuration()) {
    return absl::OkStatus();
  }
  const v1::ShardReplica* voter = FindReplica(known, leader->replica_id());
  if (voter != nullptr && !voter->learner()) return absl::OkStatus();
  return FailedPrecondition("replica ", leader->replica_id(), " is no voter of ", known.name(), " as of position ",
                            known.configuration());
}

// Whether the shard's members or its leader's directory are others than the known ones.
bool HasNews(const v1::ShardHeartbeatRequest& request, const v1::Shard& known) {
  if (request.configuration() != known.configuration()) return request.configuration() > known.configuration();
  const v1::ShardReplica* leader = LeaderIn(request);
  if (leader == nullptr || leader->incarnation() == 0) return false;
  const v1::ShardReplica* replica = FindReplica(known, leader->replica_id());
  return replica != nullptr && (replica->incarnation() != leader->incarnation() || replica->start() != leader->start());
}

// One subscriber: takes events from its subscription as fast as the client reads them.
class Watcher : public std::enable_shared_from_this<Watcher> {
 public:
  Watcher(std::shared_ptr<EventStream> stream, Executor* executor, std::function<absl::Status()> why_cut_off,
          std::function<void(Watcher*)> ended)
      : stream_(std::move(stream)),
        executor_(executor),
        why_cut_off_(std::move(why_cut_off)),
        ended_(std::move(ended)) {}

  void Start(Node& node, Revision from) {
    auto subscription = node.machine().Subscribe(from, [self = weak_from_this()] {
      if (auto watcher = self.lock()) watcher->PostPump();
    });
    {
      std::lock_guard lock(mutex_);
      if (!over_) subscription_ = std::move(subscription);
    }
    subscription.reset();  // of one that is over; outside of the lock, for it takes the hub's
    stream_->OnCancel([self = weak_from_this()] {
      if (auto watcher = self.lock()) watcher->PostEnd();
    });
    Pump();
  }

  void End(absl::Status status) {
    std::unique_ptr<WatchHub::Subscription> subscription;
    {
      std::lock_guard lock(mutex_);
      if (over_) return;
      over_ = true;
      subscription = std::move(subscription_);
    }
    stream_->Finish(std::move(status));
    ended_(this);
  }

 private:
  // The hub calls with its lock held, gRPC in its callbacks: hand over.
  void PostPump() {
    (void)executor_->Post([self = shared_from_this()] { self->Pump(); });
  }
  void PostEnd() {
    if (!executor_->Post([self = shared_from_this()] { self->End(absl::CancelledError("the client went away")); })) {
      End(absl::CancelledError("the client went away"));
    }
  }

  void Pump() {
    SharedEvent event;
    bool cut_off = false;
    {
      std::lock_guard lock(mutex_);
      if (over_ || writing_ || !subscription_) return;
      event = subscription_->Next();
      if (!event) cut_off = subscription_->cut_off();
      writing_ = event != nullptr;
    }
    if (cut_off) return End(why_cut_off_());
    if (!event) return;
    stream_->WriteThen(*event, [self = shared_from_this()](bool ok) {
      if (!ok) return self->PostEnd();
      {
        std::lock_guard lock(self->mutex_);
        self->writing_ = false;
      }
      self->PostPump();
    });
  }

  const std::shared_ptr<EventStream> stream_;
  Executor* const executor_;
  const std::function<absl::Status()> why_cut_off_;
  const std::function<void(Watcher*)> ended_;
  std::mutex mutex_;
  std::unique_ptr<WatchHub::Subscription> subscription_;
  bool writing_ = false;
  bool over_ = false;
};

}  // namespace

class MetadataService::Impl final : public v1::Metadata::CallbackService {
 public:
  explicit Impl(Node* node) : node_(*node), executor_("metadata", kThreads), watch_executor_("watch", 2) {}

  grpc::ServerWriteReactor<v1::WatchEvent>* Watch(grpc::CallbackServerContext* context,
                                                  const v1::WatchRequest* request) override {
    return rpc::RunStream<v1::WatchEvent>(
        context, &executor_, [this, from = Revision(request->from_revision())](std::shared_ptr<EventStream> stream) {
          // Linearizable at its beginning: a subscriber never goes back behind what it has seen elsewhere.
          if (auto status = node_.Barrier(node_.clock()->Now() + kDefaultDeadline); !status.ok()) {
            return stream->Finish(status);
          }
          auto watcher = std::make_shared<Watcher>(
              std::move(stream), &watch_executor_,
              [this] {
                auto status = node_.CheckLeader();
                return status.ok() ? Aborted("too slow for the changes of routes; begin again with a snapshot")
                                   : status;
              },
              [this](Watcher* ended) {
                std::lock_guard lock(mutex_);
                std::erase_if(watchers_, [ended](const auto& watcher) { return watcher.get() == ended; });
              });
          {
            std::lock_guard lock(mutex_);
            watchers_.insert(watcher);
          }
          // It may have ceased to lead since the barrier, and have cut the others off before this one was among them.
          if (auto status = node_.CheckLeader(); !status.ok()) return watcher->End(status);
          watcher->Start(node_, from);
        });
  }

  grpc::ServerUnaryReactor* GetRoutes(grpc::CallbackServerContext* context, const v1::GetRoutesRequest* request,
                                      v1::WatchEvent* response) override {
    return rpc::RunBlocking(context, &executor_, [=, this](const rpc::Call& call) -> absl::Status {
      const MonotonicTime deadline = call.DeadlineOr(kDefaultDeadline);
      TERRANE_RETURN_IF_ERROR(node_.Barrier(deadline));
      const Revision least(request->min_revision());
      if (!node_.machine().WaitUntil(deadline, [least](const State& state) { return state.revision() >= least; })) {
        return Unavailable("revision ", least.value(), " is not known here yet");
      }
      *response = node_.machine().Routes();
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* GetMigration(grpc::CallbackServerContext* context, const v1::GetMigrationRequest* request,
                                         v1::GetMigrationResponse* response) override {
    return rpc::RunBlocking(context, &executor_, [=, this](const rpc::Call& call) -> absl::Status {
      TERRANE_RETURN_IF_ERROR(node_.Barrier(call.DeadlineOr(kDefaultDeadline)));
      return node_.Read([&](const State& state) -> absl::Status {
        response->set_dead_below(state.dead_below());
        if (request->id() < state.dead_below()) return absl::OkStatus();
        const v1::Migration* record = state.FindMigration(request->id());
        if (record == nullptr) {
          // Absence is not evidence (trap T64): never an answer.
          return rpc::WithReason(NotFound("no migration ", request->id(), " was ever registered here"),
                                 v1::ErrorDetail::NO_SUCH_MIGRATION);
        }
        *response->mutable_migration() = *record;
        return absl::OkStatus();
      });
    });
  }

  grpc::ServerUnaryReactor* RegisterShard(grpc::CallbackServerContext* context, const v1::RegisterShardRequest* request,
                                          v1::RegisterShardResponse* response) override {
    return rpc::RunBlocking(context, &executor_, [=, this](const rpc::Call& call) -> absl::Status {
      const MonotonicTime deadline = call.DeadlineOr(kDefaultDeadline);
      TERRANE_RETURN_IF_ERROR(node_.Barrier(deadline));
      const std::string cluster = node_.Read([](const State& state) { return state.cluster(); });
      if (cluster.empty()) return Unavailable("the cluster has no id yet; try again");
      if (!request->cluster().empty() && request->cluster() != cluster) {
        return FailedPrecondition("shard ", request->shard(), " belongs to cluster ", request->cluster(),
                                  "; this is cluster ", cluster);
      }
      v1::MetadataCommand command;
      command.mutable_register_shard()->set_name(request->shard());
      *command.mutable_register_shard()->mutable_replicas() = request->replicas();
      for (auto& replica : *command.mutable_register_shard()->mutable_replicas()) {
        if (replica.replica_id() != request->replica_id()) continue;
        replica.set_incarnation(request->start().incarnation());
        replica.set_start(request->start().start());
      }
      command.mutable_register_shard()->set_only_voter_as_of(request->only_voter_as_of());
      command.set_request_id(NewUniqueBytes());
      TERRANE_RETURN_IF_ERROR(node_.Commit(std::move(command), deadline).status());
      node_.registry().Registered(request->shard());
      response->set_cluster(cluster);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* ShardHeartbeat(grpc::CallbackServerContext* context,
                                           const v1::ShardHeartbeatRequest* request,
                                           v1::ShardHeartbeatResponse* response) override {
    return rpc::RunBlocking(context, &executor_, [=, this](const rpc::Call& call) -> absl::Status {
      TERRANE_RETURN_IF_ERROR(node_.CheckLeader());
      const auto find = [&](const State& state) -> std::optional<v1::Shard> {
        const v1::Shard* known = state.FindShard(request->shard());
        return known == nullptr ? std::nullopt : std::optional(*known);
      };
      auto shard = node_.Read(find);
      if (!shard) {
        return rpc::WithReason(NotFound("shard ", request->shard(), " is not registered"),
                               v1::ErrorDetail::NO_SUCH_SHARD);
      }
      TERRANE_RETURN_IF_ERROR(CheckLeads(*request, *shard));
      if (HasNews(*request, *shard)) {
        // Its members have changed, or the leader's directory; clients hear of it with the routes.
        v1::MetadataCommand command;
        command.mutable_register_shard()->set_name(request->shard());
        *command.mutable_register_shard()->mutable_replicas() = request->replicas();
        command.mutable_register_shard()->set_configuration(request->configuration());
        command.set_request_id(NewUniqueBytes());
        TERRANE_RETURN_IF_ERROR(node_.Commit(std::move(command), call.DeadlineOr(kDefaultDeadline)).status());
        shard = node_.Read(find);
      }
      if (node_.registry().Heard(*request) && shard) {
        v1::WatchEvent event;
        *event.add_shards() = *std::move(shard);
        node_.machine().PublishVolatile(std::move(event));
      }
      response->set_wall_ms(node_.clock()->Wall().count());
      response->set_dead_below(node_.Read([](const State& state) { return state.dead_below(); }));
      return absl::OkStatus();
    });
  }

  void CutOffWatchers() {
    std::set<std::shared_ptr<Watcher>> watchers;
    {
      std::lock_guard lock(mutex_);
      watchers.swap(watchers_);
    }
    for (const auto& watcher : watchers) watcher->End(rpc::NotLeader(""));
  }

  void Stop() {
    CutOffWatchers();
    executor_.Stop();
    watch_executor_.Stop();
  }

 private:
  Node& node_;
  std::mutex mutex_;
  std::set<std::shared_ptr<Watcher>> watchers_;
  Executor executor_;
  Executor watch_executor_;
};

MetadataService::MetadataService(Node* node) : impl_(std::make_unique<Impl>(node)) {}
MetadataService::~MetadataService() {
  Stop();
}
grpc::Service* MetadataService::service() {
  return impl_.get();
}
void MetadataService::CutOffWatchers() {
  impl_->CutOffWatchers();
}
void MetadataService::Stop() {
  impl_->Stop();
}

}  // namespace terrane::metadata
