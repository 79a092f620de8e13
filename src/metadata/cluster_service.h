// The gRPC services v1::Collections and v1::Cluster: the admin API.
#pragma once

#include <memory>
#include <vector>

#include "rpc/channel.h"

namespace grpc {
class Service;
}
namespace terrane::migration {
class Coordinator;
}

namespace terrane::metadata {

class Node;

// Thread-safe.
class ClusterService {
 public:
  // All outlive it.
  ClusterService(Node* node, migration::Coordinator* coordinator, rpc::ChannelPool* pool);
  ~ClusterService();

  std::vector<grpc::Service*> services();
  // Calls that wait for shards, but for those through the node's gateway, end soon with kUnavailable, now and
  // later; OUTCOME_UNKNOWN where something was sent that may have been done.
  void Cancel();
  // After the server was shut down. Idempotent.
  void Stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace terrane::metadata
