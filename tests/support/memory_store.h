// storage::Store in memory, for simulations: what is committed and not yet durable may be lost by a power cut, a prefix
// of the commits survives, as with the real one. Keys are those of storage/keys.h, so orders are the real ones.
//
// One thread. Nothing happens by itself: RunJanitor() removes what was dropped.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "storage/copy_references.h"
#include "storage/store.h"

namespace terrane::storage {

enum class MemoryFamily { kDocuments, kRetries, kIndexes, kOplog, kState };
inline constexpr size_t kMemoryFamilies = 5;
using MemoryRecords = std::map<std::string, std::string, std::less<>>;

// All families at one applied position. Copies share what neither has changed.
struct MemoryData {
  std::array<std::shared_ptr<MemoryRecords>, kMemoryFamilies> families;
  Position applied;
  Position first_oplog{1};

  MemoryData();
  const MemoryRecords& Of(MemoryFamily family) const { return *families[static_cast<size_t>(family)]; }
  // To be changed: nobody else sees it.
  MemoryRecords& Mutable(MemoryFamily family);
};

// One step of what is written.
struct MemoryChange {
  MemoryFamily family;
  std::string key;
  std::optional<std::string> value;  // nullopt: removed
};

// A file of a segment: the records that it brings.
using MemorySegment = std::vector<MemoryChange>;
// The segment files of one replica's disk, by name; they are durable.
using MemorySegments = std::map<std::string, std::shared_ptr<const MemorySegment>>;
// Checkpoints by path, as one disk (or a whole simulated world) holds them.
using MemoryCheckpoints = std::map<std::string, MemoryData>;

struct MemoryStoreOptions {
  MemorySegments* segments = nullptr;        // outlives the store
  MemoryCheckpoints* checkpoints = nullptr;  // likewise
  std::string name;                          // becomes part of the names of segment files: unique in the world
};

class MemoryStore : public Store {
 public:
  explicit MemoryStore(MemoryStoreOptions options);
  ~MemoryStore() override;

  // ---- what a simulation does with it ----

  // Commits that are not durable.
  size_t undurable() const { return pending_.size(); }
  // The process ends and the first `kept` commits of those happen to have reached the disk. Views that are open must be
  // gone. What was to be dropped is forgotten, as the references are.
  void PowerCut(size_t kept);
  // Removes what waits to be removed and is not referenced; calls the `done` functions.
  void RunJanitor();
  bool HasDrops() const { return !drops_.empty(); }
  // A record changes without anybody noticing.
  void Damage(MemoryFamily family, const std::string& key, std::string value);
  const MemoryData& data() const { return *current_; }
  // Names of the files that Ingest was asked for and that are not on this disk.
  std::vector<std::string> Missing(std::span<const SegmentFile> files) const;

  // ---- Store ----
  Position AppliedPosition() const override { return current_->applied; }
  Position WaitAppliedBeyond(Position, std::chrono::milliseconds) const override { return current_->applied; }
  void Interrupt() override {}
  std::unique_ptr<ApplyBatch> NewBatch() override;
  absl::StatusOr<CopyReferences> Reference(std::span<const CopyId> copies) override;
  using Store::Reference;
  std::shared_ptr<const ReadView> View(CopyReferences references) override;
  using Store::View;
  absl::StatusOr<Position> MakeDurable() override;
  absl::Status TakeCheckpoint(const std::filesystem::path& directory) override;
  absl::Status InstallCheckpoint(const std::filesystem::path& directory) override;
  absl::StatusOr<std::unique_ptr<SegmentWriter>> NewSegment(CopyId copy, std::string_view label) override;
  absl::Status Ingest(std::span<const SegmentFile> files) override;
  std::vector<KeptSegmentFile> KeptSegmentFiles() const override { return {}; }
  absl::Status ForgetSegmentFiles(Position) override { return absl::OkStatus(); }
  void RemoveSegmentFiles(CopyId copy) override;
  void RemoveSegmentFiles(const std::function<bool(std::string_view)>& garbage) override;
  bool HasSegmentFile(const SegmentFile& file) const override { return options_.segments->contains(file.name); }
  absl::StatusOr<std::unique_ptr<SegmentReceiver>> ReceiveSegmentFile(const SegmentFile& file) override {
    return absl::UnimplementedError("files of this store have no bytes: " + file.name);
  }
  std::filesystem::path SegmentPath(std::string_view name) const override { return std::filesystem::path(name); }
  void ScheduleDrop(CopyId copy, std::optional<KeyRange> range, std::function<void(absl::Status)> done) override;
  absl::Status TrimOplog(Position position) override;
  Position FirstOplogPosition() const override { return current_->first_oplog; }
  absl::StatusOr<DiskUsage> Disk() const override { return DiskUsage(); }
  absl::Status CheckSpace(uint64_t) const override { return absl::OkStatus(); }
  StoreStatistics Statistics() const override { return {}; }
  absl::StatusOr<std::vector<CopyOnDisk>> ListCopies() const override;
  uint64_t EstimateBytes(CopyId copy, const KeyRange& range) const override;
  absl::StatusOr<std::string> MiddleKey(CopyId copy, const KeyRange& range) override;

 private:
  friend class MemoryBatch;
  // What one commit has written.
  struct Step {
    std::vector<MemoryChange> changes;
    std::optional<Position> applied;
    std::optional<Position> trimmed;
    std::optional<MemoryData> replaced;  // a checkpoint took the place of everything
  };
  struct Drop {
    CopyId copy;
    std::optional<KeyRange> range;
    std::function<void(absl::Status)> done;
  };

  void Do(Step step);
  static void Redo(const Step& step, MemoryData* data);

  const MemoryStoreOptions options_;
  std::shared_ptr<MemoryData> current_;
  MemoryData durable_;
  std::deque<Step> pending_;  // durable_ and these, in order, are current_
  std::shared_ptr<CopyReferenceTable> references_;
  std::vector<Drop> drops_;
  uint64_t next_segment_ = 0;
};

}  // namespace terrane::storage
