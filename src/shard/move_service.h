// The gRPC face of the steps of a move and of a collection's life: terrane.v1.ShardMove.
#pragma once

#include <memory>

#include "common/executor.h"
#include "shard/core.h"
#include "shard/import_controller.h"
#include "shard/splitter.h"

namespace grpc {
class Service;
}

namespace terrane::shard {

// A step that is one entry of the log is proposed in the callback and answered when it is applied. The target's work
// runs on `steps`, splits on `slow`: a chunk that is fenced does not wait behind what reads whole chunks. The arguments
// outlive the service.
std::unique_ptr<grpc::Service> MakeMoveService(const Core* core, Splitter* splitter, ImportController* imports,
                                               Executor* steps, Executor* slow);

}  // namespace terrane::shard
