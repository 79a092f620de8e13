// Collections and their chunks.
#include "metadata/transition.h"

namespace terrane::metadata {

using migration::Stage;

absl::Status Transition::Apply(const v1::MetadataCommand::CreateCollection& command) {
  if (state_.FindCollection(command.name()) != nullptr) {
    return Refuse(absl::StatusCode::kAlreadyExists, v1::ErrorDetail::COLLECTION_EXISTS,
                  StrCat("collection ", command.name(), " exists"));
  }
  if (command.shards().empty()) {
    return Refuse(absl::StatusCode::kFailedPrecondition, v1::ErrorDetail::NO_SUCH_SHARD,
                  "there is no shard to put the collection on");
  }
  for (const auto& shard : command.shards()) {
    if (state_.FindShard(shard) == nullptr) {
      return Refuse(absl::StatusCode::kNotFound, v1::ErrorDetail::NO_SUCH_SHARD, StrCat("no shard ", shard));
    }
  }
  for (int i = 0; i < command.split_points_size(); ++i) {
    if (command.split_points(i).empty() || (i > 0 && command.split_points(i) <= command.split_points(i - 1))) {
      return Refuse(absl::StatusCode::kInvalidArgument, v1::ErrorDetail::UNKNOWN,
                    StrCat("split point ", i + 1, " does not lie behind the one before"));
    }
  }
  const uint64_t revision = Change();
  const uint32_t id = state_.next_collection_id_++;
  State::CollectionEntry& entry = state_.collections_[id];
  entry.record.set_id(id);
  entry.record.set_name(command.name());
  entry.record.set_shard_key(command.shard_key());
  entry.record.set_epoch(revision);
  entry.record.set_schema_revision(revision);
  entry.record.set_state(v1::Collection::CREATING);
  state_.names_[command.name()] = id;
  for (int i = 0; i <= command.split_points_size(); ++i) {
    v1::Chunk chunk;
    chunk.set_collection_id(id);
    if (i > 0) chunk.mutable_range()->set_min(command.split_points(i - 1));
    if (i < command.split_points_size()) {
      chunk.mutable_range()->set_max(command.split_points(i));
    } else {
      chunk.mutable_range()->set_unbounded(true);
    }
    chunk.set_copy_id(state_.next_copy_id_++);
    chunk.set_token(1);
    chunk.set_shard(command.shards(i % command.shards_size()));
    entry.chunks.emplace_hint(entry.chunks.end(), chunk.range().min(), std::move(chunk));
  }
  out_.collections.push_back(id);
  *out_.result.mutable_collection() = entry.record;
  return absl::OkStatus();
}

absl::Status Transition::Apply(const v1::MetadataCommand::CollectionReady& command) {
  auto entry = state_.collections_.find(command.collection_id());
  if (entry == state_.collections_.end() || entry->second.record.state() == v1::Collection::DROPPING) {
    return Refuse(absl::StatusCode::kAborted, v1::ErrorDetail::NO_SUCH_COLLECTION,
                  StrCat("collection ", command.collection_id(), " is being dropped"));
  }
  v1::Collection& record = entry->second.record;
  *out_.result.mutable_collection() = record;
  if (record.state() == v1::Collection::READY) return absl::OkStatus();
  Change();
  record.set_state(v1::Collection::READY);
  *out_.delta.add_collections() = record;
  for (const auto& [min, chunk] : entry->second.chunks) Tell(chunk);
  out_.collections.push_back(record.id());
  *out_.result.mutable_collection() = record;
  return absl::OkStatus();
}

absl::Status Transition::Apply(const v1::MetadataCommand::DropCollection& command) {
  auto name = state_.names_.find(command.name());
  if (name == state_.names_.end()) {
    return Refuse(absl::StatusCode::kNotFound, v1::ErrorDetail::NO_SUCH_COLLECTION,
                  StrCat("no collection ", command.name()));
  }
  Change();
  const uint32_t id = name->second;
  // Its moves end in the same command (trap T66): a commit that comes later finds another stage.
  for (auto& [migration_id, record] : state_.migrations_) {
    if (record.collection_id() != id) continue;
    const Stage stage = migration::StageOf(record);
    if (migration::BeforeCommit(stage)) {
      if (stage == Stage::kFencing) RaiseToken(&record);
      record.set_reason("the collection was dropped");
      EnterStage(&record, Stage::kAborting);
      Tell(record);
    } else if (stage == Stage::kReversible) {
      EnterStage(&record, Stage::kCleaning);
      FreeChunk(record);
      Tell(record);
    }
  }
  v1::Collection& collection = state_.collections_[id].record;
  collection.set_state(v1::Collection::DROPPING);
  state_.names_.erase(name);
  out_.delta.clear_chunks();  // nobody asks for them any more
  out_.delta.add_dropped_collections(id);
  out_.collections.push_back(id);
  *out_.result.mutable_collection() = collection;
  return absl::OkStatus();
}

absl::Status Transition::Apply(const v1::MetadataCommand::CollectionGone& command) {
  auto entry = state_.collections_.find(command.collection_id());
  if (entry == state_.collections_.end()) return absl::OkStatus();
  if (entry->second.record.state() != v1::Collection::DROPPING) {
    return Refuse(absl::StatusCode::kFailedPrecondition, v1::ErrorDetail::UNKNOWN,
                  StrCat("collection ", entry->second.record.name(), " is not being dropped"));
  }
  for (const auto& [id, record] : state_.migrations_) {
    if (record.collection_id() == command.collection_id() && !migration::IsEnded(migration::StageOf(record))) {
      return RefuseMigration(absl::StatusCode::kFailedPrecondition, v1::ErrorDetail::MIGRATION_CONFLICT, record,
                             StrCat("migration ", id, " of the collection has not ended"));
    }
  }
  Change();
  out_.collections.push_back(command.collection_id());
  state_.collections_.erase(entry);
  return absl::OkStatus();
}

absl::Status Transition::Apply(const v1::MetadataCommand::SplitChunk& command) {
  const KeyRange range = migration::FromProto(command.range());
  v1::Chunk* chunk = FindExact(command.collection_id(), command.range());
  if (chunk == nullptr) {
    return Refuse(absl::StatusCode::kAborted, v1::ErrorDetail::NO_SUCH_CHUNK,
                  StrCat("collection ", command.collection_id(), " has no chunk ", range.ToString(), " any more"));
  }
  if (chunk->token() != command.expected_token()) {
    return Refuse(
        absl::StatusCode::kAborted, v1::ErrorDetail::STALE_ROUTE,
        StrCat("chunk ", range.ToString(), " has token ", chunk->token(), ", not ", command.expected_token()));
  }
  if (chunk->migration_id() != 0) {
    return RefuseMigration(absl::StatusCode::kFailedPrecondition, v1::ErrorDetail::MIGRATION_CONFLICT,
                           *FindMigration(chunk->migration_id()),
                           StrCat("chunk ", range.ToString(), " is in migration ", chunk->migration_id()));
  }
  if (command.at() <= range.min || !range.Contains(command.at())) {
    return Refuse(absl::StatusCode::kInvalidArgument, v1::ErrorDetail::UNKNOWN,
                  StrCat("the split point does not lie inside of chunk ", range.ToString()));
  }
  Change();
  v1::Chunk right = *chunk;
  right.mutable_range()->set_min(command.at());
  chunk->mutable_range()->clear_unbounded();
  chunk->mutable_range()->set_max(command.at());
  v1::Chunk& added = state_.collections_[command.collection_id()].chunks[command.at()];
  added = std::move(right);
  Tell(*chunk);
  Tell(added);
  *out_.result.add_chunks() = *chunk;
  *out_.result.add_chunks() = added;
  return absl::OkStatus();
}

}  // namespace terrane::metadata
