// Writes a range of the target again, through the log: ordinary upserts and deletes, computed against what it has.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "shard/import_host.h"
#include "shard/import_source.h"
#include "shard/ownership.h"

namespace terrane::shard {

struct RepairRequest {
  MoveRef move;
  CopyId source_copy;
  CopyId copy;
  KeyRange range;
  Position min_position;         // the cursor, or an open range's position: the source answers with at least this
  size_t batch_bytes = 2 << 20;  // of one entry, about
};

// Opens the range, writes what differs, closes it. Nothing else may be proposed for the copy meanwhile: the tail stands
// still. After a failure the range is open (Import::open_range) and must be begun again, from its start (trap T73).
// Memory: one message of the source and one batch.
absl::Status RepairRange(const ImportHost& host, ImportSource* source, const RepairRequest& request);

}  // namespace terrane::shard
