// The gRPC face of reads and writes: terrane.v1.ShardDocuments.
#pragma once

#include <memory>

#include "shard/core.h"
#include "shard/read_path.h"
#include "shard/write_path.h"

namespace grpc {
class Service;
}

namespace terrane::shard {

// Callbacks only hand over to core->executor. The arguments outlive the service, and the server that it is given to.
std::unique_ptr<grpc::Service> MakeDocumentService(const Core* core, ReadPath* reads, WritePath* writes);

}  // namespace terrane::shard
