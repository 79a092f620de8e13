#include "shard/export_service.h"

#include <algorithm>
#include <atomic>

#include "common/executor.h"
#include "common/status.h"
#include "rpc/stream.h"
#include "rpc/unary.h"
#include "shard/background.h"
#include "shard/convert.h"
#include "shard/export_reader.h"
#include "shard/import_source.h"
#include "shard/state_records.h"
#include "terrane/v1/shard.grpc.pb.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

constexpr int64_t kMessageBytes = 1 << 20;
constexpr int64_t kDefaultSegmentBytes = 32 << 20;
constexpr int64_t kDefaultRangeBytes = 8 << 20;
constexpr int64_t kDefaultOplogBytes = 4 << 20;
// How long a replica that is behind is waited for before the target is sent to another one.
constexpr std::chrono::milliseconds kBehindWait{1000};
// A tail that was woken by writes to other chunks looks again after this many entries or this long, not at each.
constexpr uint64_t kCoalesceEntries = 256;
constexpr std::chrono::milliseconds kCoalesceWait{2};

class ExportServiceImpl final : public ExportService, public v1::ShardExport::CallbackService {
 public:
  explicit ExportServiceImpl(ExportOptions options)
      : options_(std::move(options)), bulk_("export", options_.bulk_threads), oplog_("oplog", options_.oplog_threads) {}

  grpc::Service* service() override { return this; }
  v1::ExportCounters Counters() const override {
    v1::ExportCounters counters;
    counters.set_segment_bytes(segment_bytes_);
    counters.set_segments(segments_);
    counters.set_oplog_bytes(oplog_bytes_);
    counters.set_oplog_bytes_behind_fence(oplog_bytes_behind_fence_);
    counters.set_hashed_bytes(hashed_bytes_);
    return counters;
  }
  void Stop() override {
    stopped_ = true;
    options_.store->Interrupt();
  }

  grpc::ServerWriteReactor<v1::SegmentBatch>* ReadSegment(grpc::CallbackServerContext* context,
                                                          const v1::ReadSegmentRequest* request) override {
    return rpc::RunStream<v1::SegmentBatch>(context, &bulk_,
                                            [this, request = *request, follower = FromFollower(context)](
                                                std::shared_ptr<rpc::ServerStream<v1::SegmentBatch>> stream) {
                                              YieldToRequests();
                                              const absl::Status may = MayServe(follower);
                                              stream->Finish(may.ok() ? Segment(request, *stream) : may);
                                            });
  }

  grpc::ServerWriteReactor<v1::RangeDigest>* HashRange(grpc::CallbackServerContext* context,
                                                       const v1::HashRangeRequest* request) override {
    return rpc::RunStream<v1::RangeDigest>(context, &bulk_,
                                           [this, request = *request, follower = FromFollower(context)](
                                               std::shared_ptr<rpc::ServerStream<v1::RangeDigest>> stream) {
                                             YieldToRequests();
                                             const absl::Status may = MayServe(follower);
                                             stream->Finish(may.ok() ? Hash(request, *stream) : may);
                                           });
  }

  grpc::ServerUnaryReactor* ReadOplog(grpc::CallbackServerContext* context, const v1::ReadOplogRequest* request,
                                      v1::OplogBatch* response) override {
    return rpc::RunBlocking(context, &oplog_,
                            [=, this, follower = FromFollower(context)](const rpc::Call& call) -> absl::Status {
                              TERRANE_RETURN_IF_ERROR(MayServe(follower));
                              TERRANE_RETURN_IF_ERROR(Oplog(*request, response, follower, call));
                              Count(*request, *response);
                              if (options_.committed) {
                                response->set_applied(std::max(response->applied(), options_.committed().value()));
                              }
                              return absl::OkStatus();
                            });
  }

 private:
  static bool FromFollower(const grpc::CallbackServerContext* context) {
    return context->client_metadata().contains(kFromFollowerKey);
  }
  absl::Status MayServe(bool from_follower) const {
    return from_follower && options_.follows ? options_.follows() : absl::OkStatus();
  }
  void Count(const v1::ReadOplogRequest& request, const v1::OplogBatch& response) {
    int64_t bytes = 0;
    for (const v1::PositionedEntry& entry : response.entries()) bytes += static_cast<int64_t>(entry.ByteSizeLong());
    oplog_bytes_ += bytes;
    if (request.up_to() == 0) return;
    const std::shared_ptr<const Ownership> ownership = options_.ownership();
    for (const OwnedChunk* chunk : ownership->OfCopy(CopyId(request.copy_id()))) {
      if (chunk->fence == Position(request.up_to())) {
        oplog_bytes_behind_fence_ += bytes;
        return;
      }
    }
  }

  // A view that has applied `min_position` and may read the copy, and the ownership to judge by.
  struct Picture {
    std::shared_ptr<const storage::ReadView> view;
    std::shared_ptr<const Ownership> ownership;
  };
  absl::StatusOr<Picture> Look(const v1::MoveRef& move, CopyId copy, const KeyRange& range, uint64_t min_position) {
    if (stopped_) return Unavailable("the shard is stopping");
    if (min_position > 0) {
      const Position applied = options_.store->WaitAppliedBeyond(Position(min_position - 1), kBehindWait);
      if (applied.value() < min_position) {
        return Unavailable("this replica has applied ", applied.value(), ", asked for is ", min_position);
      }
    }
    // The reference before the check: a copy that passes it cannot be dropped any more.
    TERRANE_ASSIGN_OR_RETURN(storage::CopyReferences references, options_.store->Reference(copy));
    Picture picture;
    picture.ownership = options_.ownership();
    absl::Status may = CheckExport(*picture.ownership, move, copy, range);
    // While another state is put in the place of this one nothing is known here, and that is no answer for good.
    if (!may.ok() && picture.ownership->All().empty() && !picture.ownership->IsDead(FromProto(move))) {
      return Unavailable("nothing is owned here, or not yet: ", MessageOf(may));
    }
    TERRANE_RETURN_IF_ERROR(may);
    picture.view = options_.store->View(std::move(references));
    return picture;
  }

  absl::Status Segment(const v1::ReadSegmentRequest& request, rpc::ServerStream<v1::SegmentBatch>& stream) {
    const CopyId copy(request.copy_id());
    const KeyRange range = FromProto(request.range());
    TERRANE_ASSIGN_OR_RETURN(Picture picture, Look(request.move(), copy, range, request.min_position()));
    TERRANE_ASSIGN_OR_RETURN(const int64_t chunk_bytes, ChunkBytes(*picture.view, copy, range));
    const int64_t max_bytes =
        request.max_bytes() == 0 ? kDefaultSegmentBytes : std::max<int64_t>(0, request.max_bytes());
    // By the view's own records as well: those that were looked at may be of another state (trap T58).
    TERRANE_ASSIGN_OR_RETURN(const Ownership then, LoadOwnership(*picture.view));
    TERRANE_RETURN_IF_ERROR(CheckExport(then, request.move(), copy, range));
    ++segments_;
    return ExportSegment(*picture.view, copy, range, max_bytes, kMessageBytes, [&](v1::SegmentBatch batch) {
      if (batch.last()) batch.set_chunk_bytes(chunk_bytes);
      segment_bytes_ += static_cast<int64_t>(batch.ByteSizeLong());
      return !stopped_ && stream.Write(std::move(batch));
    });
  }

  static absl::StatusOr<int64_t> ChunkBytes(const storage::ReadView& view, CopyId copy, const KeyRange& range) {
    TERRANE_ASSIGN_OR_RETURN(const Ownership ownership, LoadOwnership(view));
    int64_t bytes = 0;
    for (const OwnedChunk* chunk : ownership.OfCopy(copy)) {
      // A target asks for the rest of one chunk.
      if (!chunk->range.Overlaps(range)) continue;
      bytes += chunk->digest.documents.bytes + chunk->digest.retries.bytes;
    }
    return bytes;
  }

  absl::Status Hash(const v1::HashRangeRequest& request, rpc::ServerStream<v1::RangeDigest>& stream) {
    const CopyId copy(request.copy_id());
    const KeyRange range = FromProto(request.range());
    TERRANE_ASSIGN_OR_RETURN(Picture picture, Look(request.move(), copy, range, request.min_position()));
    v1::RangeDigest message;
    message.set_position(picture.view->AppliedPosition().value());
    if (!stream.Write(message)) return MakeStatus(absl::StatusCode::kCancelled, "nobody listens");
    const int64_t range_bytes = request.range_bytes() > 0 ? request.range_bytes() : kDefaultRangeBytes;
    TERRANE_ASSIGN_OR_RETURN(const storage::ChunkDigest scanned,
                             HashSubRanges(*picture.view, copy, range, range_bytes,
                                           [&](const KeyRange& part, const storage::ChunkDigest& digest) {
                                             hashed_bytes_ += digest.documents.bytes + digest.retries.bytes;
                                             *message.mutable_range() = ToProto(part);
                                             ToProto(digest, message.mutable_digest());
                                             return !stopped_ && stream.Write(message);
                                           }));
    TERRANE_ASSIGN_OR_RETURN(const Ownership ownership, LoadOwnership(*picture.view));
    const OwnedChunk* chunk = ownership.Find(copy, range);
    if (chunk == nullptr || chunk->digest == scanned) return absl::OkStatus();
    return rpc::WithReason(DataLoss("the source's copy ", copy.value(), " is damaged: its scan gives ",
                                    scanned.ToString(), ", its running digest is ", chunk->digest.ToString()),
                           v1::ErrorDetail::DIGEST_MISMATCH);
  }

  absl::Status Oplog(const v1::ReadOplogRequest& request, v1::OplogBatch* response, bool follower,
                     const rpc::Call& call) {
    const CopyId copy(request.copy_id());
    const KeyRange range = FromProto(request.range());
    v1::ReadOplogRequest limited = request;
    if (limited.max_bytes() <= 0) limited.set_max_bytes(kDefaultOplogBytes);
    limited.set_max_bytes(std::min<int64_t>(limited.max_bytes(), 16 << 20));
    response->set_up_to(request.after());
    const MonotonicTime end =
        options_.clock->Now() + std::min(std::chrono::milliseconds(std::max(0, request.wait_ms())), options_.max_wait);
    bool woken = false;
    while (true) {
      {
        TERRANE_ASSIGN_OR_RETURN(Picture picture, Look(request.move(), copy, range, 0));
        const MonotonicTime late = options_.clock->Now() + options_.oplog_scan_time;
        const auto enough = [&] { return stopped_ || call.cancelled() || options_.clock->Now() >= late; };
        TERRANE_RETURN_IF_ERROR(ExportOplog(*picture.view, limited, options_.oplog_scan_bytes, enough, response));
      }
      if (response->entries_size() > 0) return absl::OkStatus();
      if (request.up_to() != 0 && response->up_to() >= request.up_to()) return absl::OkStatus();
      // Cut short: the caller waits for an answer, and goes on from here with the next call.
      if (response->up_to() < response->applied()) return absl::OkStatus();
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - options_.clock->Now());
      if (left.count() <= 0 || stopped_ || call.cancelled()) return absl::OkStatus();
      TERRANE_RETURN_IF_ERROR(MayServe(follower));
      // Nothing for us among what woke us: let some more come together.
      const Position applied(response->applied());
      if (woken) options_.store->WaitAppliedBeyond(Position(applied.value() + kCoalesceEntries), kCoalesceWait);
      options_.store->WaitAppliedBeyond(applied, std::min(left, std::chrono::milliseconds(500)));
      woken = true;
    }
  }

  const ExportOptions options_;
  std::atomic<bool> stopped_{false};
  std::atomic<int64_t> segment_bytes_{0};
  std::atomic<int64_t> segments_{0};
  std::atomic<int64_t> oplog_bytes_{0};
  std::atomic<int64_t> oplog_bytes_behind_fence_{0};
  std::atomic<int64_t> hashed_bytes_{0};
  Executor bulk_;
  Executor oplog_;
};

}  // namespace

std::unique_ptr<ExportService> ExportService::Make(ExportOptions options) {
  return std::make_unique<ExportServiceImpl>(std::move(options));
}

}  // namespace terrane::shard
