#include "client/caller.h"

#include "absl/strings/numbers.h"
#include "rpc/unary.h"

namespace terrane::client {

Caller::Caller(const Options& options) : deadline_(options.deadline) {
  rpc::ChannelOptions channel_options;
  channel_options.tls.ca = options.tls_ca_file;
  for (const std::string& proxy : options.proxies) channels_.push_back(rpc::MakeChannel(proxy, channel_options));
}

void Caller::NoteResent(const grpc::ClientContext& context) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto found = trailers.find(rpc::kResentKey);
  if (found == trailers.end()) return;
  int64_t resent = 0;
  if (absl::SimpleAtoi(std::string(found->second.data(), found->second.size()), &resent)) retries_ += resent;
}

}  // namespace terrane::client
