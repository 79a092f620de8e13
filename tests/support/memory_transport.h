// Members of one process that talk through queues: for tests of the host without gRPC, also under ThreadSanitizer.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "replication/file_system.h"
#include "replication/transport.h"
#include "terrane/v1/raft.pb.h"

namespace terrane::testing {

// The network. Thread-safe; outlives its transports.
class MemoryNetwork {
 public:
  // `file_system`: that of the member.
  std::unique_ptr<replication::Transport> MakeTransport(ReplicaId self, replication::FileSystem* file_system);

  // No message passes between the two, in both directions / in one.
  void Cut(ReplicaId a, ReplicaId b);
  void CutOneWay(ReplicaId from, ReplicaId to);
  // Cuts the member off from all of `others`.
  void Isolate(ReplicaId member, const std::set<ReplicaId>& others);
  void Heal();

  // Sees each batch before it is sent; false: it is lost. On the thread of its sender, which holds its locks.
  // Thread-safe.
  using BatchHook = std::function<bool(const replication::PeerBatch&, bool urgent)>;
  void SetBatchHook(BatchHook hook);

  // Sees each chunk of a checkpoint on its way, and may change it; an error breaks the stream. Thread-safe.
  using ChunkHook = std::function<absl::Status(ReplicaId from, ReplicaId to, v1::CheckpointChunk*)>;
  void SetChunkHook(ChunkHook hook);

 private:
  friend class MemoryTransport;
  class Endpoint;
  absl::Status OnChunk(ReplicaId from, ReplicaId to, v1::CheckpointChunk* chunk) const;
  bool OnBatch(const replication::PeerBatch& batch, bool urgent) const;
  bool Passes(ReplicaId from, ReplicaId to) const;
  std::shared_ptr<Endpoint> Find(ReplicaId id) const;

  mutable std::mutex mutex_;
  std::map<ReplicaId, std::shared_ptr<Endpoint>> endpoints_;
  std::set<std::pair<ReplicaId, ReplicaId>> cut_;
  BatchHook batch_hook_;
  ChunkHook chunk_hook_;
};

}  // namespace terrane::testing
