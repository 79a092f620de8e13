// `terrane check`: an audit of the map against what the shards own, and of that against the documents themselves.
// Blocks, for as long as it takes to read every document: for workers.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "metadata/shard_reports.h"
#include "terrane/v1/cluster.pb.h"
#include "terrane/v1/metadata_state.pb.h"

namespace terrane::metadata {

class Node;

// What is wrong between the map and the shards' own records, in sentences: gaps, overlaps, tokens, chunks that their
// owner does not know, chunks with two owners, copies that nobody owns. Pure. A chunk in a move is judged by what the
// move allows. `collection` empty: all.
std::vector<std::string> CompareMapWithShards(const v1::MetadataState& state, const ShardReports& reports,
                                              const std::string& collection);

// Streams findings as they come, progress, and a summary at the end. `emit` returns false when nobody listens any more.
// kCancelled soon after `over` is true; it is asked often, on the calling thread.
absl::Status RunCheck(Node& node, const v1::CheckRequest& request, MonotonicTime deadline,
                      const std::function<bool()>& over, const std::function<bool(v1::CheckEvent)>& emit);

}  // namespace terrane::metadata
