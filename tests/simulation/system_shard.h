// A replica of a shard of the simulated system: the real Applier and Ownership over a store in memory, behind a real
// Raft core. Written as src/shard's write path, read path, move service, export service, splitter and outcome watch.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "migration/steps.h"
#include "routing/chunk_routes.h"
#include "rpc/leader_tracker.h"
#include "shard/applier.h"
#include "shard/hybrid_clock.h"
#include "simulation/system_raft.h"
#include "simulation/system_task.h"
#include "support/memory_store.h"

namespace terrane::simulation {

struct SimulatedSystem;
class ImportTask;

struct WriteRequest {
  enum class Kind { kAppend, kPut, kDelete };
  CollectionId collection;
  routing::ChunkRoute route;
  std::string key;  // shard key; every document has the same _id
  Kind kind = Kind::kAppend;
  uint64_t value = 0;  // is appended, or put
  std::string session;
  int64_t statement = 0;
};
struct WriteAnswer {
  bool repeated = false;  // it had taken effect before
  std::string document;   // as it left it, unless repeated
};
struct ReadRequest {
  CollectionId collection;
  routing::ChunkRoute route;
  std::string key;
};
struct ReadAnswer {
  std::optional<std::string> document;
};

inline constexpr std::string_view kDocumentId = "i";

// Keeps segment files for ever: whoever lags asks its peers for them, however late (trap T60).
class KeepingStore final : public storage::MemoryStore {
 public:
  using MemoryStore::MemoryStore;
  using MemoryStore::RemoveSegmentFiles;
  void RemoveSegmentFiles(CopyId) override {}
};

class ShardReplica final : public RaftReplica {
 public:
  template <typename R>
  using Reply = std::function<void(absl::StatusOr<R>)>;

  ShardReplica(SimulatedSystem* system, RaftGroup* group, std::string name);

  const std::string& shard() const { return group().name; }
  shard::Applier* applier() { return applier_.get(); }
  storage::MemoryStore& store() { return store_; }
  SimulatedSystem& system() { return system_; }

  // ---- documents (system_shard_requests.cc) ----
  void Write(const WriteRequest& request, Reply<WriteAnswer> reply);
  void Read(const ReadRequest& request, Reply<ReadAnswer> reply);

  // ---- steps of moves and splits (system_shard_steps.cc) ----
  void HandleStep(const migration::StepRequest& request, Reply<migration::StepAnswer> reply);

  // ---- for the targets of moves: any replica answers (system_shard_export.cc) ----
  void ReadSegment(const v1::ReadSegmentRequest& request, Reply<v1::SegmentBatch> reply);
  void HashRange(const v1::HashRangeRequest& request, Reply<std::vector<v1::RangeDigest>> reply);
  void ReadOplog(const v1::ReadOplogRequest& request, Reply<v1::OplogBatch> reply);
  // Segment files between replicas: takes over one, gives one.
  void HoldFile(const std::string& name, std::shared_ptr<const storage::MemorySegment> content) {
    segments_[name] = std::move(content);
  }
  std::shared_ptr<const storage::MemorySegment> FindFile(const std::string& name) const {
    auto found = segments_.find(name);
    return found == segments_.end() ? nullptr : found->second;
  }

  // Puts an entry into the log in the present term; `done` once: what came of it at apply, or why it is not there.
  // For how long a proposal waits in a queue: mostly not.
  Time SlowProposal();
  void ProposeEntry(v1::ShardEntry entry, std::function<void(absl::StatusOr<shard::EntryResult>)> done);
  // Somebody should ask the metadata service now.
  void PokeOutcomeWatch();

 protected:
  replication::StateMachine* machine() override { return applier_.get(); }
  Position OpenMachine() override;
  void CloseMachine(bool power) override;
  std::shared_ptr<const void> Checkpoint() override;
  absl::Status Install(const std::shared_ptr<const void>& checkpoint) override;
  void FirstApplied(const raft::Entry& entry, const replication::ApplyResult& result) override;
  bool FetchForApply(const raft::Entry& entry, const absl::Status& status, std::function<void()> again) override;
  void Upkeep() override;

 private:
  friend class ImportTask;
  struct WriteOperation;
  struct Picture {
    std::shared_ptr<const storage::ReadView> view;
    std::shared_ptr<const shard::Ownership> ownership;
  };

  absl::Status NotLeading() const;
  absl::Status StatusOf(const replication::ProposeResult& result) const;
  absl::Status Answer(const shard::Verdict& verdict);
  void Latched(const std::shared_ptr<WriteOperation>& operation);
  void Unlatch(const std::pair<CopyId, std::string>& latch);

  void Step(v1::ShardEntry entry, const v1::MoveRef& move, Reply<migration::StepAnswer> reply);
  migration::StepAnswer Fill(const shard::EntryResult& result);
  absl::StatusOr<std::shared_ptr<ImportTask>> ImportOf(const v1::MoveRef& move, CopyId copy,
                                                       std::vector<std::string> endpoints);
  absl::StatusOr<shard::OwnedChunk> RecordOfImport(const shard::MoveRef& move, CopyId copy) const;
  void EndImport(CopyId copy);
  void EndTasks();
  void ReapTasks();

  // With a picture that has applied `least`; waits for it a while.
  void Look(const v1::MoveRef& move, CopyId copy, const KeyRange& range, uint64_t least, Time patience,
            std::function<void(absl::StatusOr<Picture>)> then);
  void ReadOplogUntil(const v1::ReadOplogRequest& request, Time end, Reply<v1::OplogBatch> reply);

  void WatchOutcomes();
  void AskForOutcome(const shard::OwnedChunk& chunk);
  void Beat();
  void FetchFiles(std::vector<std::string> names, std::function<void()> again);

  SimulatedSystem& system_;
  storage::MemorySegments segments_;
  KeepingStore store_;

  // Of this life.
  std::unique_ptr<shard::HybridClock> hybrid_;
  std::unique_ptr<shard::Applier> applier_;
  std::map<std::pair<CopyId, std::string>, std::deque<std::shared_ptr<WriteOperation>>> latches_;
  std::map<CopyId, std::shared_ptr<ImportTask>> imports_;
  std::vector<std::shared_ptr<BlockingTask>> tasks_;  // splits, and imports that are ending
  std::map<std::pair<MigrationId, CopyId>, Time> undecided_since_;
  rpc::LeaderTracker metadata_;
  bool outcome_poked_ = false;
  bool forgetting_ = false;  // ForgetMoves is proposed
};

}  // namespace terrane::simulation
