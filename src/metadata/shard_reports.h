// What the shards say of themselves, asked all at once. Blocks: for workers.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::metadata {

class Node;

using ShardReports = std::map<std::string, absl::StatusOr<v1::DescribeResponse>>;

// One entry for each registered shard; kDeadlineExceeded for those that did not answer in time.
ShardReports DescribeShards(Node& node, MonotonicTime deadline);

// The record of a chunk's owner in a report; null if the shard has no owner record of this copy that holds the range.
const v1::OwnedChunk* FindOwned(const v1::DescribeResponse& report, uint32_t copy, const v1::KeyRange& range);

}  // namespace terrane::metadata
