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

// A step that is one entry of the log is proposed in the callback and answered when it is applied. What lasts longer
// (splits, the target's work) runs on `slow`. The arguments outlive the service.
std::unique_ptr<grpc::Service> MakeMoveService(const Core* core, Splitter* splitter, ImportController* imports,
                                               Executor* slow);

}  // namespace terrane::shard
