// One request to whoever owns a key: finds the owner, sends, and goes on until there is an answer or the deadline:
// stale routes, switches, lost leaders and unknown outcomes end in here. Includes gRPC.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "common/clock.h"
#include "common/ids.h"
#include "common/timer.h"
#include "proxy/holds.h"
#include "proxy/metadata_watcher.h"
#include "proxy/shard_links.h"
#include "routing/route_table.h"
#include "rpc/retry_policy.h"
#include "rpc/unary.h"

namespace terrane::proxy {

// The calls that are on their way, for the end of the process and of an office. Thread-safe.
class CallsInFlight {
 public:
  // `context` stays valid until Remove. `leader`: the endpoint of the replica that is asked because it leads its shard;
  // empty if any replica may answer.
  void Add(grpc::ClientContext* context, const ShardLink* link, std::string leader);
  void Remove(grpc::ClientContext* context);
  // Another replica leads the shard now: those that were sent to older leaders. They are sent again, instead of waiting
  // for one that is paused or cut off until their attempt is over.
  void CancelAtOtherLeaders(const ShardLink* link, std::string_view leader);
  // All that are on their way, and all that will be.
  void CancelAll();

 private:
  static constexpr size_t kParts = 8;
  struct Place {
    const ShardLink* link;
    std::string leader;
  };
  struct Part {
    std::mutex mutex;
    std::unordered_map<grpc::ClientContext*, Place> contexts;
  };
  Part& PartOf(grpc::ClientContext* context) { return parts_[reinterpret_cast<uintptr_t>(context) / 64 % kParts]; }
  std::array<Part, kParts> parts_;
  std::atomic<bool> cancelled_{false};
};

// What calls need; owned by the proxy, outlives them.
struct CallEnvironment {
  routing::RouteTable* table;
  ShardLinks* links;
  Holds* holds;
  MetadataWatcher* watcher;
  Timer* timer;
  CallsInFlight* in_flight;
};

// What a call is a part of.
struct CallScope {
  CollectionId collection;
  MonotonicTime deadline{};
  // The application's call, valid until it is answered; may be null.
  const rpc::Call* caller = nullptr;
};

enum class CallEnd {
  kAnswered,  // `status` is the answer
  kReplan,    // nothing was sent: what the call is about lies in several chunks now; `status` is OK
};

class RoutedCall : public std::enable_shared_from_this<RoutedCall> {
 public:
  virtual ~RoutedCall() = default;

  // Never blocks. The call keeps itself alive until its end.
  void Start() { Attempt(); }

 protected:
  RoutedCall(const CallEnvironment* environment, CallScope scope, std::string key, bool write)
      : environment_(environment), scope_(std::move(scope)), key_(std::move(key)), write_(write) {}

  // Sends the request with the route filled in; `then` in a callback.
  virtual void Transmit(ShardStub* stub, grpc::ClientContext* context, const routing::ChunkRoute& route,
                        std::function<void(grpc::Status)> then) = 0;
  // A read that any replica may answer.
  virtual bool AnyReplica() const = 0;
  // Whether all that the request is about lies in the route; the key does.
  virtual bool Fits(const routing::ChunkRoute& route) const = 0;
  virtual int64_t Bytes() const = 0;
  // Exactly once. In a callback, on the timer or on a worker: must not block. The status is fit for applications.
  virtual void Ended(CallEnd end, absl::Status status) = 0;

  const CallScope& scope() const { return scope_; }

 private:
  void Attempt();
  void AttemptAgain();
  void Answered(const grpc::Status& answer);
  void Hold(const absl::Status& status, const std::optional<v1::ErrorDetail>& detail);
  // True: the request waits; or the call is over.
  bool JoinHold();
  HoldQueue::Request HeldRequest();
  void Resume(const absl::Status& status);
  void Refresh();
  void Pause();
  void End(CallEnd end, absl::Status status);

  const CallEnvironment* const environment_;
  const CallScope scope_;
  const std::string key_;
  const bool write_;
  rpc::Backoff backoff_;
  int quick_retries_ = 0;
  size_t replicas_tried_ = 0;  // of those that may answer; the next one is asked next
  // Of one attempt at a shard of several replicas; longer after each that was given up, or what takes long never ends.
  std::chrono::nanoseconds attempt_timeout_ = std::chrono::seconds(1);
  bool probing_ = false;  // sent out of a hold: does not join it before it was sent
  routing::ChunkRoute route_;
  ShardLink* link_ = nullptr;
  std::string endpoint_;
  std::optional<grpc::ClientContext> context_;
  absl::Status last_error_;
};

template <typename Request, typename Response>
using ShardMethod = void (ShardStub::async_interface::*)(grpc::ClientContext*, const Request*, Response*,
                                                         std::function<void(grpc::Status)>);
// The methods of a shard, each picked from its overloads.
inline constexpr ShardMethod<v1::ShardInsertRequest, v1::ShardInsertResponse> kInsert =
    &ShardStub::async_interface::Insert;
inline constexpr ShardMethod<v1::ShardModifyRequest, v1::ShardModifyResponse> kModify =
    &ShardStub::async_interface::Modify;
inline constexpr ShardMethod<v1::ShardModifyManyRequest, v1::ShardModifyManyResponse> kModifyMany =
    &ShardStub::async_interface::ModifyMany;
inline constexpr ShardMethod<v1::ShardGetRequest, v1::ShardGetResponse> kGet = &ShardStub::async_interface::Get;
inline constexpr ShardMethod<v1::ShardScanRequest, v1::ShardScanResponse> kScan = &ShardStub::async_interface::Scan;
inline constexpr ShardMethod<v1::ShardCountRequest, v1::ShardCountResponse> kCount = &ShardStub::async_interface::Count;

// A call with its messages. `key`: where it goes.
template <typename Request, typename Response>
class ShardCall final : public RoutedCall {
 public:
  using Method = ShardMethod<Request, Response>;
  using FitsFn = std::function<bool(const routing::ChunkRoute&)>;
  using Then = std::function<void(CallEnd, absl::Status, ShardCall&)>;

  ShardCall(const CallEnvironment* environment, CallScope scope, std::string key, bool write, Method method)
      : RoutedCall(environment, std::move(scope), std::move(key), write), method_(method) {}

  Request request;
  Response response;
  FitsFn fits;  // null: always
  Then then;    // required

 protected:
  void Transmit(ShardStub* stub, grpc::ClientContext* context, const routing::ChunkRoute& route,
                std::function<void(grpc::Status)> done) override {
    v1::Route* wire = request.mutable_route();
    wire->set_collection_id(scope().collection.value());
    wire->set_copy_id(route.copy.value());
    wire->set_token(route.token.value());
    wire->set_shard(route.shard);
    wire->mutable_range()->set_min(route.range.min);
    wire->mutable_range()->set_unbounded(!route.range.max);
    wire->mutable_range()->set_max(route.range.max.value_or(""));
    response.Clear();
    (stub->async()->*method_)(context, &request, &response, std::move(done));
  }
  bool AnyReplica() const override {
    if constexpr (requires { request.read(); }) return request.read().mode() == v1::FOLLOWER;
    return false;
  }
  bool Fits(const routing::ChunkRoute& route) const override { return !fits || fits(route); }
  int64_t Bytes() const override { return request.ByteSizeLong(); }
  void Ended(CallEnd end, absl::Status status) override {
    Then last = std::move(then);
    then = nullptr;
    last(end, std::move(status), *this);
  }

 private:
  const Method method_;
};

}  // namespace terrane::proxy
