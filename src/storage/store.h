// All data of one shard replica: documents, index entries, retry records, oplog and state in one RocksDB, keyed as
// docs/data-layout.md says. The only library that knows RocksDB.
//
// Writers: the apply thread, through ApplyBatch, Ingest and TrimOplog; and the store's own janitor, which removes
// copies that nobody may read. Readers: any thread, through ReadView.
//
// The directory:
//   current        name of the database in use, replaced by rename
//   db-<n>/        the database; a checkpoint that is installed becomes db-<n+1>
//   segments/      files of segments that are built, or are kept until no replay can ask for them
//
// The first background error ends the process (Options::on_fatal): RocksDB would go on by itself after a full disk, and
// 7.8 has bugs in doing so. Damage (kDataLoss) that is met while running may be taken over by the owner instead
// (Options::on_damage).
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "common/key_range.h"
#include "storage/apply_batch.h"
#include "storage/digest.h"
#include "storage/read_view.h"
#include "storage/segment.h"

namespace terrane::storage {

class StoreDisk;

// The version that this program writes. A directory of a newer one is refused.
inline constexpr uint32_t kFormatVersion = 1;

struct DiskUsage {
  std::string disk;  // the directory asked about
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;
  uint64_t reserve_bytes = 0;
};

struct StoreOptions {
  std::filesystem::path directory;
  bool create = true;  // make it if it is missing
  uint64_t block_cache_bytes = 64 << 20;
  uint64_t write_buffer_bytes = 32 << 20;  // per family and memtable
  int background_threads = 2;
  // Free space below which writes are refused; 0: 2 % of the disk, but from 256 MiB (a quarter of a smaller disk) to 1
  // GiB.
  uint64_t disk_reserve_bytes = 0;
  // Copies are removed key by key in batches of this size with pauses between them.
  size_t drop_batch_keys = 2000;
  std::chrono::milliseconds drop_pause{5};
  // Memory for sorting a segment's index and second-order entries.
  size_t segment_sort_bytes = 32 << 20;
  // Called at most once, on any thread, at the first background I/O error. nullptr: logs and ends the process at once
  // with exit code 70. If it returns (tests), writes fail.
  std::function<void(const absl::Status&)> on_fatal;
  // Called on any thread when a read, a write or background work meets damage, that is kDataLoss and no other I/O
  // error; does not block. True: the owner ends this store and begins again with other data; until then reads say
  // kDataLoss and nothing is written. False, or null: a read says kDataLoss; after a failed write or background work,
  // on_fatal.
  std::function<bool(const absl::Status&)> on_damage;
  // Replaces asking the operating system: for tests.
  std::function<DiskUsage()> disk_usage;
  // Only for tests and the bench: a disk that goes wrong (fault_injection.h).
  std::shared_ptr<StoreDisk> faults;
};

struct StoreStatistics {
  uint64_t bytes_on_disk = 0;  // of live files
  uint64_t level0_files = 0;   // the greatest of the families that segments go to
  uint64_t compaction_debt_bytes = 0;
  uint64_t memtable_bytes = 0;
  uint64_t oplog_bytes = 0;  // estimate
  Position first_oplog_position;
  uint64_t pending_drops = 0;
};

struct CopyOnDisk {
  CopyId copy;
  uint64_t bytes = 0;  // estimate
};

struct KeptSegmentFile {
  std::string name;
  Position position;  // of the entry that ingested it; 0: from a program that did not say
};

class Store {
 public:
  // Opens or creates the directory.
  //   kNotFound            it is missing and `create` is false, or a file that it names is missing
  //   kFailedPrecondition  written by a newer version, or in use by another process
  //   kDataLoss            damaged; the message names the file
  static absl::StatusOr<std::unique_ptr<Store>> Open(StoreOptions options);
  virtual ~Store() = default;

  // Of the last committed batch; after a restart, of the last one that survived. Thread-safe, cheap.
  virtual Position AppliedPosition() const = 0;
  // Blocks until the applied position is beyond `position` or the time is over, or Store::Interrupt; returns the
  // applied position. Thread-safe.
  virtual Position WaitAppliedBeyond(Position position, std::chrono::milliseconds timeout) const = 0;
  // Wakes all waiters, now and in future: for a clean stop.
  virtual void Interrupt() = 0;

  virtual std::unique_ptr<ApplyBatch> NewBatch() = 0;

  // kNotFound when one of them is being dropped. A copy that holds nothing is fine.
  virtual absl::StatusOr<CopyReferences> Reference(std::span<const CopyId> copies) = 0;
  absl::StatusOr<CopyReferences> Reference(CopyId copy) { return Reference(std::span<const CopyId>(&copy, 1)); }
  // A picture of now that may read the referenced copies (and always oplog and state). Never fails.
  virtual std::shared_ptr<const ReadView> View(CopyReferences references) = 0;
  std::shared_ptr<const ReadView> View() { return View(CopyReferences()); }
  // Both at once.
  absl::StatusOr<std::shared_ptr<const ReadView>> View(CopyId copy);

  // Makes every committed batch durable and returns the position up to which they are. Blocks for one sync.
  // Thread-safe.
  virtual absl::StatusOr<Position> MakeDurable() = 0;

  // Writes the whole state as of AppliedPosition() as plain files into `directory`, which exists and is empty and is on
  // the same disk (hard links). On the apply thread.
  virtual absl::Status TakeCheckpoint(const std::filesystem::path& directory) = 0;
  // Replaces the whole state by such a directory; moves its files away. Atomic and durable; may be repeated with the
  // same directory after a crash. Views of the old state stay what they are. On the apply thread, without an open
  // batch. Drops that wait are forgotten: the new state says which are due.
  virtual absl::Status InstallCheckpoint(const std::filesystem::path& directory) = 0;

  // ---- segments ----
  // `label` becomes a part of the file names, e.g. "m7-a1". Thread-safe.
  virtual absl::StatusOr<std::unique_ptr<SegmentWriter>> NewSegment(CopyId copy, std::string_view label) = 0;
  // Takes the files in, all families in one atomic step, durably; keeps the files. Syncs the WAL first: a replay must
  // not find the future on disk (trap T61). On the apply thread, with no open batch that holds changes; then write
  // digest and progress in the next batch, with ApplyBatch::MarkIngested. The same files a second time (replay) have
  // the same effect. The keys must be such that the copy has never held, but for a replay.
  //   kNotFound: a file is missing; kDataLoss: its size or checksum differs. Nothing has been taken in then.
  virtual absl::Status Ingest(std::span<const SegmentFile> files) = 0;
  // Files that were ingested and are kept, for a replay here and for peers that have yet to apply their entry.
  virtual std::vector<KeptSegmentFile> KeptSegmentFiles() const = 0;
  // Removes those of entries up to `position`: no peer asks for them any more. Makes their effect durable first, so
  // that no replay asks either. Cheap when there are none; else blocks for a sync. Thread-safe.
  virtual absl::Status ForgetSegmentFiles(Position position) = 0;
  // Removes the files of segments of the copy that were never ingested: when its import has ended.
  virtual void RemoveSegmentFiles(CopyId copy) = 0;
  // The same for every file that is not kept and that `garbage` names so. Thread-safe.
  virtual void RemoveSegmentFiles(const std::function<bool(std::string_view name)>& garbage) = 0;
  // Whether the file is here, whole and right: reads all of it. Thread-safe.
  virtual bool HasSegmentFile(const SegmentFile& file) const = 0;
  // To take the file from another replica. One at a time for a name. Thread-safe.
  virtual absl::StatusOr<std::unique_ptr<SegmentReceiver>> ReceiveSegmentFile(const SegmentFile& file) = 0;
  virtual std::filesystem::path SegmentPath(std::string_view name) const = 0;

  // ---- removal ----
  // Removes the whole copy, or the part of it in `range`. The janitor does it, and calls `done` on its thread (not
  // after the store's end, and not if a checkpoint was installed meanwhile). The entry that made it unreadable must be
  // committed before. Not remembered over a restart: call again for what the state says is still to be dropped.
  // Repeating is harmless. Thread-safe.
  // A whole copy: from this call on no new reference is given; the files go when the last one is released, in well
  // under a second whatever their size. A part goes at once but key by key, paced, with its index entries and
  // second-order records (trap T62); views that are open do not see it go.
  virtual void ScheduleDrop(CopyId copy, std::optional<KeyRange> range, std::function<void(absl::Status)> done) = 0;

  // Removes oplog entries before `position`; from then on they are refused. On the apply thread.
  virtual absl::Status TrimOplog(Position position) = 0;
  virtual Position FirstOplogPosition() const = 0;

  // ---- looking at it ----
  virtual absl::StatusOr<DiskUsage> Disk() const = 0;
  // kResourceExhausted, naming disk, free and needed bytes, when `needed` more would go below the reserve. Looks at the
  // disk at most once a second. Thread-safe, cheap.
  virtual absl::Status CheckSpace(uint64_t needed) const = 0;
  virtual StoreStatistics Statistics() const = 0;
  // Every copy that has a key in any family. Blocks on the disk; time grows with copies, not with documents.
  virtual absl::StatusOr<std::vector<CopyOnDisk>> ListCopies() const = 0;
  // Estimate of the bytes of documents in the range.
  virtual uint64_t EstimateBytes(CopyId copy, const KeyRange& range) const = 0;
  // About the middle of the bytes of the range: a shard key k with min < k < max such that both sides hold documents.
  // kFailedPrecondition if the range holds only one shard key, or none.
  virtual absl::StatusOr<std::string> MiddleKey(CopyId copy, const KeyRange& range) = 0;
};

// Digest of what is really on disk: hashes every document and retry record of the range. `pace` is called after each
// few MB with the bytes since the last call; an error from it ends the scan with that error.
absl::StatusOr<ChunkDigest> ScanDigest(const ReadView& view, CopyId copy, const KeyRange& range,
                                       const std::function<absl::Status(uint64_t)>& pace = nullptr);

}  // namespace terrane::storage
