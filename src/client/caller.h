// The one place of the client that decides on retries: sends a call to one proxy after the other within its deadline.
// Internal to src/client.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "client/client.h"
#include "common/clock.h"
#include "common/timer.h"
#include "rpc/channel.h"
#include "rpc/retry_policy.h"
#include "rpc/status.h"

namespace terrane::client {

// Thread-safe.
class Caller {
 public:
  explicit Caller(const Options& options);

  std::chrono::milliseconds DeadlineOf(const CallOptions& options) const {
    return options.deadline.value_or(deadline_);
  }
  // A proxy to talk to; the same one until NextProxy is called about it.
  std::shared_ptr<grpc::Channel> Channel(size_t proxy) const { return channels_[proxy % channels_.size()]; }
  size_t CurrentProxy() const { return current_.load(std::memory_order_relaxed); }
  void NextProxy(size_t lost) { current_.compare_exchange_strong(lost, lost + 1); }

  // Calls `method` of a stub of `Service`, again while that helps and the deadline allows. `repeatable`: the request
  // may be sent again after an unknown outcome (it only reads, or bears a RetryId or request_id).
  template <typename Service, typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (Service::StubInterface::*method)(grpc::ClientContext*, const Request&,
                                                                               Response*),
                                const Request& request, const CallOptions& options, bool repeatable = true) {
    const MonotonicTime deadline = Clock::System()->Now() + DeadlineOf(options);
    rpc::Backoff backoff;
    absl::Status unavailable;
    while (true) {
      const size_t proxy = CurrentProxy();
      const std::unique_ptr<typename Service::Stub> stub = Service::NewStub(Channel(proxy));
      grpc::ClientContext context;
      context.set_deadline(
          std::chrono::system_clock::now() +
          std::chrono::duration_cast<std::chrono::system_clock::duration>(deadline - Clock::System()->Now()));
      Response response;
      typename Service::StubInterface& interface = *stub;
      const grpc::Status answer = (interface.*method)(&context, request, &response);
      NoteResent(context);
      if (answer.ok()) return response;
      absl::Status status = NameProxy(rpc::FromGrpc(answer), proxy);
      if (!repeatable || !absl::IsUnavailable(status)) return GivenUp(status, unavailable, backoff.attempts() + 1);
      unavailable = status;
      NextProxy(proxy);
      const auto pause = backoff.Next(Clock::System()->Now(), deadline);
      if (!pause) return GivenUp(status, unavailable, backoff.attempts() + 1);
      NoteRetry();
      std::this_thread::sleep_for(*pause);  // the pause of the retry policy
    }
  }

  // What nobody answered bears the name of the proxy that was asked.
  absl::Status NameProxy(const absl::Status& status, size_t proxy) const;
  // The error after `attempts`; it says how many, unless the last one was answered with what is not tried again. A last
  // attempt that just ran out of time says less than `unavailable`, what was wrong
  // in one before it.
  static absl::Status GivenUp(const absl::Status& status, const absl::Status& unavailable, int attempts);
  // For time-outs of streams; made when it is first needed.
  Timer* timer();

  void NoteRetry() { retries_.fetch_add(1, std::memory_order_relaxed); }
  // What the proxy says of a call that is over.
  void NoteResent(const grpc::ClientContext& context);
  int64_t retries() const { return retries_.load(std::memory_order_relaxed); }

 private:
  std::chrono::milliseconds deadline_;
  std::vector<std::string> proxies_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::once_flag timer_made_;
  std::unique_ptr<Timer> timer_;
  std::atomic<size_t> current_{0};
  std::atomic<int64_t> retries_{0};
};

}  // namespace terrane::client
