#include "client/caller.h"

#include "absl/strings/numbers.h"
#include "rpc/unary.h"

namespace terrane::client {

Caller::Caller(const Options& options) : deadline_(options.deadline), proxies_(options.proxies) {
  rpc::ChannelOptions channel_options;
  channel_options.tls.ca = options.tls_ca_file;
  for (const std::string& proxy : options.proxies) channels_.push_back(rpc::MakeChannel(proxy, channel_options));
}

absl::Status Caller::NoteStatus(const absl::Status& status, size_t proxy) {
  if (!rpc::NobodyAnswered(status)) return status;
  NextProxy(proxy);
  return Annotate(status, StrCat("proxy ", proxies_[proxy % proxies_.size()]));
}

absl::Status Caller::GivenUp(const absl::Status& status, const absl::Status& unavailable, int attempts) {
  const bool silent = absl::IsDeadlineExceeded(status) && !unavailable.ok();
  const absl::Status& telling = silent ? unavailable : status;
  if (attempts == 1 || !(absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status))) return status;
  absl::Status given_up(status.code(), StrCat(MessageOf(telling), " (given up after ", attempts, " attempts)"));
  const auto detail = rpc::DetailOf(telling);
  return detail ? rpc::WithDetail(given_up, *detail) : given_up;
}

Timer* Caller::timer() {
  std::call_once(timer_made_, [this] { timer_ = std::make_unique<Timer>(); });
  return timer_.get();
}

void Caller::NoteResent(const grpc::ClientContext& context) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto found = trailers.find(rpc::kResentKey);
  if (found == trailers.end()) return;
  int64_t resent = 0;
  if (absl::SimpleAtoi(std::string(found->second.data(), found->second.size()), &resent)) retries_ += resent;
}

}  // namespace terrane::client
