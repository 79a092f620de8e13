#include "storage/read_view.h"

#include "common/status.h"
#include "storage/database.h"
#include "storage/views.h"

namespace terrane::storage {
namespace {

class ReadViewImpl : public ReadView, public std::enable_shared_from_this<ReadViewImpl> {
 public:
  ReadViewImpl(std::shared_ptr<Database> database, CopyReferences references)
      : references_(std::move(references)), database_(std::move(database)), snapshot_(database_->db()->GetSnapshot()) {}
  ~ReadViewImpl() override { database_->db()->ReleaseSnapshot(snapshot_); }

  Position AppliedPosition() const override {
    absl::StatusOr<uint64_t> applied = database_->GetNumber(kAppliedName, snapshot_);
    if (!applied.ok()) {
      database_->fatal().Report(applied.status());
      return Position(0);
    }
    return Position(*applied);
  }

  absl::StatusOr<std::optional<std::string>> GetDocument(CopyId copy, std::string_view shard_key,
                                                         std::string_view id) const override {
    Check(copy);
    return database_->Get(Family::kDocuments, DocumentKey(copy, shard_key, id), snapshot_);
  }

  absl::StatusOr<std::optional<std::string>> GetRetry(CopyId copy, std::string_view shard_key, std::string_view id,
                                                      std::string_view session, int64_t statement) const override {
    Check(copy);
    return database_->Get(Family::kRetries, RetryKey(copy, shard_key, id, session, statement), snapshot_);
  }

  absl::StatusOr<std::vector<FoundRetry>> FindRetry(std::span<const CopyId> copies, std::string_view session,
                                                    int64_t statement) const override {
    for (CopyId copy : copies) Check(copy);
    return FindRetryIn(
        copies, session, statement,
        [this](RawRange range) { return Iterate(Family::kRetries, std::move(range), false); },
        [this](const std::string& key) { return database_->Get(Family::kRetries, key, snapshot_); });
  }

  absl::StatusOr<std::optional<std::string>> GetState(std::string_view name) const override {
    return database_->Get(Family::kState, name, snapshot_);
  }

  std::unique_ptr<DocumentCursor> Documents(CopyId copy, const KeyRange& range, bool for_scan) const override {
    Check(copy);
    return MakeDocumentCursor(copy, Iterate(Family::kDocuments, DocumentRange(copy, range), for_scan),
                              shared_from_this());
  }

  std::unique_ptr<RetryCursor> Retries(CopyId copy, const KeyRange& range) const override {
    Check(copy);
    return MakeRetryCursor(Iterate(Family::kRetries, RetryRange(copy, range), false), shared_from_this());
  }

  Position FirstOplogPosition() const override {
    return Position(std::max<uint64_t>(1, database_->oplog_first.load()));
  }

  absl::StatusOr<std::optional<std::string>> GetOplog(Position position) const override {
    absl::StatusOr<std::optional<std::string>> entry = database_->Get(Family::kOplog, OplogKey(position), snapshot_);
    TERRANE_RETURN_IF_ERROR(CheckKept(position));
    return entry;
  }

  absl::StatusOr<std::unique_ptr<OplogCursor>> Oplog(Position from) const override {
    std::unique_ptr<OplogCursor> cursor =
        MakeOplogCursor(Iterate(Family::kOplog, RawRange{OplogKey(from), std::nullopt}, true), shared_from_this());
    // After the iterator is made: trimming drops files without regard to snapshots, but not from under an iterator.
    TERRANE_RETURN_IF_ERROR(CheckKept(from));
    return cursor;
  }

 private:
  void Check(CopyId copy) const { Require(references_.Holds(copy), "a copy is read without a reference"); }

  absl::Status CheckKept(Position position) const {
    uint64_t first = database_->oplog_first.load();
    if (first <= 1 || position.value() >= first) return absl::OkStatus();
    return MakeStatus(absl::StatusCode::kOutOfRange, "oplog position ", position.value(),
                      " is not kept any more: the first is ", first);
  }

  std::unique_ptr<RangeIterator> Iterate(Family family, RawRange range, bool for_scan) const {
    rocksdb::ReadOptions options;
    options.snapshot = snapshot_;
    if (for_scan) {
      options.readahead_size = 2 << 20;
      options.fill_cache = false;
    }
    return std::make_unique<RangeIterator>(database_->shared_fatal(), std::move(range), options,
                                           [&](const rocksdb::ReadOptions& bounded) {
                                             return database_->db()->NewIterator(bounded, database_->handle(family));
                                           });
  }

  CopyReferences references_;
  std::shared_ptr<Database> database_;
  const rocksdb::Snapshot* snapshot_;
};

constexpr uint64_t kPaceBytes = 4 << 20;

}  // namespace

std::shared_ptr<const ReadView> MakeReadView(std::shared_ptr<Database> database, CopyReferences references) {
  return std::make_shared<ReadViewImpl>(std::move(database), std::move(references));
}

absl::StatusOr<ChunkDigest> ScanDigest(const ReadView& view, CopyId copy, const KeyRange& range,
                                       const std::function<absl::Status(uint64_t)>& pace) {
  ChunkDigest digest;
  uint64_t unpaced = 0;
  auto scanned = [&](size_t bytes) -> absl::Status {
    unpaced += bytes;
    if (!pace || unpaced < kPaceBytes) return absl::OkStatus();
    return pace(std::exchange(unpaced, 0));
  };
  std::unique_ptr<DocumentCursor> documents = view.Documents(copy, range, true);
  for (; documents->Valid(); documents->Next()) {
    digest.AddDocument(documents->shard_key(), documents->id(), documents->document());
    TERRANE_RETURN_IF_ERROR(scanned(documents->document().size()));
  }
  TERRANE_RETURN_IF_ERROR(documents->status());
  std::unique_ptr<RetryCursor> retries = view.Retries(copy, range);
  for (; retries->Valid(); retries->Next()) {
    digest.AddRetry(retries->shard_key(), retries->id(), retries->record());
    TERRANE_RETURN_IF_ERROR(scanned(retries->record().size()));
  }
  TERRANE_RETURN_IF_ERROR(retries->status());
  if (pace && unpaced > 0) TERRANE_RETURN_IF_ERROR(pace(unpaced));
  return digest;
}

}  // namespace terrane::storage
