// The source of a move, as the target sees it: the ShardExport services of the source shard's replicas.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::rpc {
class ChannelPool;
}

namespace terrane::shard {

// Metadata of a call: the replica that is asked is to refuse if it leads, or has not heard its leader of late.
inline constexpr const char* kFromFollowerKey = "terrane-from-follower";

// Thread-safe; the calls block. Each call asks one replica, as SourceChoice says; after a failure the next call asks
// another one.
class ImportSource {
 public:
  virtual ~ImportSource() = default;

  // `on_batch` may take what it wants out of the batch; an error from it ends the call with that error.
  virtual absl::Status ReadSegment(const terrane::v1::ReadSegmentRequest& request,
                                   const std::function<absl::Status(terrane::v1::SegmentBatch*)>& on_batch) = 0;
  virtual absl::Status HashRange(const terrane::v1::HashRangeRequest& request,
                                 const std::function<absl::Status(const terrane::v1::RangeDigest&)>& on_digest) = 0;
  // Waits for up to request.wait_ms() for something new; an interruptible one ends early by Interrupt.
  virtual absl::StatusOr<terrane::v1::OplogBatch> ReadOplog(const terrane::v1::ReadOplogRequest& request,
                                                            bool interruptible) = 0;
  // The last entries up to a fence: of the leader, who has them first.
  virtual absl::StatusOr<terrane::v1::OplogBatch> ReadOplogOfLeader(const terrane::v1::ReadOplogRequest& request) {
    return ReadOplog(request, /*interruptible=*/false);
  }

  // Ends the interruptible ReadOplog under way, or the next one at once, with kCancelled.
  virtual void Interrupt() = 0;
  // Ends all calls, now and in future, with kCancelled.
  virtual void Stop() = 0;
  virtual void SetEndpoints(std::vector<std::string> endpoints) = 0;
};

// Over gRPC. `pool` outlives it.
std::unique_ptr<ImportSource> MakeGrpcImportSource(rpc::ChannelPool* pool, std::vector<std::string> endpoints);

}  // namespace terrane::shard
