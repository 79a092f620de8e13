// Peer batches as protobuf and back.
#pragma once

#include "replication/transport.h"
#include "terrane/v1/raft.pb.h"

namespace terrane::replication {

v1::RaftBatch ToProto(PeerBatch batch);
// Takes the bytes out of `*proto`.
PeerBatch FromProto(v1::RaftBatch* proto);

}  // namespace terrane::replication
