#include "simulation/system_proxy.h"

#include <utility>

#include "proxy/retry_decision.h"
#include "rpc/status.h"
#include "simulation/system.h"

namespace terrane::simulation {

using proxy::HoldQueue;
using proxy::NextMove;

namespace {

constexpr Time kAttemptTimeout = 700ms;
constexpr int kQuickRetries = 4;
constexpr Time kTick = 10ms;

}  // namespace

class Proxy::Call : public std::enable_shared_from_this<Proxy::Call> {
 public:
  Call(Proxy* proxy, Operation operation, MonotonicTime deadline, Done done)
      : proxy_(*proxy), operation_(std::move(operation)), deadline_(deadline), done_(std::move(done)) {}

  void Attempt() {
    if (proxy_.Now() >= deadline_) return End(absl::DeadlineExceededError("the deadline is over"));
    const auto map = proxy_.table_->Get();
    const routing::ChunkRoute* route = map->Find(operation_.collection, operation_.key);
    if (route == nullptr) return Refresh();
    route_ = *route;
    if (JoinHold()) return;
    rpc::LeaderTracker& tracker = proxy_.trackers_[route_.shard];
    std::vector<std::string> endpoints;
    for (const auto& replica : proxy_.system_.FindGroup(route_.shard)->replicas) endpoints.push_back(replica->name());
    tracker.SetEndpoints(std::move(endpoints));
    endpoint_ = tracker.Current();
    ShardReplica* replica = proxy_.system_.FindReplica(endpoint_);
    auto answered = [self = shared_from_this()](absl::StatusOr<OperationAnswer> answer) {
      self->Answered(std::move(answer));
    };
    if (operation_.write) {
      WriteRequest request = *operation_.write;
      request.route = route_;
      proxy_.world().Call<OperationAnswer>(
          &proxy_, replica, "write", kAttemptTimeout,
          [replica, request](auto reply) {
            replica->Write(request, [reply](absl::StatusOr<WriteAnswer> answer) {
              answer.ok() ? reply(OperationAnswer{.write = *std::move(answer), .read = {}}) : reply(answer.status());
            });
          },
          answered);
    } else {
      proxy_.world().Call<OperationAnswer>(
          &proxy_, replica, "read", kAttemptTimeout,
          [replica, request = ReadRequest{operation_.collection, route_, operation_.key}](auto reply) {
            replica->Read(request, [reply](absl::StatusOr<ReadAnswer> answer) {
              answer.ok() ? reply(OperationAnswer{.write = {}, .read = *std::move(answer)}) : reply(answer.status());
            });
          },
          answered);
    }
  }

 private:
  void Answered(absl::StatusOr<OperationAnswer> answer) {
    rpc::LeaderTracker& tracker = proxy_.trackers_[route_.shard];
    if (answer.ok()) {
      tracker.Learn(endpoint_);
      return std::exchange(done_, nullptr)(std::move(answer));
    }
    const absl::Status status = answer.status();
    auto detail = rpc::DetailOf(status);
    switch (proxy::Decide(status, detail, /*repeatable=*/true)) {
      case NextMove::kReturn:
        return End(status);
      case NextMove::kLearnRoute:
        if (detail->route().shard().empty()) detail->mutable_route()->set_shard(route_.shard);
        if (proxy_.table_->Learn(detail->route())) proxy_.world().Probe("route learned from a refusal");
        if (detail->route().token() > route_.token.value() && quick_retries_++ < kQuickRetries) return Attempt();
        return Refresh();
      case NextMove::kRefreshRoute: {
        const auto map = proxy_.table_->Get();
        const routing::ChunkRoute* route = map->Find(operation_.collection, operation_.key);
        if (route != nullptr && route->token > route_.token && quick_retries_++ < kQuickRetries) return Attempt();
        return Refresh();
      }
      case NextMove::kHold:
        return Hold(detail);
      case NextMove::kPause:
        return Pause();
      case NextMove::kOtherReplica:
        if (tracker.Failed(endpoint_, status) && quick_retries_++ < kQuickRetries) return Attempt();
        return Pause();
    }
  }

  HoldQueue::Request HeldRequest() {
    return {deadline_, 100, operation_.write.has_value(),
            [self = shared_from_this()](const absl::Status& status) { self->Resume(status); }};
  }

  bool JoinHold() {
    if (std::exchange(probing_, false)) return false;
    HoldQueue::Request request = HeldRequest();
    switch (proxy_.holds_->Join(operation_.collection, route_, request)) {
      case HoldQueue::Answer::kHeld:
        proxy_.world().Probe("proxy held a request");
        return true;
      case HoldQueue::Answer::kRefused:
        Resume(Unavailable("too many requests wait"));
        return true;
      case HoldQueue::Answer::kSendAgain:
      case HoldQueue::Answer::kNoHold:
        return false;
    }
    return false;
  }

  void Hold(const std::optional<v1::ErrorDetail>& detail) {
    const routing::ChunkRoute* cached = nullptr;
    const auto map = proxy_.table_->Get();
    cached = map->Find(operation_.collection, operation_.key);
    HoldQueue::Request request = HeldRequest();
    const proxy::SwitchAttempt attempt{MigrationId(detail->migration_id()), terrane::Attempt(detail->attempt())};
    switch (proxy_.holds_->OnFenced(operation_.collection, route_, attempt, cached, request, proxy_.Now())) {
      case HoldQueue::Answer::kHeld:
        proxy_.world().Probe("proxy held a request");
        if (!std::exchange(proxy_.ticking_, true)) proxy_.After(kTick, [&proxy = proxy_] { proxy.Tick(); });
        return;
      case HoldQueue::Answer::kSendAgain:
        proxy_.world().Probe("refusal by a fence that is over");
        [[fallthrough]];
      case HoldQueue::Answer::kNoHold:
        if (quick_retries_++ < kQuickRetries) return Attempt();
        return Pause();
      case HoldQueue::Answer::kRefused:
        return End(Unavailable("held as long as allowed"));
    }
  }

  void Resume(const absl::Status& status) {
    if (!status.ok()) {
      proxy_.world().Probe("hold expired");
      return End(status);
    }
    probing_ = true;
    quick_retries_ = 0;
    const auto map = proxy_.table_->Get();
    const routing::ChunkRoute* route = map->Find(operation_.collection, operation_.key);
    if (route != nullptr && route->token > route_.token) {
      proxy_.world().Probe(route->copy == route_.copy ? "proxy held and released by the end of an attempt"
                                                      : "proxy held and released by a commit");
    }
    Attempt();
  }

  void Refresh() {
    proxy_.Refresh([self = shared_from_this()] { self->Pause(); });
  }

  void Pause() {
    const Time pause = proxy_.world().Between(pause_ / 2, pause_);
    pause_ = std::min<Time>(2 * pause_, 200ms);
    if (proxy_.Now() + pause >= deadline_) return End(Unavailable("the deadline is near"));
    proxy_.After(pause, [self = shared_from_this()] { self->Attempt(); });
  }

  void End(absl::Status status) { std::exchange(done_, nullptr)(std::move(status)); }

  Proxy& proxy_;
  const Operation operation_;
  const MonotonicTime deadline_;
  Done done_;
  Time pause_ = 5ms;
  int quick_retries_ = 0;
  bool probing_ = false;
  routing::ChunkRoute route_;
  std::string endpoint_;
};

Proxy::Proxy(SimulatedSystem* system, std::string name) : Process(&system->world, std::move(name)), system_(*system) {}

void Proxy::OnBoot() {
  table_ = std::make_unique<routing::RouteTable>();
  table_->AddListener([this](const std::shared_ptr<const routing::ChunkMap>&) {
    // Never here: this is inside of the table's change.
    After(Time(0), [this] { RoutesChanged(); });
  });
  proxy::HoldLimits limits;
  limits.time = std::chrono::milliseconds(2500);
  holds_ = std::make_unique<HoldQueue>(limits);
  std::vector<std::string> endpoints;
  for (const auto& node : system_.meta_nodes) endpoints.push_back(node->name());
  metadata_.SetEndpoints(std::move(endpoints));
  Subscribe();
}

void Proxy::OnKill() {
  holds_.reset();
  table_.reset();
  trackers_.clear();
  ticking_ = false;
}

void Proxy::Execute(Operation operation, Time timeout, Done done) {
  std::make_shared<Call>(this, std::move(operation), Now() + timeout, std::move(done))->Attempt();
}

// A stream may break without a word, so it is begun again now and then.
void Proxy::Subscribe() {
  After(world().Between(300ms, 1500ms), [this] { Subscribe(); });
  MetaNode* node = system_.FindMeta(metadata_.Current());
  stream_ = ++system_.next_stream;
  expected_ = 1;
  world().Send(this, node, "watch", [node, self = this, stream = stream_, from = table_->Get()->revision().value()] {
    node->Watch(self, stream, from);
  });
}

void Proxy::OnWatchEvent(uint64_t stream, uint64_t number, const v1::WatchEvent& event) {
  if (stream != stream_ || number != expected_) return;  // broken: the next subscription mends it
  ++expected_;
  table_->Apply(event);
}

void Proxy::Refresh(std::function<void()> then) {
  const std::string endpoint = metadata_.Current();
  MetaNode* node = system_.FindMeta(endpoint);
  world().Call<v1::WatchEvent>(
      this, node, "get routes", 1000ms, [node](auto reply) { node->GetRoutes(std::move(reply)); },
      [this, endpoint, then = std::move(then)](absl::StatusOr<v1::WatchEvent> event) {
        if (event.ok()) {
          metadata_.Learn(endpoint);
          table_->Apply(*event);
        } else {
          metadata_.Failed(endpoint, event.status());
        }
        then();
      });
}

void Proxy::RoutesChanged() {
  const auto map = table_->Get();
  auto resumed =
      holds_->OnRoutes([&map](CollectionId collection, std::string_view key) { return map->Find(collection, key); });
  Run(std::move(resumed));
}

void Proxy::Tick() {
  auto resumed = holds_->OnTime(Now());
  ticking_ = holds_->open();
  const bool is_long = ticking_ && Now() - *holds_->oldest() > 200ms;
  Run(std::move(resumed));
  if (is_long && world().Chance(100)) Refresh([] {});
  if (ticking_) After(kTick, [this] { Tick(); });
}

void Proxy::Run(std::vector<HoldQueue::Resumed> resumed) {
  for (auto& [resume, status] : resumed) {
    After(Time(0), [resume = std::move(resume), status = std::move(status)] { resume(status); });
  }
}

}  // namespace terrane::simulation
