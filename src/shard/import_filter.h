// Which changes of the source's oplog the target still needs. Pure.
#pragma once

#include "absl/status/status.h"
#include "shard/ownership.h"
#include "terrane/v1/shard.pb.h"
#include "terrane/v1/shard_log.pb.h"

namespace terrane::shard {

// Whether a change at `position` of the source's log must be applied: not if the segment that its key lies in reflects
// it already; an older image over a newer segment would bring the old value back (trap T14). kInternal: the key lies in
// no segment.
absl::StatusOr<bool> NeedsChange(const Import& import, std::string_view shard_key, Position position);

// Moves the changes that are needed from `from` (in order) to the end of out->changes(), and the greatest hybrid time
// to out->hybrid_time(). kDataLoss: an ingest in the tail, which is a hole (trap T27).
absl::Status TakeNeededChanges(const Import& import, terrane::v1::OplogBatch* from, terrane::v1::ImportBatch* out);

}  // namespace terrane::shard
