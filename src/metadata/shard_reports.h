// What the shards say of themselves, asked all at once. Blocks: for workers.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::metadata {

class Node;

using ShardReports = std::map<std::string, absl::StatusOr<v1::DescribeResponse>>;

// One entry for each registered shard; kDeadlineExceeded for those that did not answer in time.
ShardReports DescribeShards(Node& node, MonotonicTime deadline);

// OK; kUnavailable if calls were cut off, as they are when this node shuts down: what such reports lack says nothing of
// the shards.
absl::Status NotCutOff(const ShardReports& reports);

// What a shard knows of a chunk of the map, in the order of the keys: the records of the copy that together make up the
// range exactly. It is one, or several where the shard has applied a split that the map has not heard of (yet, or ever:
// nobody was left to tell it). Empty if there are none, or a part is missing. They point into the report.
std::vector<const v1::OwnedChunk*> PartsOf(const v1::DescribeResponse& report, uint32_t copy,
                                           const v1::KeyRange& range);
// The digest of the whole.
v1::ChunkDigest SumOf(const std::vector<const v1::OwnedChunk*>& parts);

}  // namespace terrane::metadata
