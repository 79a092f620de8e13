// The other replicas of this shard, as keepers of segment files and of their own copies of the data.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::rpc {
class ChannelPool;
}

namespace terrane::shard {

struct PeerReplica {
  ReplicaId replica;
  std::string endpoint;
  bool voter = true;
};

// Thread-safe. The calls block, each for one replica; those under way and later ones end with kCancelled after Stop.
class PeerReplicas {
 public:
  virtual ~PeerReplicas() = default;

  // As configured now, without this one. Empty: a shard of one.
  virtual std::vector<PeerReplica> Others() const = 0;

  // The bytes of a segment file from `offset` on. kNotFound: that replica does not have it. An error of `on_data` ends
  // the call with that error.
  virtual absl::Status FetchFile(const PeerReplica& peer, CopyId copy, const std::string& name, int64_t offset,
                                 const std::function<absl::Status(std::string_view)>& on_data) = 0;
  virtual absl::StatusOr<terrane::v1::HoldSegmentResponse> HoldSegment(const PeerReplica& peer,
                                                                       const terrane::v1::HoldSegmentRequest& request,
                                                                       std::chrono::milliseconds timeout) = 0;
  // Last entry that it has applied.
  virtual absl::StatusOr<Position> Applied(const PeerReplica& peer) = 0;
  // Free space of its disk.
  virtual absl::StatusOr<uint64_t> FreeBytes(const PeerReplica& peer) = 0;
  virtual absl::StatusOr<terrane::v1::AuditResponse> Audit(const PeerReplica& peer,
                                                           const terrane::v1::AuditRequest& request,
                                                           std::chrono::milliseconds timeout) = 0;

  virtual void Stop() = 0;
};

// Over gRPC. `pool` outlives it; `others` is asked on any thread.
std::unique_ptr<PeerReplicas> MakeGrpcPeerReplicas(rpc::ChannelPool* pool,
                                                   std::function<std::vector<PeerReplica>()> others);

}  // namespace terrane::shard
