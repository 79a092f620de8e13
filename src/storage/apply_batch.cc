#include "storage/apply_batch.h"

#include <rocksdb/utilities/write_batch_with_index.h>

#include "common/status.h"
#include "storage/views.h"

namespace terrane::storage {
namespace {

class ApplyBatchImpl : public ApplyBatch {
 public:
  explicit ApplyBatchImpl(BatchHooks hooks)
      : hooks_(std::move(hooks)), batch_(rocksdb::BytewiseComparator(), 0, /*overwrite_key=*/true) {}

  absl::StatusOr<std::optional<std::string>> GetDocument(CopyId copy, std::string_view shard_key,
                                                         std::string_view id) override {
    return Get(Family::kDocuments, DocumentKey(copy, shard_key, id));
  }
  void PutDocument(CopyId copy, std::string_view shard_key, std::string_view id, std::string_view document) override {
    Put(Family::kDocuments, DocumentKey(copy, shard_key, id), document);
  }
  void DeleteDocument(CopyId copy, std::string_view shard_key, std::string_view id) override {
    Delete(Family::kDocuments, DocumentKey(copy, shard_key, id));
  }
  std::unique_ptr<DocumentCursor> Documents(CopyId copy, const KeyRange& range) override {
    return MakeDocumentCursor(copy, Iterate(Family::kDocuments, DocumentRange(copy, range)), Present());
  }

  absl::StatusOr<std::optional<std::string>> GetRetry(CopyId copy, std::string_view shard_key, std::string_view id,
                                                      std::string_view session, int64_t statement) override {
    return Get(Family::kRetries, RetryKey(copy, shard_key, id, session, statement));
  }
  absl::StatusOr<std::vector<FoundRetry>> FindRetry(std::span<const CopyId> copies, std::string_view session,
                                                    int64_t statement) override {
    return FindRetryIn(
        copies, session, statement, [this](RawRange range) { return Iterate(Family::kRetries, std::move(range)); },
        [this](const std::string& key) { return Get(Family::kRetries, key); });
  }
  void PutRetry(CopyId copy, std::string_view shard_key, std::string_view id, std::string_view session,
                int64_t statement, std::string_view record) override {
    Put(Family::kRetries, RetryKey(copy, shard_key, id, session, statement), record);
    Put(Family::kRetries, RetrySecondKey(copy, shard_key, id, session, statement), {});
  }
  void DeleteRetry(CopyId copy, std::string_view shard_key, std::string_view id, std::string_view session,
                   int64_t statement) override {
    Delete(Family::kRetries, RetryKey(copy, shard_key, id, session, statement));
    Delete(Family::kRetries, RetrySecondKey(copy, shard_key, id, session, statement));
  }
  std::unique_ptr<RetryCursor> Retries(CopyId copy, const KeyRange& range) override {
    return MakeRetryCursor(Iterate(Family::kRetries, RetryRange(copy, range)), Present());
  }

  void PutIndexEntry(CopyId copy, uint32_t index, std::string_view values, std::string_view shard_key,
                     std::string_view id) override {
    Put(Family::kIndexes, IndexKey(copy, index, values, shard_key, id), {});
  }
  void DeleteIndexEntry(CopyId copy, uint32_t index, std::string_view values, std::string_view shard_key,
                        std::string_view id) override {
    Delete(Family::kIndexes, IndexKey(copy, index, values, shard_key, id));
  }

  void PutOplog(Position position, std::string_view entry) override { Put(Family::kOplog, OplogKey(position), entry); }

  absl::StatusOr<std::optional<std::string>> GetState(std::string_view name) override {
    return Get(Family::kState, std::string(name));
  }
  void PutState(std::string_view name, std::string_view value) override {
    Require(!name.starts_with('_'), "a state name begins with _");
    Put(Family::kState, std::string(name), value);
  }
  void DeleteState(std::string_view name) override {
    Require(!name.starts_with('_'), "a state name begins with _");
    Delete(Family::kState, std::string(name));
  }

  void MarkIngested(std::span<const std::string> names) override {
    ingested_.insert(ingested_.end(), names.begin(), names.end());
  }

  size_t SizeBytes() const override { return batch_.GetDataSize(); }

  absl::Status Commit(Position applied) override {
    Put(Family::kState, std::string(kAppliedName), EncodeNumber(applied.value()));
    for (const std::string& name : ingested_) {
      Put(Family::kState, StrCat(kIngestedPrefix, name), EncodeNumber(applied.value()));
    }
    absl::Status status = database_->Write(batch_.GetWriteBatch(), /*sync=*/false, "writing a batch");
    batch_.Clear();
    database_.reset();
    std::vector<std::string> ingested = std::exchange(ingested_, {});
    TERRANE_RETURN_IF_ERROR(status);
    hooks_.committed(applied, std::move(ingested));
    return absl::OkStatus();
  }

 private:
  // Looked up again whenever the batch is empty: a checkpoint may have been installed since.
  const std::shared_ptr<Database>& Present() {
    if (database_ == nullptr || batch_.GetWriteBatch()->Count() == 0) database_ = hooks_.database();
    return database_;
  }

  void Put(Family family, const std::string& key, std::string_view value) {
    batch_.Put(Present()->handle(family), key, ToSlice(value)).PermitUncheckedError();
  }
  void Delete(Family family, const std::string& key) {
    batch_.Delete(Present()->handle(family), key).PermitUncheckedError();
  }
  absl::StatusOr<std::optional<std::string>> Get(Family family, const std::string& key) {
    const Database& database = *Present();
    std::string value;
    rocksdb::Status status =
        batch_.GetFromBatchAndDB(database.db(), rocksdb::ReadOptions(), database.handle(family), key, &value);
    if (status.IsNotFound()) return std::optional<std::string>();
    if (!status.ok()) {
      return database.fatal().ReadFailed(status,
                                         StrCat("reading ", FamilyName(family), " in ", database.path().string()));
    }
    return std::optional<std::string>(std::move(value));
  }
  std::unique_ptr<RangeIterator> Iterate(Family family, RawRange range) {
    const Database& database = *Present();
    return std::make_unique<RangeIterator>(
        database.shared_fatal(), std::move(range), rocksdb::ReadOptions(), [&](const rocksdb::ReadOptions& bounded) {
          rocksdb::ColumnFamilyHandle* handle = database.handle(family);
          return batch_.NewIteratorWithBase(handle, database.db()->NewIterator(bounded, handle), &bounded);
        });
  }

  BatchHooks hooks_;
  std::shared_ptr<Database> database_;
  rocksdb::WriteBatchWithIndex batch_;
  std::vector<std::string> ingested_;
};

}  // namespace

std::unique_ptr<ApplyBatch> MakeApplyBatch(BatchHooks hooks) {
  return std::make_unique<ApplyBatchImpl>(std::move(hooks));
}

}  // namespace terrane::storage
