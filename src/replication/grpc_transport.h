// Members that talk over gRPC: for each peer two streams on connections of their own, one for votes, heartbeats and
// answers, one for entries, so that a 16 MiB document in front of a heartbeat starts no election.
//
//   auto transport = MakeGrpcTransport({.identity = ..., .members = ...});
//   server = rpc::Server::Start(options, {..., transport->service()});
//   log = ReplicatedLog::Open({..., .transport = transport.get()}, &machine);
//   ...
//   log->Stop();          // ends the streams, so that the server can shut down at once
//   server->Shutdown(...);
#pragma once

#include <memory>
#include <vector>

#include "replication/replicated_log.h"
#include "replication/transport.h"
#include "rpc/credentials.h"

namespace grpc {
class Service;
}

namespace terrane::replication {

struct GrpcTransportOptions {
  Identity identity;
  std::vector<Member> members;        // addresses of the others are used; more come by SetMember
  rpc::TlsFiles tls;                  // for the connections to the others
  FileSystem* file_system = nullptr;  // for checkpoints; nullptr: the machine's
  // Messages that wait for a peer, in bytes: votes, heartbeats and answers; entries. What exceeds it is dropped, which
  // Raft repairs.
  uint64_t max_urgent_bytes = 4 << 20;
  uint64_t max_bulk_bytes = 64 << 20;
  Clock* clock = Clock::System();
  // At this rate checkpoints are sent to peers, all together, so that what the disk and the network are there for goes
  // on; 0: no limit.
  uint64_t checkpoint_bytes_per_second = 64 << 20;
  // A peer that sends nothing of a checkpoint for so long is given up.
  std::chrono::milliseconds checkpoint_silence{10'000};
};

class GrpcTransport : public Transport {
 public:
  // The RaftTransport service; to be registered with a server that does not outlive the transport. It answers
  // UNAVAILABLE while no log is started.
  virtual grpc::Service* service() = 0;
};

std::unique_ptr<GrpcTransport> MakeGrpcTransport(GrpcTransportOptions options);

}  // namespace terrane::replication
