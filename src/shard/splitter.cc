#include "shard/splitter.h"

#include <algorithm>

#include "common/status.h"
#include "common/strings.h"
#include "rpc/status.h"
#include "shard/convert.h"
#include "shard/state_records.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

namespace {

constexpr std::chrono::seconds kEntryTimeout(10);
// How often a call that waits for another one looks whether somebody waits for itself.
constexpr std::chrono::nanoseconds kLook = std::chrono::milliseconds(50);

void SetChunk(const OwnedChunk& chunk, auto* entry) {
  entry->set_collection_id(chunk.collection.value());
  *entry->mutable_range() = ToProto(chunk.range);
}

v1::ShardEntry EndOf(const OwnedChunk& chunk, Position begin) {
  v1::ShardEntry end;
  SetChunk(chunk, end.mutable_split_end());
  end.mutable_split_end()->set_begin(begin.value());
  return end;
}

bool IsOwner(const OwnedChunk& chunk) {
  switch (chunk.state) {
    case ChunkState::kOwned:
    case ChunkState::kWriteFenced:
    case ChunkState::kReadFenced:
      return true;
    case ChunkState::kImporting:
    case ChunkState::kComplete:
    case ChunkState::kReleased:
      return false;
  }
  return false;
}

// The owned chunks of one copy that together make up the range; empty if there are none.
std::vector<const OwnedChunk*> OwnedParts(const Ownership& ownership, CollectionId collection, const KeyRange& range) {
  for (const OwnedChunk* first : ownership.All()) {
    if (first->collection != collection || !IsOwner(*first) || first->range.min != range.min) continue;
    std::vector<const OwnedChunk*> parts;
    for (const OwnedChunk* part : ownership.OfCopy(first->copy)) {
      if (range.Contains(part->range) && IsOwner(*part)) parts.push_back(part);
    }
    if (parts.empty()) continue;  // the range is smaller than the chunk
    bool whole = parts.back()->range.max == range.max;
    for (size_t i = 1; i < parts.size(); ++i) whole = whole && parts[i - 1]->range.max == parts[i]->range.min;
    if (whole) return parts;
  }
  return {};
}

}  // namespace

absl::Status Splitter::Turn::Wait(const CallState& call) {
  std::unique_lock lock(splitter_->mutex_);
  const auto in_the_way = [this](const auto& other) {
    return other.first == place_.first && other.second.Overlaps(place_.second);
  };
  while (std::any_of(splitter_->running_.begin(), splitter_->running_.end(), in_the_way)) {
    if (absl::Status status = call.Check(*splitter_->core_->clock); !status.ok()) {
      return Annotate(status, StrCat("chunk ", place_.second.ToString(), " is being split"));
    }
    splitter_->over_.wait_for(lock, kLook);
  }
  splitter_->running_.push_back(place_);
  mine_ = true;
  return absl::OkStatus();
}

Splitter::Turn::~Turn() {
  if (!mine_) return;
  std::lock_guard lock(splitter_->mutex_);
  std::erase(splitter_->running_, place_);
  splitter_->over_.notify_all();
}

absl::StatusOr<Splitter::Result> Splitter::Split(const CallState& call, const v1::SplitChunkStep& step) {
  TERRANE_RETURN_IF_ERROR(core_->proposer->ServingTerm().status());
  const KeyRange range = FromProto(step.range());
  Turn turn(this, CollectionId(step.collection_id()), range);
  TERRANE_RETURN_IF_ERROR(turn.Wait(call));
  TERRANE_RETURN_IF_ERROR(core_->proposer->ServingTerm().status());  // that may have taken a while
  const auto ownership = core_->applier->View();
  const auto parts = OwnedParts(*ownership, CollectionId(step.collection_id()), range);
  if (parts.empty()) {
    return rpc::WithReason(NotFound("there is no chunk ", range.ToString(), " here"), v1::ErrorDetail::NO_SUCH_CHUNK);
  }
  const Result already{{.outcome = Outcome::kAlready, .position = core_->store->AppliedPosition()}, step.at()};
  std::string at = step.at();
  const OwnedChunk* chunk = parts.front();
  if (at.empty() && parts.size() > 1) return Result{already.entry, parts[1]->range.min};
  if (at.empty()) {
    TERRANE_ASSIGN_OR_RETURN(at, core_->store->MiddleKey(chunk->copy, range));
  }
  for (const OwnedChunk* part : parts) {
    if (part->range.min == at && part != parts.front()) return already;
    if (part->range.Contains(at)) chunk = part;
  }
  TERRANE_ASSIGN_OR_RETURN(EntryResult entry, SplitOne(call, *chunk, at));
  return Result{std::move(entry), std::move(at)};
}

absl::StatusOr<EntryResult> Splitter::SplitOne(const CallState& call, const OwnedChunk& chunk, const std::string& at) {
  TERRANE_ASSIGN_OR_RETURN(const EntryResult begun, Begin(chunk, at));
  TERRANE_RETURN_IF_ERROR(ToStatus(begun, {}));
  auto finished = Finish(call, chunk, at, begun.position);
  // Otherwise the next one would have to do it.
  if (!finished.ok()) (void)core_->proposer->ProposeAndWait(EndOf(chunk, begun.position), kEntryTimeout);
  return finished;
}

absl::StatusOr<EntryResult> Splitter::Begin(const OwnedChunk& chunk, const std::string& at) {
  v1::ShardEntry begin;
  SetChunk(chunk, begin.mutable_split_begin());
  begin.mutable_split_begin()->set_at(at);
  TERRANE_ASSIGN_OR_RETURN(EntryResult begun, core_->proposer->ProposeAndWait(begin, kEntryTimeout));
  if (begun.outcome != Outcome::kConflict || begun.position.value() == 0) return begun;
  // A split that nobody finishes any more, of a leader before: it is our turn, so none runs here.
  TERRANE_RETURN_IF_ERROR(core_->proposer->ProposeAndWait(EndOf(chunk, begun.position), kEntryTimeout).status());
  return core_->proposer->ProposeAndWait(std::move(begin), kEntryTimeout);
}

absl::StatusOr<EntryResult> Splitter::Finish(const CallState& call, const OwnedChunk& chunk, const std::string& at,
                                             Position begin) {
  TERRANE_ASSIGN_OR_RETURN(const auto view, core_->store->View(chunk.copy));
  // The side sum at the view's own position.
  TERRANE_ASSIGN_OR_RETURN(const Ownership then, LoadOwnership(*view));
  const OwnedChunk* seen = then.Find(chunk.copy, chunk.range);
  if (seen == nullptr || !seen->side || seen->side->begin != begin) return Aborted("the split was ended meanwhile");
  const auto pace = [&](uint64_t) { return call.Check(*core_->clock); };
  TERRANE_ASSIGN_OR_RETURN(ChunkDigest base, storage::ScanDigest(*view, chunk.copy, {chunk.range.min, at}, pace));
  // Right = total - left: damage on the left would be certified there and blamed on the right.
  TERRANE_ASSIGN_OR_RETURN(const ChunkDigest rest, storage::ScanDigest(*view, chunk.copy, {at, chunk.range.max}, pace));
  if (base + rest != seen->digest) {
    return rpc::WithReason(
        DataLoss("copy ", chunk.copy.value(), " is damaged and is not split: the scan of ", chunk.range.ToString(),
                 " gives ", (base + rest).ToString(), ", its running digest is ", seen->digest.ToString()),
        v1::ErrorDetail::DIGEST_MISMATCH);
  }
  base -= seen->side->sum;
  v1::ShardEntry split;
  SetChunk(chunk, split.mutable_split());
  split.mutable_split()->set_at(at);
  split.mutable_split()->set_begin(begin.value());
  *split.mutable_split()->mutable_base() = storage::ToProto(base);
  TERRANE_ASSIGN_OR_RETURN(EntryResult result, core_->proposer->ProposeAndWait(std::move(split), kEntryTimeout));
  TERRANE_RETURN_IF_ERROR(ToStatus(result, {}));
  return result;
}

}  // namespace terrane::shard
