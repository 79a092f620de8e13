// One command on its way through the state. Private to src/metadata; apply_*.cc hold a function per command.
//
// Each function checks everything before it changes anything: a refused command leaves no trace.
#pragma once

#include <string>

#include "common/status.h"
#include "metadata/state.h"
#include "migration/ranges.h"
#include "migration/stages.h"

namespace terrane::metadata {

class Transition {
 public:
  Transition(State* state, int64_t now_ms, std::string request_id, Applied* out)
      : state_(*state), now_ms_(now_ms), request_id_(std::move(request_id)), out_(*out) {}

  // kOk: done (or nothing to do: then `changed` stays false).
  absl::Status Run(const v1::MetadataCommand& command);
  bool changed() const { return changed_; }

 private:
  // apply_cluster.cc
  absl::Status Apply(const v1::MetadataCommand::InitializeCluster& command);
  absl::Status Apply(const v1::MetadataCommand::RegisterShard& command);
  absl::Status Apply(const v1::MetadataCommand::SetSetting& command);
  // apply_collections.cc
  absl::Status Apply(const v1::MetadataCommand::CreateCollection& command);
  absl::Status Apply(const v1::MetadataCommand::CollectionReady& command);
  absl::Status Apply(const v1::MetadataCommand::DropCollection& command);
  absl::Status Apply(const v1::MetadataCommand::CollectionGone& command);
  absl::Status Apply(const v1::MetadataCommand::SplitChunk& command);
  // apply_migrations.cc
  absl::Status Apply(const v1::MetadataCommand::StartMigration& command);
  absl::Status Apply(const v1::MetadataCommand::AdvanceMigration& command);
  absl::Status Apply(const v1::MetadataCommand::EndAttempt& command);
  absl::Status Apply(const v1::MetadataCommand::CommitMigration& command);
  absl::Status Apply(const v1::MetadataCommand::RequestAbort& command);
  absl::Status Apply(const v1::MetadataCommand::ForgetMigrations& command);

  // The command takes effect: the new revision.
  uint64_t Change();
  absl::Status Refuse(absl::StatusCode code, v1::ErrorDetail::Reason reason, std::string message);
  absl::Status RefuseMigration(absl::StatusCode code, v1::ErrorDetail::Reason reason, const v1::Migration& record,
                               std::string message);

  // The chunk with exactly this range; null if there is none.
  v1::Chunk* FindExact(uint32_t collection, const v1::KeyRange& range);
  v1::Migration* FindMigration(uint64_t id);
  // Refuses unless stage and attempt of the record are these.
  absl::StatusOr<v1::Migration*> Compare(uint64_t id, uint32_t attempt, const v1::Migration::Stage* stage);
  void Tell(const v1::Chunk& chunk);
  void Tell(const v1::Migration& record);
  void Answer(const v1::Migration& record) { *out_.result.mutable_migration() = record; }
  void EnterStage(v1::Migration* record, migration::Stage stage);
  // The fence of the present attempt is given up: a new token for the source.
  void RaiseToken(v1::Migration* record);
  // The chunk is free for another move, split or merge.
  void FreeChunk(const v1::Migration& record);

  State& state_;
  const int64_t now_ms_;
  const std::string request_id_;
  Applied& out_;
  bool changed_ = false;
};

}  // namespace terrane::metadata
