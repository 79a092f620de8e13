// The shard's calls to the metadata service.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/ids.h"
#include "rpc/credentials.h"
#include "terrane/v1/metadata.pb.h"

namespace terrane::shard {

// Thread-safe. Calls block for up to `timeout`, following the leader.
class MetadataLink {
 public:
  // One that asks the endpoints over gRPC.
  static std::unique_ptr<MetadataLink> Connect(std::vector<std::string> endpoints, const rpc::TlsFiles& tls);
  virtual ~MetadataLink() = default;

  // What became of a migration; linearizable. An answer without a record says nothing (trap T64).
  virtual absl::StatusOr<terrane::v1::GetMigrationResponse> GetMigration(MigrationId id,
                                                                         std::chrono::milliseconds timeout) = 0;
  virtual absl::StatusOr<terrane::v1::RegisterShardResponse> Register(const terrane::v1::RegisterShardRequest& request,
                                                                      std::chrono::milliseconds timeout) = 0;
  virtual absl::StatusOr<terrane::v1::ShardHeartbeatResponse> Heartbeat(
      const terrane::v1::ShardHeartbeatRequest& request, std::chrono::milliseconds timeout) = 0;
  // Calls return soon with CANCELLED, now and from now on.
  virtual void Cancel() = 0;
};

}  // namespace terrane::shard
