// The shard's records in the `state` family.
//
//   "ownership"                            OwnershipState
//   "progress/" copy (4, big endian) min   ChunkProgress of the chunk of that copy that begins at min
//   "hybrid_time"                          greatest hybrid time of the entries that are applied, 8 bytes, big endian
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/ids.h"
#include "shard/ownership.h"
#include "storage/apply_batch.h"
#include "storage/read_view.h"

namespace terrane::shard {

inline constexpr std::string_view kOwnershipRecord = "ownership";
inline constexpr std::string_view kHybridTimeRecord = "hybrid_time";
std::string ProgressRecord(CopyId copy, std::string_view min);

// The ownership, digests included, at the view's applied position. Blocks on the disk for one small read per chunk.
// kDataLoss: a record cannot be read.
absl::StatusOr<Ownership> LoadOwnership(const storage::ReadView& view);

// Puts what has changed since the last call into the batch. True if the part that the gate looks at, or the progress
// of an import, is among it.
bool SaveOwnership(Ownership* ownership, storage::ApplyBatch* batch);

// 0: nothing is applied, or by a program that did not keep it. kDataLoss: the record cannot be read.
absl::StatusOr<uint64_t> LoadHybridTime(const storage::ReadView& view);
void SaveHybridTime(uint64_t time, storage::ApplyBatch* batch);

}  // namespace terrane::shard
