// The ownership state as records of the `state` family.
#include <utility>

#include "common/status.h"
#include "shard/convert.h"
#include "shard/ownership.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

Ownership::ChangedRecords Ownership::TakeChanges() {
  ChangedRecords result;
  result.structure = std::exchange(structure_changed_, false);
  for (auto& [key, there] : progress_changed_) (there ? result.progress : result.gone).push_back(key);
  progress_changed_.clear();
  return result;
}

v1::OwnershipState Ownership::Save() const {
  v1::OwnershipState state;
  for (const OwnedChunk* chunk : All()) *state.add_chunks() = shard::ToProto(*chunk);
  for (const Pin& pin : pins_) {
    v1::Pin* added = state.add_pins();
    *added->mutable_move() = shard::ToProto(pin.move);
    added->set_position(pin.position.value());
  }
  for (const auto& [id, attempt] : dead_) *state.add_dead() = shard::ToProto(MoveRef{id, attempt});
  state.set_dead_below(dead_below_.value());
  for (const v1::DropCopy& dropping : dropping_) *state.add_dropping() = dropping;
  for (CollectionId collection : created_) state.add_created(collection.value());
  return state;
}

absl::StatusOr<Ownership> Ownership::Load(const v1::OwnershipState& state) {
  Ownership result;
  for (const v1::OwnedChunk& record : state.chunks()) {
    OwnedChunk chunk = shard::FromProto(record);
    if (chunk.copy.value() == 0 || chunk.range.Empty()) return DataLoss("ownership: a chunk without copy id or range");
    if ((chunk.state == ChunkState::kImporting || chunk.state == ChunkState::kComplete) && !chunk.import) {
      return DataLoss("ownership: copy ", chunk.copy.value(), " is ", StateName(chunk.state), " without an import");
    }
    for (const OwnedChunk* other : result.OfCopy(chunk.copy)) {
      if (other->range.Overlaps(chunk.range)) {
        return DataLoss("ownership: copy ", chunk.copy.value(), " has two chunks that hold ", chunk.range.ToString());
      }
    }
    result.Insert(std::move(chunk));
  }
  for (const v1::Pin& pin : state.pins()) {
    result.pins_.push_back({shard::FromProto(pin.move()), Position(pin.position())});
  }
  for (const v1::MoveRef& dead : state.dead()) result.MarkDead(shard::FromProto(dead));
  result.dead_below_ = MigrationId(state.dead_below());
  for (const v1::DropCopy& dropping : state.dropping()) result.dropping_.push_back(dropping);
  for (uint32_t collection : state.created()) result.created_.insert(CollectionId(collection));
  result.TakeChanges();
  return result;
}

std::optional<v1::ChunkProgress> Ownership::Progress(CopyId copy, const std::string& min) const {
  const OwnedChunk* chunk = At(copy, min);
  if (chunk == nullptr || chunk->range.min != min) return std::nullopt;
  v1::ChunkProgress progress;
  *progress.mutable_digest() = storage::ToProto(chunk->digest);
  if (chunk->side) *progress.mutable_side() = storage::ToProto(chunk->side->sum);
  if (chunk->import) progress.set_cursor(chunk->import->cursor.value());
  return progress;
}

void Ownership::SetProgress(CopyId copy, const std::string& min, const v1::ChunkProgress& progress) {
  OwnedChunk* chunk = At(copy, min);
  if (chunk == nullptr || chunk->range.min != min) return;
  chunk->digest = storage::FromProto(progress.digest());
  if (chunk->side) chunk->side->sum = storage::FromProto(progress.side());
  if (chunk->import) chunk->import->cursor = Position(progress.cursor());
}

}  // namespace terrane::shard
