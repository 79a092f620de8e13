#include "storage/janitor.h"

#include "common/status.h"

namespace terrane::storage {
namespace {

// Deletes keys in batches.
class Deleter {
 public:
  Deleter(Database& database, size_t batch_keys, std::function<bool()> pause)
      : database_(database), batch_keys_(batch_keys), pause_(std::move(pause)) {}

  void Add(Family family, std::string_view key) { batch_.Delete(database_.handle(family), ToSlice(key)); }
  // Call between two records, never between the parts of one.
  absl::Status WriteIfFull() {
    if (static_cast<size_t>(batch_.Count()) < batch_keys_) return absl::OkStatus();
    TERRANE_RETURN_IF_ERROR(Write());
    return pause_() ? absl::OkStatus() : MakeStatus(absl::StatusCode::kCancelled, "the removal was interrupted");
  }
  absl::Status Write() {
    absl::Status status = database_.Write(&batch_, /*sync=*/false, "removing a part of a copy");
    batch_.Clear();
    return status;
  }

 private:
  Database& database_;
  size_t batch_keys_;
  std::function<bool()> pause_;
  rocksdb::WriteBatch batch_;
};

}  // namespace

Janitor::Janitor(std::shared_ptr<CopyReferenceTable> references, std::function<std::shared_ptr<Database>()> database,
                 Pace pace)
    : references_(std::move(references)), database_(std::move(database)), pace_(pace), thread_([this] { Run(); }) {}

Janitor::~Janitor() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    waiting_.clear();
  }
  changed_.notify_all();
  thread_.join();
}

void Janitor::Schedule(CopyId copy, std::optional<KeyRange> range, std::function<void(absl::Status)> done) {
  if (!range) references_->Close(copy);
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back({copy, std::move(range), std::move(done)});
  }
  changed_.notify_all();
}

void Janitor::Wake() {
  // The lock orders this after a check of the thread that found the copy in use.
  { std::lock_guard lock(mutex_); }
  changed_.notify_all();
}

void Janitor::Forget() {
  std::unique_lock lock(mutex_);
  waiting_.clear();
  forget_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return !busy_; });
  forget_ = false;
}

size_t Janitor::Pending() const {
  std::lock_guard lock(mutex_);
  return waiting_.size() + (busy_ ? 1 : 0);
}

bool Janitor::Interrupted() const {
  std::lock_guard lock(mutex_);
  return stop_ || forget_;
}

bool Janitor::Pause() {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, pace_.pause, [this] { return stop_ || forget_; });
}

// Requires the lock.
std::optional<Janitor::Drop> Janitor::TakeRunnable() {
  for (auto it = waiting_.begin(); it != waiting_.end(); ++it) {
    // Deletes of single keys respect snapshots, dropping whole files does not (trap T34).
    if (!it->range && !references_->Free(it->copy)) continue;
    Drop drop = std::move(*it);
    waiting_.erase(it);
    return drop;
  }
  return std::nullopt;
}

void Janitor::Run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    std::optional<Drop> drop = TakeRunnable();
    if (!drop) {
      changed_.wait(lock);
      continue;
    }
    busy_ = true;
    lock.unlock();
    std::shared_ptr<Database> database = database_();
    absl::Status status =
        drop->range ? DropPart(*database, drop->copy, *drop->range) : DropWhole(*database, drop->copy);
    database.reset();
    if (drop->done && !Interrupted()) drop->done(status);
    lock.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

absl::Status Janitor::DropWhole(Database& database, CopyId copy) {
  // Dropping files is durable at once: what was written before, the entry that allows it above all, must be so first.
  TERRANE_RETURN_IF_ERROR(database.SyncWal("syncing before a drop"));
  RawRange range = CopyRange(copy);
  std::string end = range.max.value_or(std::string(64, '\xff'));
  rocksdb::WriteBatch rest;
  for (Family family : kCopyFamilies) {
    TERRANE_RETURN_IF_ERROR(database.DropFiles(family, range.min, end));
    // What lies in memtables, at level 0, or in files shared with others.
    RangeIterator left(database.shared_fatal(), range, rocksdb::ReadOptions(),
                       [&](const rocksdb::ReadOptions& options) {
                         return database.db()->NewIterator(options, database.handle(family));
                       });
    if (left.Valid()) rest.DeleteRange(database.handle(family), range.min, end);
    TERRANE_RETURN_IF_ERROR(left.status());
  }
  if (rest.Count() == 0) return absl::OkStatus();
  return database.Write(&rest, /*sync=*/false, StrCat("dropping copy ", copy.value()));
}

absl::Status Janitor::DropPart(Database& database, CopyId copy, const KeyRange& range) {
  Deleter deleter(database, pace_.batch_keys, [this] { return Pause(); });
  auto iterate = [&](Family family, RawRange raw) {
    rocksdb::ReadOptions options;
    options.fill_cache = false;
    return RangeIterator(database.shared_fatal(), std::move(raw), options, [&](const rocksdb::ReadOptions& bounded) {
      return database.db()->NewIterator(bounded, database.handle(family));
    });
  };

  // Index entries of the part lie between those of the rest (trap T62); they go first, so that none ever points to a
  // document that is gone.
  RangeIterator entries = iterate(Family::kIndexes, CopyRange(copy));
  for (; entries.Valid(); entries.Next()) {
    std::optional<IndexKeyParts> parts = ParseIndexKey(entries.key());
    if (!parts || !range.Contains(parts->shard_key)) continue;
    deleter.Add(Family::kIndexes, entries.key());
    TERRANE_RETURN_IF_ERROR(deleter.WriteIfFull());
  }
  TERRANE_RETURN_IF_ERROR(entries.status());

  RangeIterator retries = iterate(Family::kRetries, RetryRange(copy, range));
  for (; retries.Valid(); retries.Next()) {
    std::optional<RetryKeyParts> parts = ParseRetryKey(retries.key());
    if (!parts) return DataLoss("retries: a key cannot be taken apart");
    deleter.Add(Family::kRetries, retries.key());
    deleter.Add(Family::kRetries, RetrySecondKey(copy, parts->shard_key, parts->id, parts->session, parts->statement));
    TERRANE_RETURN_IF_ERROR(deleter.WriteIfFull());
  }
  TERRANE_RETURN_IF_ERROR(retries.status());

  RangeIterator documents = iterate(Family::kDocuments, DocumentRange(copy, range));
  for (; documents.Valid(); documents.Next()) {
    deleter.Add(Family::kDocuments, documents.key());
    TERRANE_RETURN_IF_ERROR(deleter.WriteIfFull());
  }
  TERRANE_RETURN_IF_ERROR(documents.status());
  return deleter.Write();
}

}  // namespace terrane::storage
