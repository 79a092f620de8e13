#include "shard/import_segments.h"

#include "common/status.h"
#include "shard/background.h"
#include "shard/convert.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

constexpr size_t kReady = 2;

absl::Status AddBatch(v1::SegmentBatch* batch, storage::SegmentWriter* writer, ReadySegment* segment) {
  if (segment->position.value() != 0 && segment->position.value() != batch->position()) {
    return Internal("a segment reflects two positions");
  }
  segment->position = Position(batch->position());
  for (const v1::Change& change : batch->documents()) {
    TERRANE_RETURN_IF_ERROR(writer->AddDocument(change.shard_key(), change.id(), change.document()));
  }
  v1::RetryRecord record;
  for (const v1::Change& change : batch->retries()) {
    if (!record.ParseFromString(change.retry())) return DataLoss("a retry record of the source cannot be read");
    TERRANE_RETURN_IF_ERROR(writer->AddRetry(change.shard_key(), change.id(), record.id().session(),
                                             record.id().statement(), change.retry()));
  }
  if (batch->last()) {
    segment->range = FromProto(batch->covered());
    segment->chunk_bytes = batch->chunk_bytes();
  }
  return absl::OkStatus();
}

}  // namespace

KeyRange MissingRange(const OwnedChunk& chunk) {
  KeyRange missing = chunk.range;
  for (const ImportedSegment& segment : chunk.import->segments) {
    if (segment.range.min > missing.min) {
      missing.max = segment.range.min;
      break;
    }
    missing.min = segment.range.max.value_or("");
  }
  return missing;
}

absl::StatusOr<ReadySegment> FetchSegment(storage::Store* store, ImportSource* source, const SegmentRequest& wanted) {
  // The files, what compaction makes of them, and something to breathe (trap T39).
  TERRANE_RETURN_IF_ERROR(store->CheckSpace(3 * static_cast<uint64_t>(wanted.segment_bytes)));
  v1::ReadSegmentRequest request;
  *request.mutable_move() = ToProto(wanted.move);
  request.set_copy_id(wanted.source_copy.value());
  *request.mutable_range() = ToProto(wanted.range);
  request.set_max_bytes(wanted.segment_bytes);
  request.set_min_position(wanted.pin.value());
  TERRANE_ASSIGN_OR_RETURN(
      std::unique_ptr<storage::SegmentWriter> writer,
      store->NewSegment(wanted.copy, StrCat("m", wanted.move.id.value(), "-a", wanted.move.attempt.value())));
  ReadySegment segment;
  bool last = false;
  TERRANE_RETURN_IF_ERROR(source->ReadSegment(request, [&](v1::SegmentBatch* batch) -> absl::Status {
    last = batch->last();
    return AddBatch(batch, writer.get(), &segment);
  }));
  if (!last) return Unavailable("the source ended a segment in the middle");
  if (segment.position < wanted.pin) {
    return Unavailable("the source's segment reflects ", segment.position.value(), ", the pin is at ",
                       wanted.pin.value());
  }
  // It begins where it was asked to, and ends within what is missing.
  if (segment.range.min != wanted.range.min || segment.range.Empty() || !wanted.range.Contains(segment.range)) {
    return Internal("the source covered ", segment.range.ToString(), " instead of ", wanted.range.ToString());
  }
  TERRANE_ASSIGN_OR_RETURN(segment.built, writer->Finish());
  return segment;
}

SegmentPipeline::SegmentPipeline(storage::Store* store, ImportSource* source, Request request)
    : store_(store), source_(source), request_(std::move(request)), thread_([this] { Run(); }) {}

SegmentPipeline::~SegmentPipeline() {
  Cancel();
  thread_.join();
}

void SegmentPipeline::Cancel() {
  std::lock_guard lock(mutex_);
  cancelled_ = true;
  changed_.notify_all();
}

absl::StatusOr<std::optional<ReadySegment>> SegmentPipeline::Next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !ready_.empty() || end_ || cancelled_; });
  if (cancelled_) return MakeStatus(absl::StatusCode::kCancelled, "the copy was stopped");
  if (!ready_.empty()) {
    ReadySegment segment = std::move(ready_.front());
    ready_.pop_front();
    changed_.notify_all();
    return std::optional<ReadySegment>(std::move(segment));
  }
  if (!end_->ok()) return *end_;
  return std::optional<ReadySegment>();
}

void SegmentPipeline::Run() {
  YieldToRequests();
  KeyRange rest = request_.range;
  absl::Status status;
  while (true) {
    SegmentRequest request = request_;
    request.range = rest;
    absl::StatusOr<ReadySegment> segment = FetchSegment(store_, source_, request);
    std::unique_lock lock(mutex_);
    if (!segment.ok()) {
      status = segment.status();
      break;
    }
    rest.min = segment->range.max.value_or("");
    const bool last = segment->range.max == request_.range.max;
    ready_.push_back(*std::move(segment));
    changed_.notify_all();
    if (last) break;
    changed_.wait(lock, [this] { return ready_.size() < kReady || cancelled_; });
    if (cancelled_) break;
  }
  std::lock_guard lock(mutex_);
  end_ = status;
  changed_.notify_all();
}

}  // namespace terrane::shard
