#include "storage/wal_chain.h"

#include <memory>

#include "common/status.h"
#include "storage/database.h"

namespace terrane::storage {
namespace {

using rocksdb::Slice;
using rocksdb::Status;

// Finds the number of a write in its batch.
class NumberFinder : public rocksdb::WriteBatch::Handler {
 public:
  explicit NumberFinder(uint32_t state_family) : state_family_(state_family) {}
  const std::optional<uint64_t>& number() const { return number_; }

  Status PutCF(uint32_t family, const Slice& key, const Slice& value) override {
    if (family == state_family_ && key.ToStringView() == kWritesName) number_ = DecodeNumber(value.ToStringView());
    return Status::OK();
  }
  Status DeleteCF(uint32_t, const Slice&) override { return Status::OK(); }
  Status SingleDeleteCF(uint32_t, const Slice&) override { return Status::OK(); }
  Status DeleteRangeCF(uint32_t, const Slice&, const Slice&) override { return Status::OK(); }

 private:
  const uint32_t state_family_;
  std::optional<uint64_t> number_;
};

// As if there were no write-ahead log.
class TablesOnly : public rocksdb::WalFilter {
 public:
  const char* Name() const override { return "terrane.TablesOnly"; }
  WalProcessingOption LogRecordFound(unsigned long long, const std::string&,  // NOLINT: RocksDB's type
                                     const rocksdb::WriteBatch&, rocksdb::WriteBatch*, bool*) override {
    return WalProcessingOption::kStopReplay;
  }
};

}  // namespace

void WalChain::ColumnFamilyLogNumberMap(const std::map<uint32_t, uint64_t>&,
                                        const std::map<std::string, uint32_t>& ids) {
  if (auto it = ids.find(FamilyName(Family::kState)); it != ids.end()) state_family_ = it->second;
}

WalChain::WalProcessingOption WalChain::LogRecordFound(unsigned long long, const std::string&,  // NOLINT
                                                       const rocksdb::WriteBatch& batch, rocksdb::WriteBatch*, bool*) {
  NumberFinder finder(state_family_);
  if (!batch.Iterate(&finder).ok()) return WalProcessingOption::kCorruptedRecord;
  const std::optional<uint64_t>& number = finder.number();
  if (!number) return WalProcessingOption::kContinueProcessing;  // of a program that did not number them
  const bool follows = last_ ? *number == *last_ + 1 : *number <= flushed_ + 1;
  if (!follows) {
    if (!hole_) hole_ = last_.value_or(flushed_);
    return WalProcessingOption::kCorruptedRecord;
  }
  last_ = number;
  return WalProcessingOption::kContinueProcessing;
}

absl::StatusOr<uint64_t> FlushedWrites(const rocksdb::DBOptions& options, const std::filesystem::path& path,
                                       const std::vector<rocksdb::ColumnFamilyDescriptor>& descriptors) {
  const std::string context = StrCat("opening ", path.string());
  // Another process may be at work there; to open for reading takes no lock.
  rocksdb::FileLock* lock = nullptr;
  TERRANE_RETURN_IF_ERROR(FromRocks(options.env->LockFile((path / "LOCK").string(), &lock), context));
  TablesOnly tables_only;
  rocksdb::DBOptions read_options = options;
  read_options.wal_filter = &tables_only;
  read_options.listeners.clear();
  rocksdb::DB* opened = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  Status status = rocksdb::DB::OpenForReadOnly(read_options, path.string(), descriptors, &handles, &opened);
  std::unique_ptr<rocksdb::DB> db(opened);
  std::string value;
  bool missing = false;
  if (status.ok()) {
    status = db->Get(rocksdb::ReadOptions(), handles.back(), ToSlice(kWritesName), &value);
    missing = status.IsNotFound();
    for (rocksdb::ColumnFamilyHandle* handle : handles) db->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }
  db.reset();
  options.env->UnlockFile(lock).PermitUncheckedError();
  if (missing) return 0;
  // RocksDB says "invalid argument" for a directory without CURRENT.
  if (status.IsInvalidArgument()) return NotFound(context, ": ", status.ToString());
  TERRANE_RETURN_IF_ERROR(FromRocks(status, context));
  const std::optional<uint64_t> number = DecodeNumber(value);
  if (!number) return DataLoss(path.string(), ": ", kWritesName, " is not a number");
  return *number;
}

}  // namespace terrane::storage
