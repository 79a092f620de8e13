#include "shard/import_filter.h"

#include <algorithm>

#include "common/status.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

absl::StatusOr<bool> NeedsChange(const Import& import, std::string_view shard_key, Position position) {
  auto after =
      std::upper_bound(import.segments.begin(), import.segments.end(), shard_key,
                       [](std::string_view key, const ImportedSegment& segment) { return key < segment.range.min; });
  if (after == import.segments.begin() || !std::prev(after)->range.Contains(shard_key)) {
    return Internal("a change lies in no segment of the import");
  }
  return position > std::prev(after)->position;
}

absl::Status TakeNeededChanges(const Import& import, v1::OplogBatch* from, v1::ImportBatch* out) {
  for (v1::PositionedEntry& positioned : *from->mutable_entries()) {
    v1::OplogEntry* entry = positioned.mutable_entry();
    if (entry->has_ingest()) {
      return DataLoss("entry ", positioned.position(),
                      " of the source's oplog took in a segment: what it brought is not in the oplog");
    }
    for (v1::Change& change : *entry->mutable_changes()) {
      TERRANE_ASSIGN_OR_RETURN(const bool needed,
                               NeedsChange(import, change.shard_key(), Position(positioned.position())));
      if (needed) out->add_changes()->Swap(&change);
    }
    out->set_hybrid_time(std::max(out->hybrid_time(), entry->hybrid_time()));
  }
  return absl::OkStatus();
}

}  // namespace terrane::shard
