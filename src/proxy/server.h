// The stateless query router as a server: what terrane-proxy runs.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "rpc/credentials.h"

namespace terrane::proxy {

struct ProxyServerOptions {
  std::string listen = "127.0.0.1:0";  // port 0: any free one
  std::vector<std::string> metadata;   // endpoints of terrane-meta, at least one
  rpc::TlsFiles tls;
  bool insecure = false;  // allows an address that is not loopback without TLS
  // Of a request without a deadline of its own.
  std::chrono::milliseconds default_deadline{10'000};
  // Bounds of the hold queue of one chunk: what is beyond them is answered UNAVAILABLE.
  std::chrono::milliseconds max_hold{5'000};
  int64_t max_held_requests = 10'000;
  int64_t max_held_bytes = 64 << 20;
};

// Thread-safe.
class ProxyServer {
 public:
  // Listens and serves on return; routes are fetched in the background, requests wait for them.
  //   kInvalidArgument  the options
  //   kUnavailable      the address is in use
  static absl::StatusOr<std::unique_ptr<ProxyServer>> Start(ProxyServerOptions options);
  virtual ~ProxyServer() = default;  // stops

  // The bound host:port.
  virtual std::string address() const = 0;
  // Refuses new requests, lets running ones end for up to a second. Idempotent; blocks.
  virtual void Stop() = 0;
};

}  // namespace terrane::proxy
