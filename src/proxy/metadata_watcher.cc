#include "proxy/metadata_watcher.h"

#include <atomic>
#include <memory>
#include <utility>

#include "common/logging.h"
#include "common/status.h"
#include "rpc/retry_policy.h"
#include "terrane/v1/metadata.grpc.pb.h"

namespace terrane::proxy {
namespace {

constexpr std::chrono::seconds kRefreshTimeout{2};
constexpr rpc::RetryPolicy kReconnect{.first = std::chrono::milliseconds(20),
                                      .greatest = std::chrono::milliseconds(200)};
constexpr MonotonicTime kForEver = std::chrono::hours(24 * 365 * 100);

}  // namespace

MetadataWatcher::MetadataWatcher(rpc::LeaderClient* client, routing::RouteTable* table, Timer* timer)
    : client_(client), table_(table), timer_(timer), watch_thread_([this] { WatchLoop(); }), refresh_thread_([this] {
        RefreshLoop();
      }) {}

MetadataWatcher::~MetadataWatcher() {
  Stop();
}

void MetadataWatcher::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    if (watch_context_ != nullptr) watch_context_->TryCancel();
  }
  wake_.notify_all();
  client_->Cancel();
  if (watch_thread_.joinable()) watch_thread_.join();
  if (refresh_thread_.joinable()) refresh_thread_.join();
}

void MetadataWatcher::Refresh(MonotonicTime deadline, std::function<void(absl::Status)> then) {
  struct Waiter {
    std::atomic<bool> answered{false};
    std::function<void(absl::Status)> then;  // of whoever sets `answered`
  };
  auto waiter = std::make_shared<Waiter>();
  waiter->then = std::move(then);
  auto answer = [waiter](absl::Status status) {
    if (!waiter->answered.exchange(true)) std::exchange(waiter->then, nullptr)(std::move(status));
  };
  const Timer::Id id = timer_->After(deadline - Clock::System()->Now(),
                                     [answer] { answer(absl::DeadlineExceededError("no answer in time")); });
  Enqueue([this, id, answer](absl::Status status) {
    timer_->Cancel(id);
    answer(std::move(status));
  });
}

void MetadataWatcher::Enqueue(std::function<void(absl::Status)> then) {
  {
    std::lock_guard lock(mutex_);
    if (!stopping_) {
      waiting_.push_back(std::move(then));
      wake_.notify_all();
      return;
    }
  }
  then(absl::CancelledError("the proxy is shutting down"));
}

void MetadataWatcher::RefreshIfIdle() {
  std::lock_guard lock(mutex_);
  if (stopping_ || refreshing_ || !waiting_.empty()) return;
  waiting_.push_back([](const absl::Status&) {});
  wake_.notify_all();
}

void MetadataWatcher::WatchLoop() {
  rpc::Backoff backoff(kReconnect);
  bool reported = false;
  for (;;) {
    const std::string endpoint = client_->tracker().Current();
    const Revision before = table_->Get()->revision();
    const absl::Status status = WatchOnce(endpoint);
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
    const bool hint = client_->tracker().Failed(endpoint, status);
    if (table_->Get()->revision() > before) {
      backoff = rpc::Backoff(kReconnect);
      reported = false;
    }
    if (!reported && backoff.attempts() >= 5) {
      LogWarn("proxy", "no routes from the metadata service; the known ones stay in use",
              {{"endpoint", endpoint}, {"status", status}, {"revision", before}});
      reported = true;
    }
    const auto pause = backoff.Next(Clock::System()->Now(), kForEver);
    if (!hint && !Pause(*pause)) return;
  }
}

absl::Status MetadataWatcher::WatchOnce(const std::string& endpoint) {
  if (endpoint.empty()) return Unavailable("no endpoint");
  grpc::ClientContext context;
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return absl::CancelledError();
    watch_context_ = &context;
    watched_ = endpoint;
  }
  v1::WatchRequest request;
  request.set_from_revision(table_->Get()->revision().value());
  const auto stub = v1::Metadata::NewStub(client_->pool()->Get(endpoint));
  const auto reader = stub->Watch(&context, request);
  v1::WatchEvent event;
  while (reader->Read(&event)) table_->Apply(event);
  const absl::Status status = rpc::FromGrpc(reader->Finish());
  std::lock_guard lock(mutex_);
  watch_context_ = nullptr;
  watched_.clear();
  return status.ok() ? Unavailable("the stream of routes ended") : status;
}

void MetadataWatcher::RefreshLoop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    auto waiting = std::exchange(waiting_, {});
    refreshing_ = !stopping_;
    const bool stopping = stopping_;
    lock.unlock();
    const absl::Status status = stopping ? absl::CancelledError("the proxy is shutting down") : RefreshOnce();
    for (const auto& then : waiting) then(status);
    waiting.clear();
    lock.lock();
    refreshing_ = false;
    if (stopping_ && waiting_.empty()) return;
  }
}

absl::Status MetadataWatcher::RefreshOnce() {
  v1::GetRoutesRequest request;
  v1::WatchEvent event;
  const absl::Status status =
      client_->Call(Clock::System()->Now() + kRefreshTimeout, [&](const auto& channel, grpc::ClientContext* context) {
        event.Clear();
        return v1::Metadata::NewStub(channel)->GetRoutes(context, request, &event);
      });
  if (!status.ok()) return status;
  table_->Apply(event);
  // The answer came from the leader: a stream from somebody else is a stream from yesterday.
  const std::string leader = client_->tracker().Current();
  std::lock_guard lock(mutex_);
  if (watch_context_ != nullptr && watched_ != leader) watch_context_->TryCancel();
  return absl::OkStatus();
}

bool MetadataWatcher::Pause(std::chrono::nanoseconds pause) {
  std::unique_lock lock(mutex_);
  // New refreshes wake this up too, early; that does no harm.
  wake_.wait_for(lock, pause, [this] { return stopping_; });
  return !stopping_;
}

}  // namespace terrane::proxy
