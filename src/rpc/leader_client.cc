#include "rpc/leader_client.h"

#include <algorithm>

namespace terrane::rpc {
namespace {

constexpr RetryPolicy kPolicy{.first = std::chrono::milliseconds(10), .greatest = std::chrono::milliseconds(100)};

// Who may wait for minutes for its answer does not wait as long for somebody to ask.
constexpr std::chrono::seconds kConnectPatience(5);

bool NothingWasDone(const absl::Status& status) {
  return ReasonOf(status) == v1::ErrorDetail::NOT_LEADER || NothingWasSent(status);
}

bool WorthAnotherAttempt(const absl::Status& status, bool repeatable) {
  if (NothingWasDone(status)) return true;
  if (!repeatable) return false;
  return status.code() == absl::StatusCode::kUnavailable || status.code() == absl::StatusCode::kDeadlineExceeded;
}

// CANCELLED would say that the caller has called it off; the caller is as eager as ever, and may ask another node.
absl::Status Stopped(bool unsure) {
  if (!unsure) return Unavailable("shutting down");
  return WithReason(Unavailable("shutting down before the answer was there"), v1::ErrorDetail::OUTCOME_UNKNOWN);
}

}  // namespace

absl::Status LeaderClient::Call(MonotonicTime deadline, const Attempt& attempt,
                                std::chrono::milliseconds attempt_timeout, bool repeatable) {
  Backoff backoff(kPolicy);
  absl::Status last = Unavailable("no endpoint of ", service_, " is configured");
  const MonotonicTime began = Clock::System()->Now();
  int hints = 0;
  bool unsure = false;  // something was sent that may have been done, or may be yet
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
        if (cancelled_) return Stopped(unsure);
        running_.push_back(&context);
      }
      last = FromGrpc(attempt(pool_->Get(endpoint), &context));
      bool cancelled = false;
      {
        std::lock_guard lock(mutex_);
        std::erase(running_, &context);
        cancelled = cancelled_;
      }
      if (last.ok()) {
        tracker_.Learn(endpoint);
        return last;
      }
      const absl::Status answer = last;
      unsure = unsure || !NothingWasDone(answer);
      if (cancelled && (absl::IsCancelled(answer) || WorthAnotherAttempt(answer, repeatable))) return Stopped(unsure);
      if (NobodyAnswered(answer) || ReasonOf(answer) == v1::ErrorDetail::NOT_LEADER) {
        last = Annotate(answer, StrCat(service_, " at ", endpoint));
      }
      if (!WorthAnotherAttempt(answer, repeatable)) return last;
      if (!repeatable && NothingWasSent(answer) && now > began + kConnectPatience) return last;
      hurry = tracker_.Failed(endpoint, answer) && ++hints % 4 != 0;  // two that name each other must not spin
    }
    if (hurry) continue;
    auto pause = backoff.Next(Clock::System()->Now(), deadline);
    if (!pause) return last;
    if (!Pause(*pause)) return Stopped(unsure);
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
