// Whether the other voters of this shard hold on disk what their running digests say: any of them may lead tomorrow.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "common/ids.h"
#include "common/key_range.h"
#include "shard/peer_replicas.h"

namespace terrane::shard {

// Each other voter scans its own copy as of `position` or later, all at once. A voter that does not answer within some
// seconds is passed over, as long as a majority (this replica, which has been looked at, included) is sound. Blocks;
// stops `peers` when `cancelled`, which is looked at now and then.
//   DATA_LOSS with DIGEST_MISMATCH  a replica is damaged; the message names it
//   kUnavailable                    no majority answers
//   kCancelled
absl::Status AuditPeers(PeerReplicas* peers, CopyId copy, const KeyRange& range, Position position,
                        const std::function<bool()>& cancelled);

}  // namespace terrane::shard
