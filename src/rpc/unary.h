// Handlers of unary calls over gRPC's callback API. Includes gRPC: for the .cc files that implement a service.
//
//   grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context, const GetRequest* request,
//                                 GetResponse* response) override {
//     return rpc::RunUnary(context, &executor_, [=, this](const rpc::Call& call, rpc::Done done) {
//       done(table_.Get(*request, response));     // now, or later from any thread; exactly once
//     });
//   }
//
// Request and response live until `done` is called; nothing of the call may be touched after it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "common/clock.h"
#include "common/executor.h"
#include "common/status.h"
#include "rpc/status.h"

namespace terrane::rpc {

// Ends the call. Exactly once, from any thread.
using Done = std::function<void(absl::Status)>;

// gRPC's deadline on our monotonic clock; nullopt: the client gave none.
inline std::optional<MonotonicTime> DeadlineOf(std::chrono::system_clock::time_point deadline) {
  // "No deadline" is the far end of time; anything beyond a year is as good as none.
  const auto left = deadline - std::chrono::system_clock::now();
  if (left > std::chrono::hours(24 * 365)) return std::nullopt;
  return Clock::System()->Now() + std::chrono::duration_cast<std::chrono::nanoseconds>(left);
}
// The other way, for client contexts.
inline std::chrono::system_clock::time_point SystemDeadline(MonotonicTime deadline) {
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(deadline - Clock::System()->Now());
}

inline constexpr const char* kResentKey = "terrane-resent";
// Metadata of a stream: how many milliseconds its client waits for each message.
inline constexpr const char* kStepTimeoutKey = "terrane-step-timeout-ms";

// How much earlier than its client a server gives up, so that the client hears why.
inline std::chrono::nanoseconds AnswerTime(std::chrono::nanoseconds left) {
  return std::clamp<std::chrono::nanoseconds>(left / 20, std::chrono::nanoseconds(0), std::chrono::milliseconds(50));
}

// What a handler may know of its call. Thread-safe.
class Call {
 public:
  explicit Call(grpc::CallbackServerContext* context) : context_(context), deadline_(DeadlineOf(context->deadline())) {
    if (deadline_) *deadline_ -= AnswerTime(*deadline_ - Clock::System()->Now());
  }

  // Until when there must be an answer: a little before the client's deadline. On Clock::System(); nullopt: none was
  // given.
  std::optional<MonotonicTime> deadline() const { return deadline_; }
  MonotonicTime DeadlineOr(std::chrono::nanoseconds otherwise) const {
    return deadline_ ? *deadline_ : Clock::System()->Now() + otherwise;
  }
  // The client went away, or the deadline passed, or the server is shutting down: the answer interests nobody any more.
  // (What was proposed still takes its course.)
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  void MarkCancelled() { cancelled_.store(true, std::memory_order_relaxed); }
  // What the client says in kStepTimeoutKey; nullopt: nothing.
  std::optional<std::chrono::milliseconds> StepTimeout() const;
  // What the call is about was sent again, or held: the client is told how often, in kResentKey of the trailing
  // metadata.
  void NoteResent() const { resent_.fetch_add(1, std::memory_order_relaxed); }
  // Right before the end of the call.
  void AddTrailers() const {
    const int64_t resent = resent_.load(std::memory_order_relaxed);
    if (resent > 0) context_->AddTrailingMetadata(kResentKey, std::to_string(resent));
  }

 private:
  grpc::CallbackServerContext* const context_;
  std::optional<MonotonicTime> deadline_;
  std::atomic<bool> cancelled_{false};
  mutable std::atomic<int64_t> resent_{0};
};

inline std::optional<std::chrono::milliseconds> Call::StepTimeout() const {
  const auto& metadata = context_->client_metadata();
  const auto found = metadata.find(kStepTimeoutKey);
  int64_t ms = 0;
  if (found == metadata.end() || !absl::SimpleAtoi(std::string(found->second.data(), found->second.size()), &ms) ||
      ms <= 0) {
    return std::nullopt;
  }
  return std::chrono::milliseconds(ms);
}

namespace internal {

class UnaryReactor final : public grpc::ServerUnaryReactor {
 public:
  explicit UnaryReactor(grpc::CallbackServerContext* context) : call_(context) {}
  Call& call() { return call_; }
  void OnCancel() override { call_.MarkCancelled(); }
  void OnDone() override { delete this; }

 private:
  Call call_;
};

}  // namespace internal

// Runs fn(const Call&, Done) on the executor; with a null executor right in the callback, where it must not block.
// A full executor answers UNAVAILABLE without effect.
template <typename Fn>
grpc::ServerUnaryReactor* RunUnary(grpc::CallbackServerContext* context, Executor* executor, Fn fn) {
  auto* reactor = new internal::UnaryReactor(context);
  Done done = [reactor](absl::Status status) {
    reactor->call().AddTrailers();
    reactor->Finish(ToGrpc(status));
  };
  if (executor == nullptr) {
    fn(static_cast<const Call&>(reactor->call()), std::move(done));
  } else if (!executor->Post([reactor, done, fn = std::move(fn)]() mutable {
               fn(static_cast<const Call&>(reactor->call()), std::move(done));
             })) {
    done(Unavailable("too many requests are waiting here; try again"));
  }
  return reactor;
}

// The same for handlers that have their answer when they return: fn(const Call&) -> absl::Status, may block.
template <typename Fn>
grpc::ServerUnaryReactor* RunBlocking(grpc::CallbackServerContext* context, Executor* executor, Fn fn) {
  return RunUnary(context, executor, [fn = std::move(fn)](const Call& call, Done done) mutable { done(fn(call)); });
}

}  // namespace terrane::rpc
