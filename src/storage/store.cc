#include "storage/store.h"

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/utilities/checkpoint.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>

#include "common/clock.h"
#include "common/status.h"
#include "common/units.h"
#include "storage/copy_references.h"
#include "storage/database.h"
#include "storage/fault_env.h"
#include "storage/inspect.h"
#include "storage/janitor.h"
#include "storage/layout.h"
#include "storage/views.h"
#include "storage/write_watch.h"

namespace terrane::storage {
namespace {

class StoreImpl : public Store {
 public:
  StoreImpl(StoreOptions options, std::unique_ptr<Layout> layout, std::shared_ptr<rocksdb::Cache> cache,
            std::shared_ptr<FatalHandler> fatal, std::shared_ptr<Database> database)
      : options_(std::move(options)),
        layout_(std::move(layout)),
        cache_(std::move(cache)),
        fatal_(std::move(fatal)),
        database_(std::move(database)),
        references_(std::make_shared<CopyReferenceTable>([this] { janitor_.Wake(); })),
        janitor_(references_, [this] { return Present(); }, {options_.drop_batch_keys, options_.drop_pause}) {}

  ~StoreImpl() override {
    Interrupt();
    references_->Detach();
    janitor_.Forget();
  }

  // What survived: the applied position and the segments that it has taken in.
  absl::Status Recover() {
    std::shared_ptr<Database> database = Present();
    TERRANE_ASSIGN_OR_RETURN(uint64_t applied, database->GetNumber(kAppliedName));
    RawRange range{std::string(kIngestedPrefix), std::string(kIngestedPrefix) + '\xff'};
    RangeIterator names(database->shared_fatal(), range, rocksdb::ReadOptions(),
                        [&](const rocksdb::ReadOptions& options) {
                          return database->db()->NewIterator(options, database->handle(Family::kState));
                        });
    std::map<std::string, uint64_t> kept;
    for (; names.Valid(); names.Next()) {
      // Programs before replica sets wrote no position.
      kept.emplace(names.key().substr(kIngestedPrefix.size()), DecodeNumber(names.value()).value_or(0));
    }
    TERRANE_RETURN_IF_ERROR(names.status());
    std::lock_guard lock(mutex_);
    applied_ = applied;
    kept_ = std::move(kept);
    return absl::OkStatus();
  }

  Position AppliedPosition() const override {
    std::lock_guard lock(mutex_);
    return Position(applied_);
  }

  Position WaitAppliedBeyond(Position position, std::chrono::milliseconds timeout) const override {
    std::unique_lock lock(mutex_);
    applied_changed_.wait_for(lock, timeout, [&] { return applied_ > position.value() || interrupted_; });
    return Position(applied_);
  }

  void Interrupt() override {
    std::lock_guard lock(mutex_);
    interrupted_ = true;
    applied_changed_.notify_all();
  }

  std::unique_ptr<ApplyBatch> NewBatch() override {
    return MakeApplyBatch({[this] { return Present(); },
                           [this](Position applied, std::vector<std::string> ingested) {
                             std::lock_guard lock(mutex_);
                             Require(applied.value() >= applied_, "the applied position goes back");
                             applied_ = applied.value();
                             for (std::string& name : ingested) kept_.emplace(std::move(name), applied_);
                             applied_changed_.notify_all();
                           }});
  }

  absl::StatusOr<CopyReferences> Reference(std::span<const CopyId> copies) override {
    return references_->Take(copies);
  }

  std::shared_ptr<const ReadView> View(CopyReferences references) override {
    return MakeReadView(Present(), std::move(references));
  }

  absl::StatusOr<Position> MakeDurable() override {
    std::shared_ptr<Database> database;
    uint64_t applied = 0;
    {
      std::lock_guard lock(mutex_);
      database = database_;
      applied = applied_;
    }
    TERRANE_RETURN_IF_ERROR(database->SyncWal("syncing the WAL"));
    return Position(applied);
  }

  absl::Status TakeCheckpoint(const std::filesystem::path& directory) override {
    // RocksDB wants to make the directory itself.
    std::filesystem::path making = directory;
    making += ".making";
    std::error_code error;
    std::filesystem::remove_all(making, error);
    std::shared_ptr<Database> database = Present();
    rocksdb::Checkpoint* made = nullptr;
    TERRANE_RETURN_IF_ERROR(FromRocks(rocksdb::Checkpoint::Create(database->db(), &made), "checkpoint"));
    std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
    TERRANE_RETURN_IF_ERROR(FromRocks(checkpoint->CreateCheckpoint(making.string(), /*log_size_for_flush=*/0),
                                      StrCat("checkpoint in ", making.string())));
    // Nothing is thrown away unseen: a checkpoint that lacks files costs its receiver its own directory.
    std::vector<std::filesystem::path> files;
    std::filesystem::directory_iterator entry(making, error);
    for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
      files.push_back(entry->path());
    }
    if (error) return Internal("listing ", making.string(), ": ", error.message());
    for (const std::filesystem::path& file : files) {
      std::filesystem::rename(file, directory / file.filename(), error);
      if (error) return Internal("moving ", file.string(), ": ", error.message());
    }
    std::filesystem::remove(making, error);
    if (error) return Internal("removing ", making.string(), ": ", error.message());
    return SyncPath(directory);
  }

  absl::Status InstallCheckpoint(const std::filesystem::path& directory) override {
    janitor_.Forget();
    references_->ReopenAll();
    TERRANE_ASSIGN_OR_RETURN(std::filesystem::path next, layout_->Import(directory));
    TERRANE_ASSIGN_OR_RETURN(std::shared_ptr<Database> database,
                             Database::Open(next, options_, cache_, fatal_, /*create=*/false));
    TERRANE_RETURN_IF_ERROR(layout_->SetCurrent(next.filename().string()));
    {
      std::lock_guard lock(mutex_);
      database_.swap(database);
    }
    database->RemoveWhenClosed();
    database.reset();
    TERRANE_RETURN_IF_ERROR(Recover());
    std::lock_guard lock(mutex_);
    applied_changed_.notify_all();
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<SegmentWriter>> NewSegment(CopyId copy, std::string_view label) override {
    return MakeSegmentWriter(layout_->segments(), copy, label, options_);
  }

  absl::Status Ingest(std::span<const SegmentFile> files) override {
    std::shared_ptr<Database> database = Present();
    std::map<Family, rocksdb::IngestExternalFileArg> arguments;
    std::vector<std::string> links;
    absl::Status status = PrepareIngest(files, *database, &arguments, &links);
    if (status.ok() && !links.empty()) status = IngestLinks(*database, arguments);
    for (const std::string& link : links) EnvOf(options_.faults)->DeleteFile(link).PermitUncheckedError();
    return status;
  }

  std::vector<KeptSegmentFile> KeptSegmentFiles() const override {
    std::lock_guard lock(mutex_);
    std::vector<KeptSegmentFile> kept;
    for (const auto& [name, position] : kept_) kept.push_back({name, Position(position)});
    return kept;
  }

  absl::Status ForgetSegmentFiles(Position position) override {
    std::shared_ptr<Database> database;
    std::vector<std::string> names;
    {
      std::lock_guard lock(mutex_);
      database = database_;
      for (const auto& [name, kept] : kept_) {
        if (kept <= position.value()) names.push_back(name);
      }
    }
    if (names.empty()) return absl::OkStatus();
    TERRANE_RETURN_IF_ERROR(database->SyncWal("syncing before segments are removed"));
    // The record goes after the file: a crash in between leaves something that is tried again.
    rocksdb::WriteBatch forget;
    for (const std::string& name : names) {
      layout_->RemoveSegment(name);
      forget.Delete(database->handle(Family::kState), StrCat(kIngestedPrefix, name));
    }
    TERRANE_RETURN_IF_ERROR(database->Write(&forget, /*sync=*/false, "forgetting segments"));
    std::lock_guard lock(mutex_);
    if (database_ != database) return absl::OkStatus();  // another state, with records of its own
    for (const std::string& name : names) kept_.erase(name);
    return absl::OkStatus();
  }

  void RemoveSegmentFiles(CopyId copy) override {
    RemoveSegmentFiles([prefix = SegmentNamePrefix(copy)](std::string_view name) { return name.starts_with(prefix); });
  }

  void RemoveSegmentFiles(const std::function<bool(std::string_view name)>& garbage) override {
    for (const std::string& name : layout_->SegmentNames()) {
      if (!garbage(name)) continue;
      {
        std::lock_guard lock(mutex_);
        if (kept_.contains(name)) continue;
      }
      layout_->RemoveSegment(name);
    }
  }

  bool HasSegmentFile(const SegmentFile& file) const override {
    const auto found = FileChecksum(SegmentPath(file.name));
    return found.ok() && found->first == file.bytes && found->second == file.checksum;
  }

  absl::StatusOr<std::unique_ptr<SegmentReceiver>> ReceiveSegmentFile(const SegmentFile& file) override {
    return MakeSegmentReceiver(layout_->segments(), file, options_.faults);
  }

  std::filesystem::path SegmentPath(std::string_view name) const override { return layout_->segments() / name; }

  void ScheduleDrop(CopyId copy, std::optional<KeyRange> range, std::function<void(absl::Status)> done) override {
    janitor_.Schedule(copy, std::move(range), std::move(done));
  }

  absl::Status TrimOplog(Position position) override {
    std::shared_ptr<Database> database = Present();
    uint64_t first = database->oplog_first.load();
    if (position.value() <= first) return absl::OkStatus();
    // Files are dropped durably at once: the record that says so must be there first.
    database->oplog_first = position.value();
    std::string begin = OplogKey(Position(first));
    std::string end = OplogKey(position);
    rocksdb::WriteBatch batch;
    batch.Put(database->handle(Family::kState), ToSlice(kOplogFirstName), EncodeNumber(position.value()));
    batch.DeleteRange(database->handle(Family::kOplog), begin, end);
    TERRANE_RETURN_IF_ERROR(database->Write(&batch, /*sync=*/true, "trimming the oplog"));
    return database->DropFiles(Family::kOplog, begin, end);
  }

  Position FirstOplogPosition() const override {
    return Position(std::max<uint64_t>(1, Present()->oplog_first.load()));
  }

  MonotonicTime WriteBegan() const { return Present()->write_began(); }

  absl::StatusOr<DiskUsage> Disk() const override { return AskDisk(options_); }

  absl::Status CheckSpace(uint64_t needed) const override {
    DiskUsage usage;
    {
      std::lock_guard lock(space_mutex_);
      MonotonicTime now = Clock::System()->Now();
      if (!space_ || now - space_asked_ > std::chrono::seconds(1)) {
        TERRANE_ASSIGN_OR_RETURN(space_, AskDisk(options_));
        space_asked_ = now;
      }
      usage = *space_;
      if (usage.free_bytes >= usage.reserve_bytes + needed) {
        // Until the disk is asked again. It is written three times: to the two logs, and to the oplog and the
        // documents.
        space_->free_bytes -= std::min(space_->free_bytes, 3 * needed);
        return absl::OkStatus();
      }
    }
    const auto bytes = [](uint64_t n) { return FormatBytes(static_cast<int64_t>(n)); };
    return MakeStatus(absl::StatusCode::kResourceExhausted, "the disk of ", usage.disk, " has ",
                      bytes(usage.free_bytes), " free, ", bytes(needed), " are needed and ", bytes(usage.reserve_bytes),
                      " are kept in reserve; deletes go on, and so do moves to other shards");
  }

  StoreStatistics Statistics() const override {
    StoreStatistics statistics;
    FillStatistics(*Present(), &statistics);
    statistics.pending_drops = janitor_.Pending();
    return statistics;
  }

  absl::StatusOr<std::vector<CopyOnDisk>> ListCopies() const override { return CopiesOnDisk(*Present()); }

  uint64_t EstimateBytes(CopyId copy, const KeyRange& range) const override {
    return EstimateRange(*Present(), Family::kDocuments, DocumentRange(copy, range));
  }

  absl::StatusOr<std::string> MiddleKey(CopyId copy, const KeyRange& range) override {
    TERRANE_ASSIGN_OR_RETURN(std::shared_ptr<const ReadView> view, Store::View(copy));
    std::unique_ptr<DocumentCursor> documents = view->Documents(copy, range, /*for_scan=*/true);
    return FindMiddleKey(*documents, range);
  }

 private:
  std::shared_ptr<Database> Present() const {
    std::lock_guard lock(mutex_);
    return database_;
  }

  absl::Status PrepareIngest(std::span<const SegmentFile> files, const Database& database,
                             std::map<Family, rocksdb::IngestExternalFileArg>* arguments,
                             std::vector<std::string>* links) const {
    for (const SegmentFile& file : files) {
      std::optional<Family> family = FamilyByName(file.family);
      if (!family) return InvalidArgument("segment file ", file.name, ": there is no family ", file.family);
      std::filesystem::path path = SegmentPath(file.name);
      TERRANE_ASSIGN_OR_RETURN(auto found, FileChecksum(path));
      if (found.first != file.bytes || found.second != file.checksum) {
        return DataLoss("segment file ", path.string(), ": its checksum is not that of the entry");
      }
      // RocksDB takes the name that it is given; ours stays for replays and peers.
      std::string link = StrCat(path.string(), ".ingest");
      rocksdb::Env* env = EnvOf(options_.faults);
      env->DeleteFile(link).PermitUncheckedError();
      TERRANE_RETURN_IF_ERROR(FromRocks(env->LinkFile(path.string(), link), "linking a segment file"));
      links->push_back(link);
      rocksdb::IngestExternalFileArg& argument = (*arguments)[*family];
      argument.column_family = database.handle(*family);
      argument.external_files.push_back(link);
      argument.options.move_files = true;
      // Otherwise it would write into the file that we keep.
      argument.options.write_global_seqno = false;
    }
    return absl::OkStatus();
  }

  static absl::Status IngestLinks(const Database& database,
                                  const std::map<Family, rocksdb::IngestExternalFileArg>& arguments) {
    std::vector<rocksdb::IngestExternalFileArg> list;
    for (const auto& [family, argument] : arguments) list.push_back(argument);
    TERRANE_RETURN_IF_ERROR(database.SyncWal("syncing before an ingest"));
    return database.Ingest(list);
  }

  const StoreOptions options_;
  std::unique_ptr<Layout> layout_;
  std::shared_ptr<rocksdb::Cache> cache_;
  std::shared_ptr<FatalHandler> fatal_;

  mutable std::mutex mutex_;
  mutable std::condition_variable applied_changed_;
  std::shared_ptr<Database> database_;
  uint64_t applied_ = 0;
  bool interrupted_ = false;
  std::map<std::string, uint64_t> kept_;  // segment files whose effect is committed; by name the entry's position

  mutable std::mutex space_mutex_;
  mutable std::optional<DiskUsage> space_;
  mutable MonotonicTime space_asked_{};

  std::shared_ptr<CopyReferenceTable> references_;
  Janitor janitor_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const ReadView>> Store::View(CopyId copy) {
  TERRANE_ASSIGN_OR_RETURN(CopyReferences references, Reference(copy));
  return View(std::move(references));
}

absl::StatusOr<std::unique_ptr<Store>> Store::Open(StoreOptions options) {
  auto fatal = std::make_shared<FatalHandler>(options.on_fatal, options.on_damage);
  std::shared_ptr<rocksdb::Cache> cache = rocksdb::NewLRUCache(options.block_cache_bytes);
  auto layout = std::make_unique<Layout>(options.directory, options.faults);
  TERRANE_ASSIGN_OR_RETURN(bool exists, layout->Exists());
  if (!exists) {
    if (!options.create) return NotFound(options.directory.string(), ": there is no store");
    TERRANE_ASSIGN_OR_RETURN(std::filesystem::path making, layout->BeginCreation());
    TERRANE_RETURN_IF_ERROR(Database::Open(making, options, cache, fatal, /*create=*/true).status());
    TERRANE_RETURN_IF_ERROR(layout->EndCreation());
  }
  TERRANE_ASSIGN_OR_RETURN(std::filesystem::path path, layout->Current());
  TERRANE_ASSIGN_OR_RETURN(std::shared_ptr<Database> database,
                           Database::Open(path, options, cache, fatal, /*create=*/false));
  layout->RemoveLeftovers();
  auto store = std::make_unique<StoreImpl>(std::move(options), std::move(layout), std::move(cache), std::move(fatal),
                                           std::move(database));
  TERRANE_RETURN_IF_ERROR(store->Recover());
  return store;
}

MonotonicTime WriteUnderWaySince(const Store& store) {
  const auto* on_disk = dynamic_cast<const StoreImpl*>(&store);
  return on_disk == nullptr ? MonotonicTime(0) : on_disk->WriteBegan();
}

}  // namespace terrane::storage
