// Cursors: RocksDB iterators with bounds, taken apart by key.
#include "common/status.h"
#include "storage/database.h"

namespace terrane::storage {
namespace {

absl::Status BadKey(const char* family, std::string_view key) {
  return DataLoss(family, ": a key of ", key.size(), " bytes cannot be taken apart");
}

class DocumentCursorImpl : public DocumentCursor {
 public:
  DocumentCursorImpl(CopyId copy, std::unique_ptr<RangeIterator> iterator, std::shared_ptr<const void> keep)
      : keep_(std::move(keep)), copy_(copy), iterator_(std::move(iterator)) {
    Load();
  }

  bool Valid() const override { return valid_; }
  void Next() override {
    iterator_->Next();
    Load();
  }
  absl::Status status() const override { return bad_.ok() ? iterator_->status() : bad_; }
  std::string_view shard_key() const override { return parts_.shard_key; }
  std::string_view id() const override { return parts_.id; }
  std::string_view document() const override { return iterator_->value(); }
  void Seek(std::string_view shard_key, std::string_view id) override {
    iterator_->Seek(DocumentKey(copy_, shard_key, id));
    Load();
  }
  void SeekAfter(std::string_view shard_key, std::string_view id) override {
    std::string key = DocumentKey(copy_, shard_key, id);
    iterator_->Seek(key);
    if (iterator_->Valid() && iterator_->key() == key) iterator_->Next();
    Load();
  }

 private:
  void Load() {
    valid_ = false;
    if (!bad_.ok() || !iterator_->Valid()) return;
    std::optional<DocumentKeyParts> parts = ParseDocumentKey(iterator_->key());
    if (!parts) {
      bad_ = BadKey("documents", iterator_->key());
      return;
    }
    parts_ = *parts;
    valid_ = true;
  }

  std::shared_ptr<const void> keep_;  // outlives the iterator
  CopyId copy_;
  std::unique_ptr<RangeIterator> iterator_;
  DocumentKeyParts parts_;
  bool valid_ = false;
  absl::Status bad_;
};

class RetryCursorImpl : public RetryCursor {
 public:
  RetryCursorImpl(std::unique_ptr<RangeIterator> iterator, std::shared_ptr<const void> keep)
      : keep_(std::move(keep)), iterator_(std::move(iterator)) {
    Load();
  }

  bool Valid() const override { return valid_; }
  void Next() override {
    iterator_->Next();
    Load();
  }
  absl::Status status() const override { return bad_.ok() ? iterator_->status() : bad_; }
  std::string_view shard_key() const override { return parts_.shard_key; }
  std::string_view id() const override { return parts_.id; }
  std::string_view session() const override { return parts_.session; }
  int64_t statement() const override { return parts_.statement; }
  std::string_view record() const override { return iterator_->value(); }

 private:
  void Load() {
    valid_ = false;
    if (!bad_.ok() || !iterator_->Valid()) return;
    std::optional<RetryKeyParts> parts = ParseRetryKey(iterator_->key());
    if (!parts) {
      bad_ = BadKey("retries", iterator_->key());
      return;
    }
    parts_ = *parts;
    valid_ = true;
  }

  std::shared_ptr<const void> keep_;
  std::unique_ptr<RangeIterator> iterator_;
  RetryKeyParts parts_;
  bool valid_ = false;
  absl::Status bad_;
};

class OplogCursorImpl : public OplogCursor {
 public:
  OplogCursorImpl(std::unique_ptr<RangeIterator> iterator, std::shared_ptr<const void> keep)
      : keep_(std::move(keep)), iterator_(std::move(iterator)) {
    Load();
  }

  bool Valid() const override { return valid_; }
  void Next() override {
    iterator_->Next();
    Load();
  }
  absl::Status status() const override { return bad_.ok() ? iterator_->status() : bad_; }
  Position position() const override { return position_; }
  std::string_view entry() const override { return iterator_->value(); }

 private:
  void Load() {
    valid_ = false;
    if (!bad_.ok() || !iterator_->Valid()) return;
    std::optional<Position> position = ParseOplogKey(iterator_->key());
    if (!position) {
      bad_ = BadKey("oplog", iterator_->key());
      return;
    }
    position_ = *position;
    valid_ = true;
  }

  std::shared_ptr<const void> keep_;
  std::unique_ptr<RangeIterator> iterator_;
  Position position_;
  bool valid_ = false;
  absl::Status bad_;
};

}  // namespace

RangeIterator::RangeIterator(std::shared_ptr<FatalHandler> fatal, RawRange range, rocksdb::ReadOptions options,
                             const std::function<rocksdb::Iterator*(const rocksdb::ReadOptions&)>& make)
    : fatal_(std::move(fatal)), range_(std::move(range)), lower_(ToSlice(range_.min)), options_(std::move(options)) {
  options_.iterate_lower_bound = &lower_;
  if (range_.max) {
    upper_ = ToSlice(*range_.max);
    options_.iterate_upper_bound = &upper_;
  }
  options_.auto_prefix_mode = true;
  iterator_.reset(make(options_));
  iterator_->Seek(lower_);
}

void RangeIterator::Seek(std::string_view key) {
  iterator_->Seek(key < range_.min ? lower_ : ToSlice(key));
}

absl::Status RangeIterator::status() const {
  return fatal_->Noted(FromRocks(iterator_->status(), "reading the store"));
}

std::unique_ptr<DocumentCursor> MakeDocumentCursor(CopyId copy, std::unique_ptr<RangeIterator> iterator,
                                                   std::shared_ptr<const void> keep) {
  return std::make_unique<DocumentCursorImpl>(copy, std::move(iterator), std::move(keep));
}

std::unique_ptr<RetryCursor> MakeRetryCursor(std::unique_ptr<RangeIterator> iterator,
                                             std::shared_ptr<const void> keep) {
  return std::make_unique<RetryCursorImpl>(std::move(iterator), std::move(keep));
}

std::unique_ptr<OplogCursor> MakeOplogCursor(std::unique_ptr<RangeIterator> iterator,
                                             std::shared_ptr<const void> keep) {
  return std::make_unique<OplogCursorImpl>(std::move(iterator), std::move(keep));
}

absl::StatusOr<std::vector<FoundRetry>> FindRetryIn(
    std::span<const CopyId> copies, std::string_view session, int64_t statement,
    const std::function<std::unique_ptr<RangeIterator>(RawRange)>& second,
    const std::function<absl::StatusOr<std::optional<std::string>>(const std::string&)>& record) {
  std::vector<FoundRetry> found;
  for (CopyId copy : copies) {
    std::unique_ptr<RangeIterator> iterator = second(RetrySecondRange(copy, session, statement));
    for (; iterator->Valid(); iterator->Next()) {
      std::optional<RetryKeyParts> parts = ParseRetrySecondKey(iterator->key());
      if (!parts) return BadKey("retries", iterator->key());
      if (parts->session != session || parts->statement != statement) continue;
      TERRANE_ASSIGN_OR_RETURN(std::optional<std::string> bytes,
                               record(RetryKey(copy, parts->shard_key, parts->id, session, statement)));
      if (!bytes) return DataLoss("retries: a record stands in the second order only");
      found.push_back({copy, std::string(parts->shard_key), std::string(parts->id), *std::move(bytes)});
    }
    TERRANE_RETURN_IF_ERROR(iterator->status());
  }
  return found;
}

}  // namespace terrane::storage
