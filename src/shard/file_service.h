// gRPC service ShardFiles: segment files between the replicas of this shard.
#pragma once

#include <memory>

#include "shard/segment_files.h"

namespace grpc {
class Service;
}

namespace terrane::shard {

// Answered by every replica, on threads of its own that yield to requests. `files` outlives the service; stop it first.
std::unique_ptr<grpc::Service> MakeFileService(SegmentFiles* files);

}  // namespace terrane::shard
