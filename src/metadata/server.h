// One node of the metadata service as a server: what terrane-meta runs. Its leader runs the coordinator of moves.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "replication/replicated_log.h"
#include "rpc/credentials.h"

namespace terrane::metadata {

struct MetadataServerOptions {
  std::filesystem::path directory;     // of its data; made if missing
  std::string listen = "127.0.0.1:0";  // port 0: any free one
  std::string advertise;               // host:port that others are told; empty: the bound one
  std::string cluster;                 // id of the cluster; empty: the first leader makes one up
  ReplicaId replica{1};
  std::vector<replication::Member> members;  // of the group, this one included; empty: this one alone
  rpc::TlsFiles tls;
  bool insecure = false;  // allows an address that is not loopback without TLS
  replication::Timeouts timeouts;
};

// Thread-safe.
class MetadataServer {
 public:
  // Recovers the directory and listens; health says SERVING from the return on, whether it leads or not.
  //   kInvalidArgument     the options
  //   kUnavailable         the address is in use
  //   kFailedPrecondition  the directory is in use, somebody else's, or of a newer format: the message says which
  //   kDataLoss            damaged: the message names file and place
  static absl::StatusOr<std::unique_ptr<MetadataServer>> Start(MetadataServerOptions options);
  virtual ~MetadataServer() = default;  // stops

  // The bound host:port.
  virtual std::string address() const = 0;
  // Hands leadership on, refuses new requests, stops the log. Idempotent; blocks.
  virtual void Stop() = 0;
};

}  // namespace terrane::metadata
