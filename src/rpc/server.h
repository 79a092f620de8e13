// A gRPC server with what every process of ours wants: message limits, keepalive, health, reflection, TLS from files, a
// port that nobody shares.
//
//   auto server = Server::Start({.address = "127.0.0.1:0"}, {&service});
//   LOG(server->address());
//   server->Shutdown(2s);
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "rpc/credentials.h"

namespace grpc {
class Channel;
class Service;
}  // namespace grpc

namespace terrane::rpc {

inline constexpr int kMaxMessageBytes = 64 * 1024 * 1024;

struct ServerOptions {
  std::string address = "127.0.0.1:0";  // port 0: any free one
  TlsFiles tls;
  bool insecure = false;  // allows an address that is not loopback without TLS
};

// Thread-safe.
class Server {
 public:
  // Listens and serves on return. The services must outlive the server. kInvalidArgument: address or credentials;
  // kUnavailable: the port is in use.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                                       const std::vector<grpc::Service*>& services);
  // Shuts down with a second of grace.
  ~Server();

  // host:port with the port that is really bound.
  const std::string& address() const;
  int port() const;

  // What the standard health service answers for the whole process; true after Start.
  void SetServing(bool serving);

  // A channel without a socket, for tests.
  std::shared_ptr<grpc::Channel> InProcessChannel();

  // Refuses new calls, lets running ones end, cancels them after `grace`, returns when all handlers are done. Handlers
  // that wait must therefore react to cancellation. Idempotent.
  void Shutdown(std::chrono::milliseconds grace);

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace terrane::rpc
