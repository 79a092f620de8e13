// The import of one copy on the leader of the target shard, as src/shard's ImportDriver and VerifyRun do it with
// threads: the real FetchSegment, ImportTail and RepairRange, on a fiber.
#pragma once

#include <string>
#include <vector>

#include "shard/import_host.h"
#include "shard/import_segments.h"
#include "shard/import_source.h"
#include "shard/import_tail.h"
#include "simulation/system_shard.h"
#include "simulation/system_task.h"

namespace terrane::simulation {

class ImportTask final : public BlockingTask {
 public:
  using CompleteDone = std::function<void(absl::StatusOr<shard::EntryResult>)>;

  ImportTask(ShardReplica* replica, CopyId copy, const shard::MoveRef& move, std::vector<std::string> endpoints);
  ~ImportTask() override;

  // What the coordinator says now; a greater attempt goes on with the same copy.
  void Renew(const shard::MoveRef& move, std::vector<std::string> endpoints);
  const shard::MoveRef& move() const { return move_; }
  v1::ImportStatus Status() const;
  v1::VerifyStatus Verify(bool restart);
  // Up to F, then K.
  void Complete(const v1::CompleteStep& step, CompleteDone done);

 protected:
  void Body() override;

 private:
  class Source;
  struct Completion {
    v1::CompleteStep step;
    CompleteDone done;
  };
  struct Round {
    std::vector<KeyRange> different;
    storage::ChunkDigest scanned;
    storage::ChunkDigest running;
  };

  absl::Status Wanted() const;
  absl::Status Step();
  absl::Status Copy(const shard::OwnedChunk& chunk);
  absl::Status SpreadFiles(const std::vector<storage::SegmentFile>& files);
  absl::Status RunVerify();
  absl::StatusOr<Round> Compare(const shard::OwnedChunk& chunk);
  void FailCompletions(const absl::Status& status);
  absl::StatusOr<shard::OwnedChunk> Chunk() const;

  ShardReplica& replica_;
  const CopyId copy_;
  shard::MoveRef move_;
  std::vector<std::string> endpoints_;
  shard::ImportHost host_;
  std::unique_ptr<Source> source_;
  shard::ImportTail tail_;
  bool tail_valid_ = false;
  shard::MoveRef tail_move_;

  std::deque<Completion> completions_;
  std::string error_;
  bool verify_wanted_ = false;
  shard::MoveRef verify_move_;
  v1::VerifyStatus verify_;
  Time verify_not_before_{0};
};

}  // namespace terrane::simulation
