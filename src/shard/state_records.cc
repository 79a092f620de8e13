#include "shard/state_records.h"

#include "common/status.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

std::string ProgressRecord(CopyId copy, std::string_view min) {
  std::string name = "progress/";
  for (int shift = 24; shift >= 0; shift -= 8) name.push_back(static_cast<char>(copy.value() >> shift));
  name.append(min);
  return name;
}

absl::StatusOr<Ownership> LoadOwnership(const storage::ReadView& view) {
  TERRANE_ASSIGN_OR_RETURN(const auto record, view.GetState(kOwnershipRecord));
  v1::OwnershipState state;
  if (record && !state.ParseFromString(*record)) return DataLoss("the record 'ownership' of the state is damaged");
  TERRANE_ASSIGN_OR_RETURN(Ownership ownership, Ownership::Load(state));
  for (const OwnedChunk* chunk : ownership.All()) {
    const CopyId copy = chunk->copy;
    const std::string min = chunk->range.min;
    TERRANE_ASSIGN_OR_RETURN(const auto bytes, view.GetState(ProgressRecord(copy, min)));
    v1::ChunkProgress progress;
    if (!bytes || !progress.ParseFromString(*bytes)) {
      return DataLoss("the progress record of copy ", copy.value(), " at ", chunk->range.ToString(),
                      " is missing or damaged");
    }
    ownership.SetProgress(copy, min, progress);
  }
  return ownership;
}

absl::StatusOr<uint64_t> LoadHybridTime(const storage::ReadView& view) {
  TERRANE_ASSIGN_OR_RETURN(const auto record, view.GetState(kHybridTimeRecord));
  if (!record) return 0;
  if (record->size() != 8) return DataLoss("the record 'hybrid_time' of the state is damaged");
  uint64_t time = 0;
  for (const char byte : *record) time = time << 8 | static_cast<uint8_t>(byte);
  return time;
}

void SaveHybridTime(uint64_t time, storage::ApplyBatch* batch) {
  std::string record;
  for (int shift = 56; shift >= 0; shift -= 8) record.push_back(static_cast<char>(time >> shift));
  batch->PutState(kHybridTimeRecord, record);
}

bool SaveOwnership(Ownership* ownership, storage::ApplyBatch* batch) {
  const Ownership::ChangedRecords changed = ownership->TakeChanges();
  bool visible = changed.structure;
  if (changed.structure) batch->PutState(kOwnershipRecord, ownership->Save().SerializeAsString());
  for (const auto& [copy, min] : changed.gone) batch->DeleteState(ProgressRecord(copy, min));
  for (const auto& [copy, min] : changed.progress) {
    const auto progress = ownership->Progress(copy, min);
    if (!progress) continue;
    if (progress->cursor() != 0) visible = true;
    batch->PutState(ProgressRecord(copy, min), progress->SerializeAsString());
  }
  return visible;
}

}  // namespace terrane::shard
