#include "shard/splitter.h"

#include "common/status.h"
#include "rpc/status.h"
#include "shard/convert.h"
#include "shard/state_records.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

namespace {

constexpr std::chrono::seconds kEntryTimeout(10);

void SetChunk(const v1::SplitChunkStep& step, auto* entry) {
  entry->set_collection_id(step.collection_id());
  *entry->mutable_range() = step.range();
}

}  // namespace

absl::StatusOr<EntryResult> Splitter::Split(const CallState& call, const v1::SplitChunkStep& step) {
  TERRANE_RETURN_IF_ERROR(core_->proposer->ServingTerm().status());
  const CollectionId collection(step.collection_id());
  const KeyRange range = FromProto(step.range());
  std::string at = step.at();
  const auto ownership = core_->applier->View();
  const OwnedChunk* chunk = ownership->FindOwned(collection, range);
  if (chunk == nullptr) {
    if (!at.empty() && ownership->FindOwned(collection, {range.min, at}) &&
        ownership->FindOwned(collection, {at, range.max})) {
      return EntryResult{.outcome = Outcome::kAlready, .position = core_->store->AppliedPosition()};
    }
    return rpc::WithReason(NotFound("there is no chunk ", range.ToString(), " here"), v1::ErrorDetail::NO_SUCH_CHUNK);
  }
  if (at.empty()) {
    TERRANE_ASSIGN_OR_RETURN(at, core_->store->MiddleKey(chunk->copy, range));
  }
  TERRANE_ASSIGN_OR_RETURN(const EntryResult begun, Begin(step, at));
  TERRANE_RETURN_IF_ERROR(ToStatus(begun, {}));
  auto finished = Finish(call, step, at, begun.position);
  if (!finished.ok()) {
    // Otherwise the next one would have to do it.
    v1::ShardEntry end;
    SetChunk(step, end.mutable_split_end());
    end.mutable_split_end()->set_begin(begun.position.value());
    (void)core_->proposer->ProposeAndWait(std::move(end), kEntryTimeout);
  }
  return finished;
}

absl::StatusOr<EntryResult> Splitter::Begin(const v1::SplitChunkStep& step, const std::string& at) {
  v1::ShardEntry begin;
  SetChunk(step, begin.mutable_split_begin());
  begin.mutable_split_begin()->set_at(at);
  TERRANE_ASSIGN_OR_RETURN(EntryResult begun, core_->proposer->ProposeAndWait(begin, kEntryTimeout));
  if (begun.outcome != Outcome::kConflict || begun.position.value() == 0) return begun;
  // A split that nobody finishes any more, of a leader before; or one that runs right now, which will notice.
  v1::ShardEntry end;
  SetChunk(step, end.mutable_split_end());
  end.mutable_split_end()->set_begin(begun.position.value());
  TERRANE_RETURN_IF_ERROR(core_->proposer->ProposeAndWait(std::move(end), kEntryTimeout).status());
  return core_->proposer->ProposeAndWait(std::move(begin), kEntryTimeout);
}

absl::StatusOr<EntryResult> Splitter::Finish(const CallState& call, const v1::SplitChunkStep& step,
                                             const std::string& at, Position begin) {
  const KeyRange range = FromProto(step.range());
  const auto ownership = core_->applier->View();
  const OwnedChunk* chunk = ownership->FindOwned(CollectionId(step.collection_id()), range);
  if (chunk == nullptr) return Aborted("the chunk has changed meanwhile");
  const CopyId copy = chunk->copy;
  TERRANE_ASSIGN_OR_RETURN(const auto view, core_->store->View(copy));
  // The side sum at the view's own position.
  TERRANE_ASSIGN_OR_RETURN(const Ownership then, LoadOwnership(*view));
  const OwnedChunk* seen = then.Find(copy, range);
  if (seen == nullptr || !seen->side || seen->side->begin != begin) return Aborted("the split was ended meanwhile");
  TERRANE_ASSIGN_OR_RETURN(ChunkDigest base, storage::ScanDigest(*view, copy, {range.min, at},
                                                                 [&](uint64_t) { return call.Check(*core_->clock); }));
  base -= seen->side->sum;
  v1::ShardEntry split;
  SetChunk(step, split.mutable_split());
  split.mutable_split()->set_at(at);
  split.mutable_split()->set_begin(begin.value());
  *split.mutable_split()->mutable_base() = storage::ToProto(base);
  TERRANE_ASSIGN_OR_RETURN(EntryResult result, core_->proposer->ProposeAndWait(std::move(split), kEntryTimeout));
  TERRANE_RETURN_IF_ERROR(ToStatus(result, {}));
  return result;
}

}  // namespace terrane::shard
