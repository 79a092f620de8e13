// One RocksDB with its families. Internal: the only header here that shows rocksdb/.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/iterator.h>
#include <rocksdb/options.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/ids.h"
#include "storage/keys.h"
#include "storage/store.h"
#include "storage/wal_chain.h"

namespace terrane::storage {

enum class Family { kDocuments, kIndexes, kRetries, kOplog, kState };
inline constexpr std::array<Family, 5> kFamilies = {Family::kDocuments, Family::kIndexes, Family::kRetries,
                                                    Family::kOplog, Family::kState};
// Those whose keys begin with a copy id.
inline constexpr std::array<Family, 3> kCopyFamilies = {Family::kDocuments, Family::kIndexes, Family::kRetries};

const char* FamilyName(Family family);
std::optional<Family> FamilyByName(std::string_view name);

// Names in the state family that belong to the store.
inline constexpr std::string_view kAppliedName = "_applied";
inline constexpr std::string_view kFormatName = "_format";
inline constexpr std::string_view kOplogFirstName = "_oplog_first";
inline constexpr std::string_view kIngestedPrefix = "_ingested/";

std::string EncodeNumber(uint64_t value);
std::optional<uint64_t> DecodeNumber(std::string_view bytes);

inline rocksdb::Slice ToSlice(std::string_view s) {
  return {s.data(), s.size()};
}

// kDataLoss for corruption, kNotFound for a missing file, kResourceExhausted for a full disk, kFailedPrecondition for a
// held lock, kInternal for the rest; "<context>: <RocksDB's message>", which names the file.
absl::Status FromRocks(const rocksdb::Status& status, std::string_view context);

// What becomes of a store whose disk fails or whose files are damaged. Thread-safe.
class FatalHandler {
 public:
  FatalHandler(std::function<void(const absl::Status&)> on_fatal, std::function<bool(const absl::Status&)> on_damage)
      : on_fatal_(std::move(on_fatal)), on_damage_(std::move(on_damage)) {}
  // A write or background work failed: the end, once, but for damage that the owner takes care of.
  void Report(const absl::Status& status);
  // What a read came to, as FromRocks says it; tells the owner of damage. What cannot be read is damage as well where
  // the owner takes it over: kDataLoss then.
  absl::Status ReadFailed(const rocksdb::Status& status, std::string_view context);
  // Not OK after the first Report, or when the owner has taken damage over: nothing may be written any more.
  absl::Status Refusal() const;

 private:
  bool TakenOver(const absl::Status& damage);

  const std::function<void(const absl::Status&)> on_fatal_;
  const std::function<bool(const absl::Status&)> on_damage_;
  std::atomic<bool> reported_{false};
  std::atomic<bool> damaged_{false};  // the owner has taken it over
};

// Options of a family; also those that segment files for it are built with.
rocksdb::ColumnFamilyOptions FamilyOptions(Family family, const StoreOptions& options,
                                           const std::shared_ptr<rocksdb::Cache>& cache);

// Closes the database when the last of store, views and cursors lets it go. Thread-safe.
class Database {
 public:
  // `create`: the path must not hold one yet; it is made with the present format version.
  static absl::StatusOr<std::shared_ptr<Database>> Open(const std::filesystem::path& path, const StoreOptions& options,
                                                        const std::shared_ptr<rocksdb::Cache>& cache,
                                                        std::shared_ptr<FatalHandler> fatal, bool create);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  rocksdb::DB* db() const { return db_.get(); }
  rocksdb::ColumnFamilyHandle* handle(Family family) const { return handles_[static_cast<size_t>(family)]; }
  const std::filesystem::path& path() const { return path_; }
  FatalHandler& fatal() const { return *fatal_; }
  const std::shared_ptr<FatalHandler>& shared_fatal() const { return fatal_; }

  // nullopt when it is not there.
  absl::StatusOr<std::optional<std::string>> Get(Family family, std::string_view key,
                                                 const rocksdb::Snapshot* snapshot = nullptr) const;
  // A number in the state family; 0 when it is not there.
  absl::StatusOr<uint64_t> GetNumber(std::string_view name, const rocksdb::Snapshot* snapshot = nullptr) const;

  // The only ways to write: after the first failure, which is reported, nothing is tried any more (trap T50). One of
  // Write, SyncWal and Ingest at a time. Write adds the number of the write to the batch (wal_chain.h).
  absl::Status Write(rocksdb::WriteBatch* batch, bool sync, std::string_view context) const;
  absl::Status SyncWal(std::string_view context) const;
  // When the Write or SyncWal under way began; 0: none is.
  MonotonicTime write_began() const { return MonotonicTime(write_began_.load()); }
  absl::Status Ingest(const std::vector<rocksdb::IngestExternalFileArg>& arguments) const;
  // Drops the files that lie wholly in [begin, end).
  absl::Status DropFiles(Family family, std::string_view begin, std::string_view end) const;

  // First oplog position that is kept; 0 or 1: never trimmed.
  std::atomic<uint64_t> oplog_first{0};

  // Deletes the directory when the database is closed.
  void RemoveWhenClosed() { remove_ = true; }

 private:
  Database() = default;
  absl::Status Attempt(const std::function<rocksdb::Status()>& write, std::string_view context) const;
  absl::Status CheckFormat(bool create);
  absl::Status FollowWal(const rocksdb::DBOptions& options,
                         const std::vector<rocksdb::ColumnFamilyDescriptor>& descriptors);

  std::filesystem::path path_;
  std::shared_ptr<FatalHandler> fatal_;
  std::shared_ptr<StoreDisk> faults_;  // owns the environment
  std::unique_ptr<rocksdb::DB> db_;
  std::array<rocksdb::ColumnFamilyHandle*, kFamilies.size()> handles_{};
  rocksdb::ColumnFamilyHandle* default_handle_ = nullptr;
  std::atomic<bool> remove_{false};
  std::unique_ptr<WalChain> wal_chain_;  // outlives db_, which has its address
  mutable std::mutex write_mutex_;
  mutable std::atomic<int64_t> write_began_{0};
  mutable uint64_t writes_ = 0;  // number of the last write; guarded by write_mutex_
};

// An iterator over a range of one family, with its bounds.
class RangeIterator {
 public:
  // `make` gets the read options with the bounds set. `fatal` is told of damage.
  RangeIterator(std::shared_ptr<FatalHandler> fatal, RawRange range, rocksdb::ReadOptions options,
                const std::function<rocksdb::Iterator*(const rocksdb::ReadOptions&)>& make);

  bool Valid() const {
    return iterator_->Valid() && (!range_.max || iterator_->key().compare(ToSlice(*range_.max)) < 0);
  }
  void Next() { iterator_->Next(); }
  // To the first key >= `key` of the range.
  void Seek(std::string_view key);
  std::string_view key() const { return iterator_->key().ToStringView(); }
  std::string_view value() const { return iterator_->value().ToStringView(); }
  absl::Status status() const;

 private:
  std::shared_ptr<FatalHandler> fatal_;
  RawRange range_;
  rocksdb::Slice lower_;
  rocksdb::Slice upper_;
  rocksdb::ReadOptions options_;
  std::unique_ptr<rocksdb::Iterator> iterator_;
};

// Cursors over a RangeIterator; `keep` keeps alive what it reads from.
std::unique_ptr<DocumentCursor> MakeDocumentCursor(CopyId copy, std::unique_ptr<RangeIterator> iterator,
                                                   std::shared_ptr<const void> keep);
std::unique_ptr<RetryCursor> MakeRetryCursor(std::unique_ptr<RangeIterator> iterator, std::shared_ptr<const void> keep);
std::unique_ptr<OplogCursor> MakeOplogCursor(std::unique_ptr<RangeIterator> iterator, std::shared_ptr<const void> keep);

// Retry records of the statement in the copies; `second` gives an iterator over a range of the retries family in the
// second order, `record` the value of a key in the first order.
absl::StatusOr<std::vector<FoundRetry>> FindRetryIn(
    std::span<const CopyId> copies, std::string_view session, int64_t statement,
    const std::function<std::unique_ptr<RangeIterator>(RawRange)>& second,
    const std::function<absl::StatusOr<std::optional<std::string>>(const std::string&)>& record);

// A broken promise of a caller: says so and aborts.
void Require(bool promise, std::string_view what);

}  // namespace terrane::storage
