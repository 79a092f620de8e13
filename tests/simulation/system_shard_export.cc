// What a replica reads for the target of a move, as in src/shard/export_service.cc.
#include <algorithm>
#include <utility>

#include "rpc/status.h"
#include "shard/convert.h"
#include "shard/export_reader.h"
#include "shard/state_records.h"
#include "simulation/system.h"
#include "simulation/system_shard.h"

namespace terrane::simulation {
namespace {

constexpr Time kBehindWait = 200ms;
constexpr Time kOplogLook = 5ms;
// Of one read: little, so that one is cut short now and then.
constexpr int64_t kOplogScanBytes = 64 << 10;

}  // namespace

void ShardReplica::Look(const v1::MoveRef& move, CopyId copy, const KeyRange& range, uint64_t least, Time patience,
                        std::function<void(absl::StatusOr<Picture>)> then) {
  if (store_.AppliedPosition().value() < least) {
    if (patience <= Time(0)) return then(Unavailable("this replica is behind"));
    return After(10ms, [=, this] { Look(move, copy, range, least, patience - 10ms, then); });
  }
  // The reference before the check: a copy that passes it cannot be dropped any more.
  auto references = store_.Reference(copy);
  if (!references.ok()) return then(references.status());
  Picture picture;
  picture.ownership = applier_->View();
  if (absl::Status status = shard::CheckExport(*picture.ownership, move, copy, range); !status.ok())
    return then(status);
  if (!Serving()) world().Probe("a follower exported");
  picture.view = store_.View(*std::move(references));
  then(std::move(picture));
}

void ShardReplica::ReadSegment(const v1::ReadSegmentRequest& request, Reply<v1::SegmentBatch> reply) {
  const CopyId copy(request.copy_id());
  const KeyRange range = shard::FromProto(request.range());
  Look(request.move(), copy, range, request.min_position(), kBehindWait,
       [request, copy, range, reply](const absl::StatusOr<Picture>& picture) {
         if (!picture.ok()) return reply(picture.status());
         v1::SegmentBatch whole;
         const int64_t most = std::max<int64_t>(0, request.max_bytes());
         const absl::Status status =
             shard::ExportSegment(*picture->view, copy, range, most, int64_t{1} << 40, [&](v1::SegmentBatch batch) {
               whole = std::move(batch);
               return true;
             });
         status.ok() ? reply(std::move(whole)) : reply(status);
       });
}

void ShardReplica::HashRange(const v1::HashRangeRequest& request, Reply<std::vector<v1::RangeDigest>> reply) {
  const CopyId copy(request.copy_id());
  const KeyRange range = shard::FromProto(request.range());
  Look(request.move(), copy, range, request.min_position(), kBehindWait,
       [request, copy, range, reply](const absl::StatusOr<Picture>& picture) {
         if (!picture.ok()) return reply(picture.status());
         std::vector<v1::RangeDigest> digests(1);
         digests[0].set_position(picture->view->AppliedPosition().value());
         auto scanned = shard::HashSubRanges(*picture->view, copy, range, request.range_bytes(),
                                             [&](const KeyRange& part, const storage::ChunkDigest& digest) {
                                               v1::RangeDigest message = digests[0];
                                               *message.mutable_range() = shard::ToProto(part);
                                               ToProto(digest, message.mutable_digest());
                                               digests.push_back(std::move(message));
                                               return true;
                                             });
         if (!scanned.ok()) return reply(scanned.status());
         auto ownership = shard::LoadOwnership(*picture->view);
         if (!ownership.ok()) return reply(ownership.status());
         const shard::OwnedChunk* chunk = ownership->Find(copy, range);
         if (chunk != nullptr && chunk->digest != *scanned) {
           return reply(rpc::WithReason(DataLoss("the source is damaged"), v1::ErrorDetail::DIGEST_MISMATCH));
         }
         reply(std::move(digests));
       });
}

void ShardReplica::ReadOplog(const v1::ReadOplogRequest& request, Reply<v1::OplogBatch> reply) {
  ReadOplogUntil(request, world().now() + std::chrono::milliseconds(request.wait_ms()), std::move(reply));
}

void ShardReplica::ReadOplogUntil(const v1::ReadOplogRequest& request, Time end, Reply<v1::OplogBatch> reply) {
  Look(request.move(), CopyId(request.copy_id()), shard::FromProto(request.range()), 0, Time(0),
       [this, request, end, reply](const absl::StatusOr<Picture>& picture) {
         if (!picture.ok()) return reply(picture.status());
         v1::OplogBatch batch;
         batch.set_up_to(request.after());
         const absl::Status status = shard::ExportOplog(
             *picture->view, request, kOplogScanBytes, [] { return false; }, &batch);
         if (!status.ok()) return reply(status);
         const bool enough = batch.entries_size() > 0 || (request.up_to() != 0 && batch.up_to() >= request.up_to()) ||
                             batch.up_to() < batch.applied();
         if (enough || world().now() >= end) return reply(std::move(batch));
         After(kOplogLook, [this, request, end, reply] { ReadOplogUntil(request, end, reply); });
       });
}

}  // namespace terrane::simulation
