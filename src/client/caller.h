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
#include "rpc/longest_wait.h"
#include "rpc/retry_policy.h"
#include "rpc/status.h"

namespace terrane::client {

// Whether a request is sent again after an unknown outcome: if it only reads, or bears a RetryId or request_id.
enum class Repeat {
  kNever,
  kWhenUnavailable,
  // Likewise, and it is soon done: while there is another proxy an attempt gets half of the time that is left, so that
  // a proxy that is paused or cut off costs a delay and no error.
  kWhenSilent,
};

// Thread-safe.
class Caller {
 public:
  explicit Caller(const Options& options);

  std::chrono::milliseconds DeadlineOf(const CallOptions& options) const {
    return rpc::BoundedWait(options.deadline.value_or(deadline_));
  }
  // A proxy to talk to; the same one until NextProxy is called about it, or NoteStatus finds that it is silent.
  std::shared_ptr<grpc::Channel> Channel(size_t proxy) const { return channels_[proxy % channels_.size()]; }
  size_t CurrentProxy() const { return current_.load(std::memory_order_relaxed); }
  void NextProxy(size_t lost) { current_.compare_exchange_strong(lost, lost + 1); }

  // Until when the next attempt may take, after `late` ones that ran out of their time; see Repeat::kWhenSilent.
  MonotonicTime AttemptEnd(MonotonicTime deadline, size_t late) const {
    const MonotonicTime now = Clock::System()->Now();
    return late + 1 < channels_.size() ? now + (deadline - now) / 2 : deadline;
  }

  // Calls `method` of a stub of `Service`, again while that helps and the deadline allows.
  template <typename Service, typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (Service::StubInterface::*method)(grpc::ClientContext*, const Request&,
                                                                               Response*),
                                const Request& request, const CallOptions& options,
                                Repeat repeat = Repeat::kWhenUnavailable) {
    const MonotonicTime deadline = Clock::System()->Now() + DeadlineOf(options);
    rpc::Backoff backoff;
    absl::Status unavailable;
    size_t late = 0;
    while (true) {
      const size_t proxy = CurrentProxy();
      const MonotonicTime end = repeat == Repeat::kWhenSilent ? AttemptEnd(deadline, late) : deadline;
      const std::unique_ptr<typename Service::Stub> stub = Service::NewStub(Channel(proxy));
      grpc::ClientContext context;
      context.set_deadline(
          std::chrono::system_clock::now() +
          std::chrono::duration_cast<std::chrono::system_clock::duration>(end - Clock::System()->Now()));
      Response response;
      typename Service::StubInterface& interface = *stub;
      const grpc::Status answer = (interface.*method)(&context, request, &response);
      NoteResent(context);
      if (answer.ok()) return response;
      absl::Status status = NoteStatus(rpc::FromGrpc(answer), proxy);
      const bool timed_out = absl::IsDeadlineExceeded(status) && end < deadline;
      if (repeat == Repeat::kNever || !(absl::IsUnavailable(status) || timed_out)) {
        return GivenUp(status, unavailable, backoff.attempts() + 1);
      }
      if (timed_out) {
        ++late;
      } else {
        unavailable = status;
      }
      NextProxy(proxy);
      const auto pause = backoff.Next(Clock::System()->Now(), deadline);
      if (!pause) return GivenUp(status, unavailable, backoff.attempts() + 1);
      NoteRetry();
      std::this_thread::sleep_for(*pause);  // the pause of the retry policy
    }
  }

  // What nobody answered bears the name of the proxy that was asked, and what follows goes to another one.
  absl::Status NoteStatus(const absl::Status& status, size_t proxy);
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
