// Cursors: RocksDB iterators with bounds, taken apart by key.
#include "common/status.h"
#include "storage/database.h"

namespace terrane::storage {
namespace {

absl::Status BadKey(const char* family, std::string_view key) {
  return DataLoss(family, ": a key of ", key.size(), " bytes cannot be taken apart");
}

// A cursor of `Interface` over the keys of one column family. `parse` takes a key apart, or returns nothing, which ends
// the cursor with kDataLoss.
template <typename Interface, auto parse>
class ParsingCursor : public Interface {
 public:
  ParsingCursor(const char* family, std::unique_ptr<RangeIterator> iterator, std::shared_ptr<const void> keep)
      : keep_(std::move(keep)), family_(family), iterator_(std::move(iterator)) {
    Load();
  }

  bool Valid() const final { return parts_.has_value(); }
  void Next() final {
    iterator_->Next();
    Load();
  }
  absl::Status status() const final { return bad_.ok() ? iterator_->status() : bad_; }

 protected:
  // To the first key at or after `key`, or after it.
  void SeekKey(std::string_view key, bool after) {
    iterator_->Seek(key);
    if (after && iterator_->Valid() && iterator_->key() == key) iterator_->Next();
    Load();
  }
  const auto& parts() const { return *parts_; }
  std::string_view value() const { return iterator_->value(); }

 private:
  void Load() {
    parts_.reset();
    if (!bad_.ok() || !iterator_->Valid()) return;
    parts_ = parse(iterator_->key());
    if (!parts_) bad_ = BadKey(family_, iterator_->key());
  }

  std::shared_ptr<const void> keep_;  // outlives the iterator
  const char* const family_;
  std::unique_ptr<RangeIterator> iterator_;
  decltype(parse(std::string_view())) parts_;  // points into the iterator's key
  absl::Status bad_;
};

class DocumentCursorImpl final : public ParsingCursor<DocumentCursor, ParseDocumentKey> {
 public:
  DocumentCursorImpl(CopyId copy, std::unique_ptr<RangeIterator> iterator, std::shared_ptr<const void> keep)
      : ParsingCursor("documents", std::move(iterator), std::move(keep)), copy_(copy) {}
  std::string_view shard_key() const override { return parts().shard_key; }
  std::string_view id() const override { return parts().id; }
  std::string_view document() const override { return value(); }
  void Seek(std::string_view shard_key, std::string_view id) override {
    SeekKey(DocumentKey(copy_, shard_key, id), /*after=*/false);
  }
  void SeekAfter(std::string_view shard_key, std::string_view id) override {
    SeekKey(DocumentKey(copy_, shard_key, id), /*after=*/true);
  }

 private:
  const CopyId copy_;
};

class RetryCursorImpl final : public ParsingCursor<RetryCursor, ParseRetryKey> {
 public:
  RetryCursorImpl(std::unique_ptr<RangeIterator> iterator, std::shared_ptr<const void> keep)
      : ParsingCursor("retries", std::move(iterator), std::move(keep)) {}
  std::string_view shard_key() const override { return parts().shard_key; }
  std::string_view id() const override { return parts().id; }
  std::string_view session() const override { return parts().session; }
  int64_t statement() const override { return parts().statement; }
  std::string_view record() const override { return value(); }
};

class OplogCursorImpl final : public ParsingCursor<OplogCursor, ParseOplogKey> {
 public:
  OplogCursorImpl(std::unique_ptr<RangeIterator> iterator, std::shared_ptr<const void> keep)
      : ParsingCursor("oplog", std::move(iterator), std::move(keep)) {}
  Position position() const override { return parts(); }
  std::string_view entry() const override { return value(); }
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
  return fatal_->ReadFailed(iterator_->status(), "reading the store");
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
