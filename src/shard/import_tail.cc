#include "shard/import_tail.h"

#include <algorithm>
#include <utility>

#include "common/status.h"
#include "shard/convert.h"
#include "shard/import_filter.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

constexpr int64_t kReadBytes = 4 << 20;
constexpr size_t kApplyBytes = 4 << 20;
// A cursor that nothing of ours has moved is recorded now and then, so that a new leader need not read it all again.
constexpr uint64_t kEmptyEntries = 50000;
constexpr std::chrono::milliseconds kReadWait{200};
// A source that does not get to a position that it has stated within this is not answering.
constexpr std::chrono::seconds kReachTimeout{10};

}  // namespace

void ImportTail::Refresh(const OwnedChunk& chunk, const MoveRef& move) {
  move_ = move;
  copy_ = chunk.copy;
  range_ = chunk.range;
  import_ = *chunk.import;
  cursor_ = import_->Cursor();
  read_to_ = cursor_;
  pending_.Clear();
  pending_bytes_ = 0;
}

absl::Status ImportTail::Read(std::chrono::milliseconds wait, Position up_to, bool interruptible, bool from_leader) {
  v1::ReadOplogRequest request;
  *request.mutable_move() = ToProto(move_);
  request.set_copy_id(import_->source_copy.value());
  *request.mutable_range() = ToProto(range_);
  request.set_after(read_to_.value());
  request.set_max_bytes(kReadBytes);
  request.set_wait_ms(static_cast<int32_t>(wait.count()));
  request.set_up_to(up_to.value());
  TERRANE_ASSIGN_OR_RETURN(v1::OplogBatch batch, from_leader ? source_->ReadOplogOfLeader(request)
                                                             : source_->ReadOplog(request, interruptible));
  if (Position(batch.up_to()) < read_to_ || (up_to.value() != 0 && Position(batch.up_to()) > up_to)) {
    return Internal("the source answered up to ", batch.up_to(), " when asked from ", read_to_.value(), " to ",
                    up_to.value());
  }
  for (const v1::PositionedEntry& entry : batch.entries()) {
    if (Position(entry.position()) <= read_to_ || entry.position() > batch.up_to()) {
      return Internal("the source sent entry ", entry.position(), " out of its place");
    }
    if (entry.entry().has_fence()) {
      fence_position_ = Position(entry.position());
      fence_time_ = entry.entry().hybrid_time();
    }
  }
  const int before = pending_.changes_size();
  TERRANE_RETURN_IF_ERROR(TakeNeededChanges(*import_, &batch, &pending_));
  for (int i = before; i < pending_.changes_size(); ++i) pending_bytes_ += pending_.changes(i).ByteSizeLong();
  read_to_ = Position(batch.up_to());
  source_applied_ = Position(batch.applied());
  return absl::OkStatus();
}

v1::ShardEntry ImportTail::TakeBatch() {
  v1::ShardEntry entry;
  v1::ImportBatch* batch = entry.mutable_import_batch();
  batch->Swap(&pending_);
  pending_.Clear();
  pending_bytes_ = 0;
  *batch->mutable_move() = ToProto(move_);
  batch->set_copy_id(copy_.value());
  batch->set_from_position(cursor_.value());
  batch->set_to_position(read_to_.value());
  cursor_ = read_to_;
  return entry;
}

absl::Status ImportTail::Apply() {
  const uint64_t entries = read_to_.value() - cursor_.value();
  const MonotonicTime start = host_->clock->Now();
  TERRANE_RETURN_IF_ERROR(ProposeImportEntry(*host_, TakeBatch(), move_).status());
  const double seconds = std::chrono::duration<double>(host_->clock->Now() - start).count();
  // What it can do, not what there was to do: small batches say little.
  const double rate = static_cast<double>(entries) / std::max(seconds, 1e-6);
  entries_per_s_ = std::max(rate, 0.9 * entries_per_s_ + 0.1 * rate);
  return absl::OkStatus();
}

absl::Status ImportTail::Poll(std::chrono::milliseconds wait) {
  TERRANE_RETURN_IF_ERROR(Read(wait, Position(0), /*interruptible=*/true));
  if (pending_.changes_size() > 0 || read_to_.value() - cursor_.value() > kEmptyEntries) return Apply();
  return absl::OkStatus();
}

absl::Status ImportTail::To(Position position) {
  if (position < read_to_) {
    return FailedPrecondition("the tail is at ", read_to_.value(), ", behind ", position.value());
  }
  const MonotonicTime deadline = host_->clock->Now() + kReachTimeout;
  while (read_to_ < position) {
    TERRANE_RETURN_IF_ERROR(Read(kReadWait, position, /*interruptible=*/false));
    if (pending_bytes_ >= kApplyBytes) TERRANE_RETURN_IF_ERROR(Apply());
    if (read_to_ < position && host_->clock->Now() > deadline) {
      return Unavailable("the source does not get to ", position.value());
    }
  }
  return cursor_ < position ? Apply() : absl::OkStatus();
}

absl::Status ImportTail::LearnFenceTime(Position fence) {
  if (fence_position_ == fence) return absl::OkStatus();
  // F was read by another tail, before a restart perhaps.
  v1::ReadOplogRequest request;
  *request.mutable_move() = ToProto(move_);
  request.set_copy_id(import_->source_copy.value());
  *request.mutable_range() = ToProto(range_);
  request.set_after(fence.value() - 1);
  request.set_up_to(fence.value());
  TERRANE_ASSIGN_OR_RETURN(const v1::OplogBatch batch, source_->ReadOplogOfLeader(request));
  if (batch.entries_size() != 1 || !batch.entries(0).entry().has_fence()) {
    return FailedPrecondition("entry ", fence.value(), " of the source is not the fence of this chunk");
  }
  fence_position_ = fence;
  fence_time_ = batch.entries(0).entry().hybrid_time();
  return absl::OkStatus();
}

absl::StatusOr<EntryResult> ImportTail::Complete(const v1::CompleteStep& step) {
  if (FromProto(step.move()) != move_) {
    // It waited in a queue while its attempt ended: K of this attempt must not name the F of that one (trap T63).
    return Unavailable("the step is of attempt ", step.move().attempt(), ", the import is at attempt ",
                       move_.attempt.value());
  }
  const Position fence(step.fence());
  if (read_to_ > fence) {
    return FailedPrecondition("the tail is at ", read_to_.value(), ", behind the fence at ", fence.value());
  }
  const MonotonicTime deadline = host_->clock->Now() + kReachTimeout;
  while (read_to_ < fence) {
    TERRANE_RETURN_IF_ERROR(Read(kReadWait, fence, /*interruptible=*/false, /*from_leader=*/true));
    if (read_to_ < fence && pending_bytes_ >= kApplyBytes) TERRANE_RETURN_IF_ERROR(Apply());
    if (read_to_ < fence && host_->clock->Now() > deadline) {
      return Unavailable("the source does not get to the fence at ", fence.value());
    }
  }
  TERRANE_RETURN_IF_ERROR(LearnFenceTime(fence));
  std::optional<PendingEntry> rest;
  if (cursor_ < fence) rest.emplace(*host_, TakeBatch(), move_);
  v1::ShardEntry entry;
  v1::CompleteEntry* complete = entry.mutable_complete();
  *complete->mutable_move() = ToProto(move_);
  complete->set_copy_id(copy_.value());
  complete->set_fence(step.fence());
  *complete->mutable_digest() = step.digest();
  complete->set_source_hybrid_time(fence_time_);
  complete->set_token(step.token());
  PendingEntry last(*host_, std::move(entry), move_);
  if (rest) TERRANE_RETURN_IF_ERROR(rest->Wait().status());
  return last.Wait();
}

}  // namespace terrane::shard
