#include "storage/database.h"

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/sst_partitioner.h>
#include <rocksdb/table.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "common/logging.h"
#include "common/status.h"
#include "storage/fault_env.h"

namespace terrane::storage {
namespace {

constexpr int kFatalExitCode = 70;

// Says since when, as long as it lives.
class UnderWay {
 public:
  explicit UnderWay(std::atomic<int64_t>* began) : began_(began) { *began_ = Clock::System()->Now().count(); }
  ~UnderWay() { *began_ = 0; }
  UnderWay(const UnderWay&) = delete;
  UnderWay& operator=(const UnderWay&) = delete;

 private:
  std::atomic<int64_t>* const began_;
};

// The first background error is the last: no resuming.
class ErrorListener : public rocksdb::EventListener {
 public:
  explicit ErrorListener(std::shared_ptr<FatalHandler> fatal) : fatal_(std::move(fatal)) {}

  void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status* error) override {
    fatal_->Report(FromRocks(*error, "background work of the store"));
  }
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status, bool* auto_recovery) override {
    *auto_recovery = false;
  }

 private:
  std::shared_ptr<FatalHandler> fatal_;
};

rocksdb::CompressionType Compression() {
  static const rocksdb::CompressionType type = [] {
    for (rocksdb::CompressionType supported : rocksdb::GetSupportedCompressions()) {
      if (supported == rocksdb::kLZ4Compression) return supported;
    }
    return rocksdb::kNoCompression;
  }();
  return type;
}

// RocksDB's own default keeps every table open, and a process that may open no more cannot even start again. Half of
// what this one may open is for tables, the rest for everything else; -1 where that is more than any disk will have.
int MaxOpenFiles() {
  constexpr rlim_t kMoreThanEver = 500'000;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur / 2 >= kMoreThanEver) return -1;
  return std::max<int>(static_cast<int>(limit.rlim_cur / 2), 20);
}

rocksdb::DBOptions DatabaseOptions(const StoreOptions& options, const std::shared_ptr<FatalHandler>& fatal) {
  rocksdb::DBOptions db;
  db.env = EnvOf(options.faults);
  db.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  db.paranoid_checks = true;
  db.listeners.push_back(std::make_shared<ErrorListener>(fatal));
  db.max_bgerror_resume_count = 0;
  db.max_open_files = MaxOpenFiles();
  db.max_background_jobs = options.background_threads;
  db.db_write_buffer_size = 3 * options.write_buffer_bytes;
  db.max_total_wal_size = 8 * options.write_buffer_bytes;
  db.bytes_per_sync = 1 << 20;
  db.keep_log_file_num = 3;
  db.info_log_level = rocksdb::WARN_LEVEL;
  db.stats_dump_period_sec = 0;
  db.stats_persist_period_sec = 0;
  db.avoid_flush_during_shutdown = true;
  return db;
}

}  // namespace

const char* FamilyName(Family family) {
  switch (family) {
    case Family::kDocuments:
      return "documents";
    case Family::kIndexes:
      return "indexes";
    case Family::kRetries:
      return "retries";
    case Family::kOplog:
      return "oplog";
    case Family::kState:
      return "state";
  }
  return "";
}

std::optional<Family> FamilyByName(std::string_view name) {
  for (Family family : kFamilies) {
    if (name == FamilyName(family)) return family;
  }
  return std::nullopt;
}

std::string EncodeNumber(uint64_t value) {
  return OplogKey(Position(value));
}

std::optional<uint64_t> DecodeNumber(std::string_view bytes) {
  std::optional<Position> position = ParseOplogKey(bytes);
  if (!position) return std::nullopt;
  return position->value();
}

absl::Status FromRocks(const rocksdb::Status& status, std::string_view context) {
  if (status.ok()) return absl::OkStatus();
  absl::StatusCode code = absl::StatusCode::kInternal;
  if (status.IsCorruption()) {
    code = absl::StatusCode::kDataLoss;
  } else if (status.IsNoSpace()) {
    code = absl::StatusCode::kResourceExhausted;
  } else if (status.IsPathNotFound() || status.IsNotFound()) {
    code = absl::StatusCode::kNotFound;
  } else if (status.IsIOError() && status.ToString().find("lock") != std::string::npos) {
    code = absl::StatusCode::kFailedPrecondition;
  } else if (status.IsInvalidArgument()) {
    code = absl::StatusCode::kInvalidArgument;
  }
  return MakeStatus(code, context, ": ", status.ToString());
}

bool FatalHandler::TakenOver(const absl::Status& damage) {
  if (!on_damage_ || !absl::IsDataLoss(damage)) return false;
  if (damaged_) return true;
  if (!on_damage_(damage)) return false;
  if (!damaged_.exchange(true)) LogError("storage", "the store is damaged", {{"status", damage}});
  return true;
}

absl::Status FatalHandler::ReadFailed(const rocksdb::Status& status, std::string_view context) {
  absl::Status failed = FromRocks(status, context);
  // A bad sector is told by the disk as often as it is found by a checksum; peers have what stood there.
  if (absl::IsInternal(failed) && status.IsIOError()) {
    absl::Status damage = DataLoss(MessageOf(failed));
    return TakenOver(damage) ? damage : failed;
  }
  TakenOver(failed);
  return failed;
}

absl::Status FatalHandler::Refusal() const {
  // As damage: who meets it does what it would do for the damage itself.
  if (damaged_) return DataLoss("the store is damaged");
  return reported_ ? Unavailable("an earlier write failed") : absl::OkStatus();
}

void FatalHandler::Report(const absl::Status& status) {
  if (TakenOver(status) || reported_.exchange(true)) return;
  LogError("storage", "a write or a background job failed", {{"status", status}});
  if (on_fatal_) {
    on_fatal_(status);
    return;
  }
  FlushLogs();
  _exit(kFatalExitCode);
}

rocksdb::ColumnFamilyOptions FamilyOptions(Family family, const StoreOptions& options,
                                           const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions cf;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.block_size = 16 << 10;
  table.format_version = 5;
  table.cache_index_and_filter_blocks = false;
  cf.compression = Compression();
  cf.level_compaction_dynamic_level_bytes = true;
  cf.write_buffer_size = options.write_buffer_bytes;
  cf.target_file_size_base = 64 << 20;
  switch (family) {
    case Family::kDocuments:
    case Family::kIndexes:
    case Family::kRetries:
      table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
      // Files end at a copy's border, so that dropping a copy drops whole files; a seek into a copy that a file does
      // not hold is answered by its filter.
      cf.prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(4));
      cf.sst_partitioner_factory = rocksdb::NewSstPartitionerFixedPrefixFactory(4);
      break;
    case Family::kOplog:
      break;
    case Family::kState:
      cf.write_buffer_size = 4 << 20;
      break;
  }
  cf.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return cf;
}

absl::StatusOr<std::shared_ptr<Database>> Database::Open(const std::filesystem::path& path, const StoreOptions& options,
                                                         const std::shared_ptr<rocksdb::Cache>& cache,
                                                         std::shared_ptr<FatalHandler> fatal, bool create) {
  rocksdb::DBOptions db_options = DatabaseOptions(options, fatal);
  db_options.create_if_missing = create;
  db_options.create_missing_column_families = create;
  db_options.error_if_exists = create;
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  rocksdb::ColumnFamilyOptions default_options;
  default_options.write_buffer_size = 64 << 10;
  descriptors.emplace_back(rocksdb::kDefaultColumnFamilyName, default_options);
  for (Family family : kFamilies) descriptors.emplace_back(FamilyName(family), FamilyOptions(family, options, cache));

  std::shared_ptr<Database> database(new Database);
  database->path_ = path;
  database->fatal_ = std::move(fatal);
  database->faults_ = options.faults;
  if (!create) {
    if (std::filesystem::exists(path) && !std::filesystem::exists(path / "CURRENT")) {
      return DataLoss((path / "CURRENT").string(), ": is missing");
    }
    TERRANE_RETURN_IF_ERROR(database->FollowWal(db_options, descriptors));
    db_options.wal_filter = database->wal_chain_.get();
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  rocksdb::Status status = rocksdb::DB::Open(db_options, path.string(), descriptors, &handles, &db);
  if (!status.ok()) {
    absl::Status failure = FromRocks(status, StrCat("opening ", path.string()));
    if (status.IsInvalidArgument()) return NotFound(MessageOf(failure));
    return failure;
  }
  database->db_.reset(db);
  database->default_handle_ = handles[0];
  for (size_t i = 0; i < kFamilies.size(); ++i) database->handles_[i] = handles[i + 1];
  if (database->wal_chain_ != nullptr && database->wal_chain_->hole()) {
    LogWarn("storage", "the write-ahead log has a hole, as after a power cut; what is behind it is taken from the log",
            {{"path", path.string()}, {"write", *database->wal_chain_->hole()}});
  }
  TERRANE_ASSIGN_OR_RETURN(database->writes_, database->GetNumber(kWritesName));
  TERRANE_RETURN_IF_ERROR(database->CheckFormat(create));
  TERRANE_ASSIGN_OR_RETURN(uint64_t first, database->GetNumber(kOplogFirstName));
  database->oplog_first = first;
  return database;
}

absl::Status Database::FollowWal(const rocksdb::DBOptions& options,
                                 const std::vector<rocksdb::ColumnFamilyDescriptor>& descriptors) {
  TERRANE_ASSIGN_OR_RETURN(const uint64_t flushed,
                           FlushedWrites(options, path_, {descriptors.front(), descriptors.back()}));
  wal_chain_ = std::make_unique<WalChain>(flushed);
  return absl::OkStatus();
}

absl::Status Database::CheckFormat(bool create) {
  if (create) {
    rocksdb::WriteBatch batch;
    batch.Put(handle(Family::kState), ToSlice(kFormatName), EncodeNumber(kFormatVersion));
    batch.Put(handle(Family::kState), ToSlice(kAppliedName), EncodeNumber(0));
    return Write(&batch, /*sync=*/true, "creating");
  }
  TERRANE_ASSIGN_OR_RETURN(uint64_t version, GetNumber(kFormatName));
  if (version == 0) return DataLoss(path_.string(), ": names no format version");
  if (version > kFormatVersion) {
    return FailedPrecondition(path_.string(), ": has format version ", version, ", this program knows ", kFormatVersion,
                              " at most: start a newer one");
  }
  return absl::OkStatus();
}

Database::~Database() {
  if (db_ != nullptr) {
    for (rocksdb::ColumnFamilyHandle* handle : handles_) {
      if (handle != nullptr) db_->DestroyColumnFamilyHandle(handle);
    }
    if (default_handle_ != nullptr) db_->DestroyColumnFamilyHandle(default_handle_);
    db_->Close().PermitUncheckedError();
    db_.reset();
  }
  if (remove_) {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
}

absl::StatusOr<std::optional<std::string>> Database::Get(Family family, std::string_view key,
                                                         const rocksdb::Snapshot* snapshot) const {
  rocksdb::ReadOptions options;
  options.snapshot = snapshot;
  std::string value;
  rocksdb::Status status = db_->Get(options, handle(family), ToSlice(key), &value);
  if (status.IsNotFound()) return std::optional<std::string>();
  if (!status.ok()) {
    return fatal_->ReadFailed(status, StrCat("reading ", FamilyName(family), " in ", path_.string()));
  }
  return std::optional<std::string>(std::move(value));
}

absl::StatusOr<uint64_t> Database::GetNumber(std::string_view name, const rocksdb::Snapshot* snapshot) const {
  TERRANE_ASSIGN_OR_RETURN(std::optional<std::string> bytes, Get(Family::kState, name, snapshot));
  if (!bytes) return 0;
  std::optional<uint64_t> number = DecodeNumber(*bytes);
  if (!number) return DataLoss(path_.string(), ": ", name, " is not a number");
  return *number;
}

absl::Status Database::Attempt(const std::function<rocksdb::Status()>& write, std::string_view context) const {
  TERRANE_RETURN_IF_ERROR(Annotate(fatal_->Refusal(), path_.string()));
  absl::Status status = FromRocks(write(), StrCat(context, " in ", path_.string()));
  if (!status.ok()) fatal_->Report(status);
  return status;
}

absl::Status Database::Write(rocksdb::WriteBatch* batch, bool sync, std::string_view context) const {
  rocksdb::WriteOptions options;
  options.sync = sync;
  std::lock_guard lock(write_mutex_);
  batch->Put(handle(Family::kState), ToSlice(kWritesName), EncodeNumber(++writes_));
  const UnderWay write(&write_began_);
  return Attempt([&] { return db_->Write(options, batch); }, context);
}

absl::Status Database::SyncWal(std::string_view context) const {
  std::lock_guard lock(write_mutex_);
  const UnderWay write(&write_began_);
  return Attempt([&] { return db_->FlushWAL(/*sync=*/true); }, context);
}

absl::Status Database::Ingest(const std::vector<rocksdb::IngestExternalFileArg>& arguments) const {
  std::lock_guard lock(write_mutex_);
  return Attempt([&] { return db_->IngestExternalFiles(arguments); }, "ingesting a segment");
}

absl::Status Database::DropFiles(Family family, std::string_view begin, std::string_view end) const {
  rocksdb::Slice begin_slice = ToSlice(begin);
  rocksdb::Slice end_slice = ToSlice(end);
  rocksdb::RangePtr range(&begin_slice, &end_slice);
  return Attempt(
      [&] { return rocksdb::DeleteFilesInRanges(db_.get(), handle(family), &range, 1, /*include_end=*/false); },
      StrCat("dropping files of ", FamilyName(family)));
}

void Require(bool promise, std::string_view what) {
  if (promise) [[likely]]
    return;
  LogError("storage", "broken promise of our own code", {{"what", what}});
  FlushLogs();
  std::abort();
}

}  // namespace terrane::storage
