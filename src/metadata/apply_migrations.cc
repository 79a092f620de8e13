// Records of moves. docs/migration.md: the stages, and what each of these commands means for the shards.
#include <algorithm>

#include "metadata/transition.h"

namespace terrane::metadata {

using migration::Edge;
using migration::Stage;

v1::Migration* Transition::FindMigration(uint64_t id) {
  auto record = state_.migrations_.find(id);
  return record == state_.migrations_.end() ? nullptr : &record->second;
}

absl::StatusOr<v1::Migration*> Transition::Compare(uint64_t id, uint32_t attempt, const v1::Migration::Stage* stage) {
  v1::Migration* record = FindMigration(id);
  if (record == nullptr) {
    return Refuse(absl::StatusCode::kNotFound, v1::ErrorDetail::NO_SUCH_MIGRATION, StrCat("no migration ", id));
  }
  if (record->attempt() != attempt || (stage != nullptr && record->stage() != *stage)) {
    return RefuseMigration(absl::StatusCode::kAborted, v1::ErrorDetail::STALE_ATTEMPT, *record,
                           StrCat("migration ", id, " is in ", migration::NameOf(migration::StageOf(*record)),
                                  ", attempt ", record->attempt()));
  }
  return record;
}

void Transition::EnterStage(v1::Migration* record, Stage stage) {
  record->set_stage(migration::ToProto(stage));
  record->set_stage_since_ms(now_ms_);
  if (migration::IsEnded(stage)) record->set_finished_ms(now_ms_);
}

void Transition::RaiseToken(v1::Migration* record) {
  record->set_token(record->token() + 1);
  v1::Chunk* chunk = FindExact(record->collection_id(), record->range());
  if (chunk == nullptr || chunk->migration_id() != record->id()) return;
  chunk->set_token(record->token());
  Tell(*chunk);
}

void Transition::FreeChunk(const v1::Migration& record) {
  v1::Chunk* chunk = FindExact(record.collection_id(), record.range());
  if (chunk != nullptr && chunk->migration_id() == record.id()) chunk->clear_migration_id();
}

absl::Status Transition::Apply(const v1::MetadataCommand::StartMigration& command) {
  // The ids of requests are forgotten some day, those in records only with the record (trap T41).
  if (!request_id_.empty()) {
    for (const auto& [id, record] : state_.migrations_) {
      if (record.request_id() == request_id_) {
        Answer(record);
        return absl::OkStatus();
      }
    }
  }
  auto entry = state_.collections_.find(command.collection_id());
  if (entry == state_.collections_.end() || entry->second.record.state() != v1::Collection::READY) {
    return Refuse(absl::StatusCode::kNotFound, v1::ErrorDetail::NO_SUCH_COLLECTION,
                  StrCat("collection ", command.collection_id(), " is not there, or not ready"));
  }
  const KeyRange range = migration::FromProto(command.range());
  v1::Chunk* chunk = FindExact(command.collection_id(), command.range());
  if (chunk == nullptr) {
    return Refuse(absl::StatusCode::kAborted, v1::ErrorDetail::NO_SUCH_CHUNK,
                  StrCat("collection ", entry->second.record.name(), " has no chunk ", range.ToString(), " any more"));
  }
  if (chunk->migration_id() != 0) {
    return RefuseMigration(absl::StatusCode::kFailedPrecondition, v1::ErrorDetail::MIGRATION_CONFLICT,
                           *FindMigration(chunk->migration_id()),
                           StrCat("chunk ", range.ToString(), " is in migration ", chunk->migration_id(), " already"));
  }
  if (chunk->token() != command.expected_token()) {
    return Refuse(
        absl::StatusCode::kAborted, v1::ErrorDetail::STALE_ROUTE,
        StrCat("chunk ", range.ToString(), " has token ", chunk->token(), ", not ", command.expected_token()));
  }
  if (state_.FindShard(command.target()) == nullptr) {
    return Refuse(absl::StatusCode::kNotFound, v1::ErrorDetail::NO_SUCH_SHARD, StrCat("no shard ", command.target()));
  }
  if (command.target() == chunk->shard()) {
    return Refuse(absl::StatusCode::kFailedPrecondition, v1::ErrorDetail::UNKNOWN,
                  StrCat("chunk ", range.ToString(), " is on ", command.target(), " already"));
  }
  if (command.max_pause_ms() < 0) {
    return Refuse(absl::StatusCode::kInvalidArgument, v1::ErrorDetail::UNKNOWN, "max_pause_ms is negative");
  }
  Change();
  const uint64_t id = state_.next_migration_id_++;
  v1::Migration& record = state_.migrations_[id];
  record.set_id(id);
  record.set_collection_id(command.collection_id());
  *record.mutable_range() = command.range();
  record.set_source(chunk->shard());
  record.set_target(command.target());
  record.set_source_copy(chunk->copy_id());
  record.set_target_copy(state_.next_copy_id_++);
  record.set_attempt(1);
  record.set_token(chunk->token());
  record.set_schema_revision(entry->second.record.schema_revision());
  record.set_max_pause_ms(command.max_pause_ms() == 0 ? kDefaultMaxPauseMs : command.max_pause_ms());
  record.set_created_ms(now_ms_);
  record.set_request_id(request_id_);
  EnterStage(&record, Stage::kPlanned);
  chunk->set_migration_id(id);
  Tell(record);
  Answer(record);
  return absl::OkStatus();
}

absl::Status Transition::Apply(const v1::MetadataCommand::AdvanceMigration& command) {
  const v1::Migration::Stage from = command.from();
  TERRANE_ASSIGN_OR_RETURN(v1::Migration * record, Compare(command.id(), command.attempt(), &from));
  const Stage stage = migration::StageOf(*record);
  const bool stays = command.to() == command.from();
  if (!migration::IsKnownStage(command.to()) || (stays && migration::IsEnded(stage)) ||
      (!stays && migration::EdgeBetween(stage, static_cast<Stage>(command.to())) != Edge::kAdvance)) {
    return RefuseMigration(
        absl::StatusCode::kFailedPrecondition, v1::ErrorDetail::UNKNOWN, *record,
        StrCat("no way from ", migration::NameOf(stage), " to stage ", static_cast<int>(command.to())));
  }
  if (!stays && record->abort_requested() && migration::BeforeCommit(stage)) {
    return RefuseMigration(absl::StatusCode::kAborted, v1::ErrorDetail::STALE_ATTEMPT, *record,
                           StrCat("migration ", record->id(), " is to be aborted"));
  }
  Change();
  const v1::Migration& update = command.update();
  if (update.pin() != 0) record->set_pin(update.pin());
  if (update.fence_deadline_ms() != 0) record->set_fence_deadline_ms(update.fence_deadline_ms());
  if (update.has_figures()) *record->mutable_figures() = update.figures();
  if (!update.reason().empty()) record->set_reason(update.reason());
  if (!stays) {
    // Why it waited is of no interest any more; why it ended is.
    if (update.reason().empty() && stage != Stage::kAborting) record->clear_reason();
    EnterStage(record, static_cast<Stage>(command.to()));
  }
  const Stage now = migration::StageOf(*record);
  if (now == Stage::kCleaning || now == Stage::kAborted) FreeChunk(*record);
  Tell(*record);
  Answer(*record);
  return absl::OkStatus();
}

absl::Status Transition::Apply(const v1::MetadataCommand::EndAttempt& command) {
  TERRANE_ASSIGN_OR_RETURN(v1::Migration * record, Compare(command.id(), command.attempt(), nullptr));
  const Stage stage = migration::StageOf(*record);
  const Stage to = command.abort() ? Stage::kAborting : Stage::kCatchingUp;
  if (migration::EdgeBetween(stage, to) != Edge::kEndAttempt) {
    return RefuseMigration(
        absl::StatusCode::kAborted, v1::ErrorDetail::STALE_ATTEMPT, *record,
        StrCat("migration ", command.id(), " is in ", migration::NameOf(stage), ": this attempt can not be ended"));
  }
  Change();
  auto* ended = record->add_attempts();
  ended->set_attempt(record->attempt());
  ended->set_why(command.why());
  ended->set_lasted_ms(std::max<int64_t>(0, now_ms_ - record->stage_since_ms()));
  if (stage == Stage::kFencing) RaiseToken(record);
  record->set_reason(command.why());
  record->clear_fence_deadline_ms();
  if (!command.abort()) record->set_attempt(record->attempt() + 1);
  EnterStage(record, to);
  Tell(*record);
  Answer(*record);
  return absl::OkStatus();
}

absl::Status Transition::Apply(const v1::MetadataCommand::CommitMigration& command) {
  const v1::Migration::Stage fencing = v1::Migration::FENCING;
  TERRANE_ASSIGN_OR_RETURN(v1::Migration * record, Compare(command.id(), command.attempt(), &fencing));
  if (record->abort_requested()) {
    return RefuseMigration(absl::StatusCode::kAborted, v1::ErrorDetail::STALE_ATTEMPT, *record,
                           StrCat("migration ", record->id(), " is to be aborted"));
  }
  if (command.fence() == 0 || command.read_fence() == 0 || command.complete() == 0) {
    return RefuseMigration(absl::StatusCode::kInvalidArgument, v1::ErrorDetail::UNKNOWN, *record,
                           "a commit needs the positions of F, G and K");
  }
  auto entry = state_.collections_.find(record->collection_id());
  if (entry == state_.collections_.end() || entry->second.record.state() != v1::Collection::READY ||
      entry->second.record.schema_revision() != record->schema_revision() ||
      command.schema_revision() != record->schema_revision()) {
    return RefuseMigration(absl::StatusCode::kFailedPrecondition, v1::ErrorDetail::UNKNOWN, *record,
                           "the collection's indexes changed since the move began");
  }
  v1::Chunk* chunk = FindExact(record->collection_id(), record->range());
  if (chunk == nullptr || chunk->migration_id() != record->id() || chunk->token() != record->token() ||
      chunk->copy_id() != record->source_copy()) {
    return RefuseMigration(absl::StatusCode::kInternal, v1::ErrorDetail::UNKNOWN, *record,
                           "the chunk is not what the record of its move says");
  }
  Change();
  chunk->set_shard(record->target());
  chunk->set_copy_id(record->target_copy());
  chunk->set_token(record->token() + 1);
  record->set_fence(command.fence());
  record->set_read_fence(command.read_fence());
  record->set_complete(command.complete());
  *record->mutable_fence_digest() = command.digest();
  if (command.has_figures()) *record->mutable_figures() = command.figures();
  record->clear_reason();
  EnterStage(record, Stage::kCommitted);
  Tell(*chunk);
  Tell(*record);
  Answer(*record);
  return absl::OkStatus();
}

absl::Status Transition::Apply(const v1::MetadataCommand::RequestAbort& command) {
  v1::Migration* record = FindMigration(command.id());
  if (record == nullptr) {
    return Refuse(absl::StatusCode::kNotFound, v1::ErrorDetail::NO_SUCH_MIGRATION,
                  StrCat("no migration ", command.id()));
  }
  const Stage stage = migration::StageOf(*record);
  Answer(*record);
  if (stage == Stage::kAborting || stage == Stage::kAborted || record->abort_requested()) return absl::OkStatus();
  if (!migration::BeforeCommit(stage)) {
    return RefuseMigration(absl::StatusCode::kFailedPrecondition, v1::ErrorDetail::UNKNOWN, *record,
                           StrCat("migration ", command.id(), " is ", migration::NameOf(stage), ": ", record->target(),
                                  " owns the chunk, it can not be aborted any more"));
  }
  Change();
  record->set_abort_requested(true);
  record->set_reason(command.why().empty() ? "abort was asked for" : command.why());
  Tell(*record);
  Answer(*record);
  return absl::OkStatus();
}

absl::Status Transition::Apply(const v1::MetadataCommand::ForgetMigrations& command) {
  if (command.below() <= state_.dead_below_) return absl::OkStatus();
  if (command.below() > state_.next_migration_id_) {
    return Refuse(absl::StatusCode::kInvalidArgument, v1::ErrorDetail::UNKNOWN,
                  StrCat("no migration has reached id ", command.below()));
  }
  const auto end = state_.migrations_.lower_bound(command.below());
  // Ended means that both shards have confirmed: nobody has to ask for the outcome any more.
  for (auto record = state_.migrations_.begin(); record != end; ++record) {
    if (!migration::IsEnded(migration::StageOf(record->second))) {
      return RefuseMigration(absl::StatusCode::kFailedPrecondition, v1::ErrorDetail::MIGRATION_CONFLICT, record->second,
                             StrCat("migration ", record->first, " has not ended"));
    }
  }
  Change();
  for (auto record = state_.migrations_.begin(); record != end; ++record) Tell(record->second);
  state_.migrations_.erase(state_.migrations_.begin(), end);
  state_.dead_below_ = command.below();
  return absl::OkStatus();
}

}  // namespace terrane::metadata
