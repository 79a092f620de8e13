// ShardGateway over gRPC: finds the leader of a shard and calls it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "migration/shard_gateway.h"
#include "rpc/channel.h"

namespace terrane::migration {

// Endpoints of a shard's replicas, the leader first if it is known. Thread-safe; must not block.
using EndpointsOf = std::function<std::vector<std::string>(const std::string& shard)>;

// `pool` outlives it. Its destructor waits for the calls that are under way.
std::unique_ptr<ShardGateway> MakeRpcShardGateway(rpc::ChannelPool* pool, EndpointsOf endpoints);

}  // namespace terrane::migration
