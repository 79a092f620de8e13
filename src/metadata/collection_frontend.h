// Creates, drops and lists collections: validates what people ask for, proposes it, waits for the shards to follow.
// All functions block: for workers. They are for the leader; others answer kUnavailable with NOT_LEADER.
#pragma once

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "terrane/v1/cluster.pb.h"

namespace terrane::metadata {

class Node;

// kInvalidArgument: name, shard key, chunks or split points. kAlreadyExists. kFailedPrecondition: no shard has
// registered. kDeadlineExceeded: a shard has not confirmed yet; the collection becomes ready when it does.
absl::StatusOr<v1::CreateCollectionResponse> CreateCollection(Node& node, const v1::CreateCollectionRequest& request,
                                                              MonotonicTime deadline);
// OK once nobody can see it; its data is removed soon afterwards. kNotFound, with a name that may have been meant.
absl::Status DropCollection(Node& node, const v1::DropCollectionRequest& request, MonotonicTime deadline);
absl::StatusOr<v1::ListCollectionsResponse> ListCollections(Node& node, MonotonicTime deadline);

// NO_SUCH_COLLECTION with the closest known name.
absl::Status NoSuchCollection(Node& node, const std::string& name);

}  // namespace terrane::metadata
