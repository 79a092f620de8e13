// The gRPC service v1::Metadata: for proxies, shards and tools.
#pragma once

#include <memory>

namespace grpc {
class Service;
}

namespace terrane::metadata {

class Node;

// Thread-safe.
class MetadataService {
 public:
  // `node` outlives it.
  explicit MetadataService(Node* node);
  ~MetadataService();

  grpc::Service* service();
  // Ends the streams of all subscribers, who then look for another leader; new ones may come.
  void CutOffWatchers();
  // After the server was shut down. Idempotent.
  void Stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace terrane::metadata
