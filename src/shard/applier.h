// The shard's state machine: makes each entry of the log true, once, in order, the same on every replica.
//
// A run of entries becomes one batch: documents, retry records, oplog, ownership, digests and applied position in one
// atomic step. The log's hybrid time is kept with them: what was applied before a start, or came with a checkpoint, is
// not seen again, and what is written now must not bear an earlier time, however late the clock (trap T44). Within the
// batch reads see what the entries before have written (trap T70). What an entry needs is checked here again, in the
// order of the log (trap T01); a refused one leaves nothing but the applied position and its time. Afterwards the
// ownership is published for the gate, and only then proposers get their answers.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "replication/state_machine.h"
#include "shard/hybrid_clock.h"
#include "shard/ownership.h"
#include "storage/store.h"
#include "terrane/v1/shard_log.pb.h"

namespace terrane::shard {

// Proposers get: for a WriteEntry the status alone (the gate's refusal, with its ErrorDetail); for every other entry an
// EntryResult as the value, and its ToStatus() as the status.
class Applier : public replication::StateMachine {
 public:
  struct Options {
    std::string shard;                          // own name, for routes in refusals
    size_t max_batch_bytes = 16 << 20;          // a longer run is committed in several batches
    std::function<void(Term)> on_leader_start;  // on the apply thread, like the others
    std::function<void(Term)> on_serving;
    // Sees to it that the files of an entry, of which one was missing or damaged, are here; may block
    // (SegmentFiles::Provide). kNotFound: nobody has them, the state must come from a peer. Null: it is an error.
    std::function<absl::Status(CopyId, std::span<const storage::SegmentFile>)> provide_files;
    std::function<void(Term)> on_leader_stop;
  };

  // Loads what survived. kDataLoss: a record of the state is damaged. `store` and `hybrid` outlive it.
  static absl::StatusOr<std::unique_ptr<Applier>> Open(Options options, storage::Store* store, HybridClock* hybrid);

  // ---- for request threads; thread-safe, never blocks ----------------------------------------------------------

  // The ownership as of the last batch that changed it: states, tokens, fences, pins and progress of imports are
  // current; digests of owned chunks are not (read them from the state, LoadOwnership()).
  std::shared_ptr<const Ownership> View() const;

  // The oplog before `position` may go. Done with the next batch, never above the least pin.
  void AllowOplogTrim(Position position);

  // ---- replication::StateMachine, on the apply thread ----------------------------------------------------------

  Position AppliedPosition() override;
  absl::Status Apply(std::span<const replication::CommittedEntry> batch,
                     std::span<replication::ApplyResult> results) override;
  absl::StatusOr<Position> MakeDurable() override;
  absl::Status TakeCheckpoint(const std::filesystem::path& directory) override;
  absl::Status InstallCheckpoint(const std::filesystem::path& directory) override;
  void OnLeaderStart(Term term) override;
  void OnServing(Term term) override;
  void OnLeaderStop(Term term) override;

 private:
  Applier(Options options, storage::Store* store, HybridClock* hybrid);
  absl::Status Load();

  // apply_entries.cc
  absl::Status ApplyEntry(Position position, terrane::v1::ShardEntry* entry, replication::ApplyResult* result);
  absl::Status IngestFiles(Position position, CopyId copy, std::span<const storage::SegmentFile> files);
  absl::Status ApplyIngest(Position position, const terrane::v1::ShardEntry& entry, replication::ApplyResult* result);
  void ApplyFence(Position position, const terrane::v1::ShardEntry& entry, replication::ApplyResult* result);
  void ApplyRelease(Position position, const terrane::v1::ShardEntry& entry, replication::ApplyResult* result);
  void ApplyComplete(Position position, const terrane::v1::CompleteEntry& entry, replication::ApplyResult* result);

  // apply_changes.cc
  absl::Status ApplyWrite(Position position, terrane::v1::ShardEntry* entry, replication::ApplyResult* result);
  absl::Status ApplyImportBatch(Position position, terrane::v1::ShardEntry* entry, replication::ApplyResult* result);
  absl::Status ApplyExpireRetries(Position position, terrane::v1::ShardEntry* entry, replication::ApplyResult* result);
  // Writes one change and moves the chunk's digest along.
  absl::Status WriteChange(OwnedChunk* chunk, const terrane::v1::Change& change);
  absl::Status WriteRetry(CopyId copy, const terrane::v1::Change& change, ChunkDigest* removed, ChunkDigest* added);
  void WriteOplog(Position position, const terrane::v1::OplogEntry& entry);

  // Commits what has been collected; everything up to `applied` is done.
  absl::Status Commit(Position applied);
  void Publish();
  // Starts removing what was dropped and has not been given to the store yet.
  void ScheduleDrops();
  absl::Status TrimOplog();

  const Options options_;
  storage::Store* const store_;
  HybridClock* const hybrid_;

  // Apply thread only.
  Ownership ownership_;
  uint64_t hybrid_time_ = 0;        // the greatest of what is applied
  uint64_t saved_hybrid_time_ = 0;  // as it stands in the store
  std::unique_ptr<storage::ApplyBatch> batch_;
  std::vector<std::pair<CopyId, KeyRange>> scheduled_drops_;
  std::vector<std::string_view> keys_;  // scratch

  mutable std::mutex view_mutex_;
  std::shared_ptr<const Ownership> view_;

  // Drops that the store has finished; taken out of the ownership with the next batch. Shared: the store's janitor may
  // still hold it when the applier is gone.
  struct FinishedDrops {
    std::mutex mutex;
    std::vector<std::pair<CopyId, KeyRange>> done;
  };
  const std::shared_ptr<FinishedDrops> finished_drops_ = std::make_shared<FinishedDrops>();

  std::atomic<uint64_t> trim_allowed_{0};
};

}  // namespace terrane::shard
