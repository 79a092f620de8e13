#include "rpc/leader_client.h"

#include <algorithm>

namespace terrane::rpc {
namespace {

constexpr RetryPolicy kPolicy{.first = std::chrono::milliseconds(10), .greatest = std::chrono::milliseconds(100)};

bool WorthAnotherAttempt(const absl::Status& status, bool repeatable) {
  if (ReasonOf(status) == v1::ErrorDetail::NOT_LEADER) return true;
  if (!repeatable) return false;
  return status.code() == absl::StatusCode::kUnavailable || status.code() == absl::StatusCode::kDeadlineExceeded;
}

}  // namespace

absl::Status LeaderClient::Call(MonotonicTime deadline, const Attempt& attempt,
                                std::chrono::milliseconds attempt_timeout, bool repeatable) {
  Backoff backoff(kPolicy);
  absl::Status last = Unavailable("no endpoint of ", service_, " is configured");
  int hints = 0;
  for (;;) {
    const MonotonicTime now = Clock::System()->Now();
    if (now >= deadline) return last;
    const std::string endpoint = tracker_.Current();
    bool hurry = false;
    if (!endpoint.empty()) {
      grpc::ClientContext context;
      context.set_deadline(SystemDeadline(std::min<MonotonicTime>(deadline, now + attempt_timeout)));
      {
        std::lock_guard lock(mutex_);
        if (cancelled_) return absl::CancelledError("shutting down");
        running_.push_back(&context);
      }
      last = FromGrpc(attempt(pool_->Get(endpoint), &context));
      {
        std::lock_guard lock(mutex_);
        std::erase(running_, &context);
        if (cancelled_) return absl::CancelledError("shutting down");
      }
      if (last.ok()) {
        tracker_.Learn(endpoint);
        return last;
      }
      const absl::Status answer = last;
      if (NobodyAnswered(answer) || ReasonOf(answer) == v1::ErrorDetail::NOT_LEADER) {
        last = Annotate(answer, StrCat(service_, " at ", endpoint));
      }
      if (!WorthAnotherAttempt(answer, repeatable)) return last;
      hurry = tracker_.Failed(endpoint, answer) && ++hints % 4 != 0;  // two that name each other must not spin
    }
    if (hurry) continue;
    auto pause = backoff.Next(Clock::System()->Now(), deadline);
    if (!pause) return last;
    if (!Pause(*pause)) return absl::CancelledError("shutting down");
  }
}

void LeaderClient::Cancel() {
  std::lock_guard lock(mutex_);
  cancelled_ = true;
  for (grpc::ClientContext* context : running_) context->TryCancel();
  wake_.notify_all();
}

bool LeaderClient::Pause(std::chrono::nanoseconds pause) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, pause, [this] { return cancelled_; });
}

}  // namespace terrane::rpc
