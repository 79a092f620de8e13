#include "client/caller.h"

namespace terrane::client {

Caller::Caller(const Options& options) : deadline_(options.deadline) {
  rpc::ChannelOptions channel_options;
  channel_options.tls.ca = options.tls_ca_file;
  for (const std::string& proxy : options.proxies) channels_.push_back(rpc::MakeChannel(proxy, channel_options));
}

}  // namespace terrane::client
