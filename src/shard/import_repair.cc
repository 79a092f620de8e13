#include "shard/import_repair.h"

#include <tuple>

#include "common/status.h"
#include "shard/convert.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

class Repair {
 public:
  Repair(const ImportHost& host, const RepairRequest& request) : host_(host), request_(request) {}

  absl::Status Take(v1::SegmentBatch* batch) {
    if (position_ == 0) TERRANE_RETURN_IF_ERROR(Begin(batch->position()));
    if (batch->position() != position_) return Internal("a segment reflects two positions");
    for (v1::Change& change : *batch->mutable_documents()) TERRANE_RETURN_IF_ERROR(TakeDocument(&change));
    for (v1::Change& change : *batch->mutable_retries()) TERRANE_RETURN_IF_ERROR(TakeRetry(&change));
    if (!batch->last()) return absl::OkStatus();
    if (FromProto(batch->covered()) != request_.range) return Internal("the source covered another range");
    ended_ = true;
    return absl::OkStatus();
  }

  absl::Status Finish() {
    if (!ended_) return Unavailable("the source ended a range in the middle");
    for (; documents_->Valid(); documents_->Next()) TERRANE_RETURN_IF_ERROR(DeleteDocument());
    for (; retries_->Valid(); retries_->Next()) TERRANE_RETURN_IF_ERROR(DeleteRetry());
    TERRANE_RETURN_IF_ERROR(documents_->status());
    TERRANE_RETURN_IF_ERROR(retries_->status());
    return Send(/*last=*/true);
  }

 private:
  absl::Status Begin(uint64_t position) {
    position_ = position;
    v1::ShardEntry entry;
    v1::BeginRangeRepair* begin = entry.mutable_begin_range_repair();
    *begin->mutable_move() = ToProto(request_.move);
    begin->set_copy_id(request_.copy.value());
    *begin->mutable_range() = ToProto(request_.range);
    begin->set_source_position(position);
    TERRANE_RETURN_IF_ERROR(ProposeImportEntry(host_, std::move(entry), request_.move).status());
    // What this replica has; nothing changes it but this repair, which never writes behind the cursors.
    TERRANE_ASSIGN_OR_RETURN(view_, host_.store->View(request_.copy));
    documents_ = view_->Documents(request_.copy, request_.range, /*for_scan=*/true);
    retries_ = view_->Retries(request_.copy, request_.range);
    return absl::OkStatus();
  }

  absl::Status TakeDocument(v1::Change* theirs) {
    auto theirs_key = [&] { return std::tuple<std::string_view, std::string_view>(theirs->shard_key(), theirs->id()); };
    for (; documents_->Valid() && std::tuple(documents_->shard_key(), documents_->id()) < theirs_key();
         documents_->Next()) {
      TERRANE_RETURN_IF_ERROR(DeleteDocument());
    }
    TERRANE_RETURN_IF_ERROR(documents_->status());
    if (documents_->Valid() && std::tuple(documents_->shard_key(), documents_->id()) == theirs_key()) {
      const bool same = documents_->document() == theirs->document();
      documents_->Next();
      if (same) return absl::OkStatus();
    }
    return Add(theirs);
  }

  absl::Status TakeRetry(v1::Change* theirs) {
    v1::RetryRecord record;
    if (!record.ParseFromString(theirs->retry())) return DataLoss("a retry record of the source cannot be read");
    using Key = std::tuple<std::string_view, std::string_view, std::string_view, uint64_t>;
    const Key theirs_key(theirs->shard_key(), theirs->id(), record.id().session(),
                         static_cast<uint64_t>(record.id().statement()));
    auto ours = [&] {
      return Key(retries_->shard_key(), retries_->id(), retries_->session(),
                 static_cast<uint64_t>(retries_->statement()));
    };
    for (; retries_->Valid() && ours() < theirs_key; retries_->Next()) TERRANE_RETURN_IF_ERROR(DeleteRetry());
    TERRANE_RETURN_IF_ERROR(retries_->status());
    if (retries_->Valid() && ours() == theirs_key) {
      const bool same = retries_->record() == theirs->retry();
      retries_->Next();
      if (same) return absl::OkStatus();
    }
    return Add(theirs);
  }

  absl::Status DeleteDocument() {
    v1::Change change;
    change.set_shard_key(std::string(documents_->shard_key()));
    change.set_id(std::string(documents_->id()));
    change.set_deleted(true);
    return Add(&change);
  }

  absl::Status DeleteRetry() {
    v1::Change change;
    change.set_shard_key(std::string(retries_->shard_key()));
    change.set_id(std::string(retries_->id()));
    change.set_retry(std::string(retries_->record()));
    change.set_retry_removed(true);
    return Add(&change);
  }

  absl::Status Add(v1::Change* change) {
    bytes_ += change->shard_key().size() + change->id().size() + change->document().size() + change->retry().size();
    batch_.add_changes()->Swap(change);
    return bytes_ < request_.batch_bytes ? absl::OkStatus() : Send(/*last=*/false);
  }

  absl::Status Send(bool last) {
    v1::ShardEntry entry;
    v1::ImportBatch* batch = entry.mutable_import_batch();
    batch->Swap(&batch_);
    *batch->mutable_move() = ToProto(request_.move);
    batch->set_copy_id(request_.copy.value());
    *batch->mutable_repair_range() = ToProto(request_.range);
    batch->set_repair_position(position_);
    batch->set_repair_last(last);
    batch_.Clear();
    bytes_ = 0;
    return ProposeImportEntry(host_, std::move(entry), request_.move).status();
  }

  const ImportHost& host_;
  const RepairRequest& request_;
  uint64_t position_ = 0;
  bool ended_ = false;
  std::shared_ptr<const storage::ReadView> view_;
  std::unique_ptr<storage::DocumentCursor> documents_;  // ours, not yet compared
  std::unique_ptr<storage::RetryCursor> retries_;
  v1::ImportBatch batch_;
  size_t bytes_ = 0;
};

}  // namespace

absl::Status RepairRange(const ImportHost& host, ImportSource* source, const RepairRequest& request) {
  v1::ReadSegmentRequest read;
  *read.mutable_move() = ToProto(request.move);
  read.set_copy_id(request.source_copy.value());
  *read.mutable_range() = ToProto(request.range);
  read.set_max_bytes(-1);
  read.set_min_position(request.min_position.value());
  Repair repair(host, request);
  TERRANE_RETURN_IF_ERROR(source->ReadSegment(read, [&](v1::SegmentBatch* batch) { return repair.Take(batch); }));
  return repair.Finish();
}

}  // namespace terrane::shard
