// Channels to other processes, by endpoint, with arguments that find lost peers and come back quickly.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "rpc/credentials.h"

namespace grpc {
class Channel;
}

namespace terrane::rpc {

struct ChannelOptions {
  TlsFiles tls;  // empty: no TLS
  // A connection that no other channel shares, e.g. for heartbeats that must not wait behind documents.
  bool own_connection = false;
  // Connections to one endpoint over which a ChannelPool spreads calls; one HTTP/2 connection keeps about one core
  // busy.
  int connections = 1;
};

// Connects lazily; never blocks. Credentials that can not be read make a channel whose every call fails with
// UNAVAILABLE and the reason.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& endpoint, const ChannelOptions& options = {});

// One channel (or `connections` of them, in turn) for each endpoint, made when it is first asked for. Thread-safe.
class ChannelPool {
 public:
  explicit ChannelPool(ChannelOptions options = {}) : options_(std::move(options)) {}
  std::shared_ptr<grpc::Channel> Get(std::string_view endpoint);

 private:
  struct Entry {
    std::vector<std::shared_ptr<grpc::Channel>> channels;
    size_t next = 0;
  };
  const ChannelOptions options_;
  std::mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace terrane::rpc
