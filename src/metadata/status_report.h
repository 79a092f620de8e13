// `terrane status`: how the cluster is, with what is wrong in sentences. Blocks: for workers.
#pragma once

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "rpc/channel.h"
#include "terrane/v1/cluster.pb.h"

namespace terrane::metadata {

class Node;

absl::StatusOr<v1::StatusResponse> MakeStatusReport(Node& node, rpc::ChannelPool* pool, MonotonicTime deadline);

}  // namespace terrane::metadata
