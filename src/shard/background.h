// Work that yields to requests: copying and hashing for moves.
#pragma once

namespace terrane::shard {

// Lowers the priority of the calling thread for good; cheap when it is low already. Never used on a path that somebody
// waits for (tailing, fencing, completing): on a busy machine those would wait behind the requests that wait for them.
void YieldToRequests();

}  // namespace terrane::shard
