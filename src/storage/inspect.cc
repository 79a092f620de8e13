#include "storage/inspect.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <map>

#include "common/disk.h"
#include "common/status.h"
#include "storage/fault_injection.h"

namespace terrane::storage {
namespace {

uint64_t Property(const Database& database, Family family, const std::string& name) {
  uint64_t value = 0;
  database.db()->GetIntProperty(database.handle(family), name, &value);
  return value;
}

}  // namespace

absl::StatusOr<DiskUsage> AskDisk(const StoreOptions& options) {
  DiskUsage usage;
  if (options.disk_usage) {
    usage = options.disk_usage();
  } else {
    struct statvfs info;
    if (statvfs(options.directory.c_str(), &info) != 0) {
      return Internal("asking for the free space of ", options.directory.string(), ": ", strerror(errno));
    }
    usage.total_bytes = static_cast<uint64_t>(info.f_blocks) * info.f_frsize;
    usage.free_bytes = static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
  }
  if (options.faults) usage.free_bytes = std::min(usage.free_bytes, options.faults->Room().value_or(usage.free_bytes));
  usage.disk = options.directory.string();
  usage.reserve_bytes =
      options.disk_reserve_bytes != 0 ? options.disk_reserve_bytes : DefaultDiskReserve(usage.total_bytes);
  return usage;
}

void FillStatistics(const Database& database, StoreStatistics* statistics) {
  for (Family family : kFamilies) {
    statistics->bytes_on_disk += Property(database, family, rocksdb::DB::Properties::kLiveSstFilesSize);
    statistics->memtable_bytes += Property(database, family, rocksdb::DB::Properties::kCurSizeAllMemTables);
    statistics->compaction_debt_bytes +=
        Property(database, family, rocksdb::DB::Properties::kEstimatePendingCompactionBytes);
  }
  for (Family family : kCopyFamilies) {
    std::string files;
    database.db()->GetProperty(database.handle(family), rocksdb::DB::Properties::kNumFilesAtLevelPrefix + "0", &files);
    statistics->level0_files = std::max<uint64_t>(statistics->level0_files, strtoull(files.c_str(), nullptr, 10));
  }
  statistics->oplog_bytes = EstimateRange(database, Family::kOplog, RawRange{"", std::nullopt});
  statistics->first_oplog_position = Position(std::max<uint64_t>(1, database.oplog_first.load()));
}

uint64_t EstimateRange(const Database& database, Family family, const RawRange& range) {
  std::string end = range.max.value_or(std::string(64, '\xff'));
  rocksdb::Range asked(range.min, end);
  rocksdb::SizeApproximationOptions options;
  options.include_memtables = true;
  options.include_files = true;
  uint64_t bytes = 0;
  database.db()->GetApproximateSizes(options, database.handle(family), &asked, 1, &bytes).PermitUncheckedError();
  return bytes;
}

absl::StatusOr<std::vector<CopyOnDisk>> CopiesOnDisk(const Database& database) {
  std::map<CopyId, uint64_t> found;
  for (Family family : kCopyFamilies) {
    rocksdb::ReadOptions options;
    options.total_order_seek = true;
    std::unique_ptr<rocksdb::Iterator> iterator(database.db()->NewIterator(options, database.handle(family)));
    iterator->SeekToFirst();
    while (iterator->Valid()) {
      std::optional<CopyId> copy = CopyOfKey(iterator->key().ToStringView());
      if (!copy) return DataLoss(FamilyName(family), ": a key without a copy");
      found[*copy] += EstimateRange(database, family, CopyRange(*copy));
      std::optional<std::string> end = CopyEnd(*copy);
      if (!end) break;
      iterator->Seek(*end);
    }
    TERRANE_RETURN_IF_ERROR(database.fatal().ReadFailed(iterator->status(), StrCat("listing ", FamilyName(family))));
  }
  std::vector<CopyOnDisk> copies;
  for (const auto& [copy, bytes] : found) copies.push_back({copy, bytes});
  return copies;
}

absl::StatusOr<std::string> FindMiddleKey(DocumentCursor& documents, const KeyRange& range) {
  struct Sample {
    uint64_t bytes_before;
    std::string shard_key;
  };
  constexpr size_t kMaxSamples = 4096;
  std::vector<Sample> samples;  // of shard keys other than the first, evenly thinned
  uint64_t spacing = 0;
  uint64_t bytes = 0;
  std::string last;
  bool first = true;
  for (; documents.Valid(); documents.Next()) {
    if (!first && documents.shard_key() != last &&
        (samples.empty() || bytes - samples.back().bytes_before >= spacing)) {
      samples.push_back({bytes, std::string(documents.shard_key())});
      if (samples.size() == kMaxSamples) {
        for (size_t i = 0; i < kMaxSamples / 2; ++i) samples[i] = std::move(samples[2 * i]);
        samples.resize(kMaxSamples / 2);
        spacing = std::max<uint64_t>(1, bytes / (kMaxSamples / 2));
      }
    }
    if (first || documents.shard_key() != last) last = documents.shard_key();
    first = false;
    bytes += documents.document().size();
  }
  TERRANE_RETURN_IF_ERROR(documents.status());
  if (samples.empty()) {
    return FailedPrecondition("the range ", range.ToString(), " holds ", first ? "no document" : "one shard key only",
                              ": there is nothing to split");
  }
  auto distance = [bytes](const Sample& sample) {
    uint64_t middle = bytes / 2;
    return sample.bytes_before > middle ? sample.bytes_before - middle : middle - sample.bytes_before;
  };
  return std::min_element(samples.begin(), samples.end(),
                          [&](const Sample& a, const Sample& b) { return distance(a) < distance(b); })
      ->shard_key;
}

}  // namespace terrane::storage
