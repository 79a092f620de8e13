// How the members of a group talk. Implementations: grpc_transport.h; in memory in tests/support.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "raft/types.h"
#include "replication/file_sum.h"
#include "replication/identity.h"
#include "replication/log_format.h"
#include "replication/replicated_log.h"

namespace terrane::replication {

// What travels from one member to another.
struct PeerBatch {
  std::string cluster;
  std::string group;
  ReplicaId from;
  ReplicaId to;
  StartId start;          // of the sender
  StartId acknowledged;   // the greatest start of the receiver that the sender knows of; zeros: none
  bool greeting = false;  // the sender asks for any batch in return
  bool joining = false;   // its directory is new: it has no vote and wants to be taken in (again)
  Position replaced_at;   // raft.proto has the rule
  std::vector<raft::Message> messages;
};

class CheckpointSink;

// A checkpoint that peers may read; its directory goes away with the last reference.
struct Checkpoint {
  std::string id;  // unique on its replica
  std::filesystem::path directory;
  LogPoint point;             // last entry whose effect it holds
  std::string configuration;  // members as of that
  std::shared_ptr<FileSums> sums = std::make_shared<FileSums>();
};

// The side that receives; implemented by ReplicatedLog. Thread-safe; does not block.
class PeerReceiver {
 public:
  virtual ~PeerReceiver() = default;
  virtual void OnBatch(PeerBatch batch) = 0;
  // A peer asks for a state at `at_least` or later; if there still is one with this id, for that one. `done` is called
  // on some thread, once, unless the log stops.
  virtual void OnCheckpointWanted(Position at_least, const std::string& id,
                                  std::function<void(absl::StatusOr<std::shared_ptr<const Checkpoint>>)> done) = 0;
};

// Thread-safe. Made before, and outlives, the log that uses it.
class Transport {
 public:
  virtual ~Transport() = default;

  // From now on incoming batches go to `receiver`. Called once.
  virtual void Start(PeerReceiver* receiver) = 0;
  // No call of the receiver is under way or begins after the return.
  virtual void Stop() = 0;

  // Where a member is from now on. Does not block.
  virtual void SetMember(const Member& member) = 0;

  // Does not block; keeps the order of calls with the same `urgent`, over a connection of its own for each; drops the
  // batch if the peer is away or its queue is full, which Raft repairs.
  virtual void Send(PeerBatch batch, bool urgent) = 0;

  // One stream of a checkpoint at `at_least` or later from `from`, beginning at sink->Place(). OK: it came to its end.
  // Blocks. kCancelled soon after `*cancelled` becomes true; what the sink returns; or why the peer sent no more.
  virtual absl::Status FetchCheckpoint(ReplicaId from, Position at_least, CheckpointSink* sink,
                                       const std::atomic<bool>* cancelled) = 0;
};

}  // namespace terrane::replication
