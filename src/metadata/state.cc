#include "metadata/state.h"

#include "absl/strings/escaping.h"
#include "common/strings.h"
#include "metadata/invariants.h"
#include "metadata/transition.h"

namespace terrane::metadata {

// ---- applying -------------------------------------------------------------------------------------------------------

Applied State::Apply(const v1::MetadataCommand& command) {
  Applied out;
  if (!command.request_id().empty()) {
    if (auto known = requests_.find(command.request_id()); known != requests_.end()) {
      if (out.result.ParseFromString(known->second)) return out;
      out.result.Clear();
    }
  }
  Transition transition(this, command.now_ms(), command.request_id(), &out);
  absl::Status status = transition.Run(command);
  out.result.set_code(static_cast<int>(status.code()));
  out.result.set_message(std::string(MessageOf(status)));
  out.result.set_revision(revision_);
  out.delta.set_revision(revision_);
  if (status.ok() && !command.request_id().empty()) {
    requests_[command.request_id()] = out.result.SerializeAsString();
    request_order_.push_back(command.request_id());
    while (request_order_.size() > kRememberedRequests) {
      requests_.erase(request_order_.front());
      request_order_.pop_front();
    }
  }
  return out;
}

absl::Status Transition::Run(const v1::MetadataCommand& command) {
  switch (command.command_case()) {
    case v1::MetadataCommand::kInitializeCluster:
      return Apply(command.initialize_cluster());
    case v1::MetadataCommand::kRegisterShard:
      return Apply(command.register_shard());
    case v1::MetadataCommand::kCreateCollection:
      return Apply(command.create_collection());
    case v1::MetadataCommand::kCollectionReady:
      return Apply(command.collection_ready());
    case v1::MetadataCommand::kDropCollection:
      return Apply(command.drop_collection());
    case v1::MetadataCommand::kCollectionGone:
      return Apply(command.collection_gone());
    case v1::MetadataCommand::kSplitChunk:
      return Apply(command.split_chunk());
    case v1::MetadataCommand::kStartMigration:
      return Apply(command.start_migration());
    case v1::MetadataCommand::kAdvanceMigration:
      return Apply(command.advance_migration());
    case v1::MetadataCommand::kEndAttempt:
      return Apply(command.end_attempt());
    case v1::MetadataCommand::kCommitMigration:
      return Apply(command.commit_migration());
    case v1::MetadataCommand::kRequestAbort:
      return Apply(command.request_abort());
    case v1::MetadataCommand::kForgetMigrations:
      return Apply(command.forget_migrations());
    case v1::MetadataCommand::kSetSetting:
      return Apply(command.set_setting());
    case v1::MetadataCommand::COMMAND_NOT_SET:
      return Refuse(absl::StatusCode::kUnimplemented, v1::ErrorDetail::NOT_SUPPORTED,
                    "a command that this version does not know");
  }
  return Refuse(absl::StatusCode::kUnimplemented, v1::ErrorDetail::NOT_SUPPORTED,
                "a command that this version does not know");
}

uint64_t Transition::Change() {
  if (!changed_) ++state_.revision_;
  changed_ = true;
  return state_.revision_;
}

absl::Status Transition::Refuse(absl::StatusCode code, v1::ErrorDetail::Reason reason, std::string message) {
  out_.result.mutable_detail()->set_reason(reason);
  return absl::Status(code, message);
}

absl::Status Transition::RefuseMigration(absl::StatusCode code, v1::ErrorDetail::Reason reason,
                                         const v1::Migration& record, std::string message) {
  out_.result.mutable_detail()->set_migration_id(record.id());
  out_.result.mutable_detail()->set_attempt(record.attempt());
  Answer(record);
  return Refuse(code, reason, std::move(message));
}

v1::Chunk* Transition::FindExact(uint32_t collection, const v1::KeyRange& range) {
  auto entry = state_.collections_.find(collection);
  if (entry == state_.collections_.end()) return nullptr;
  auto chunk = entry->second.chunks.find(range.min());
  if (chunk == entry->second.chunks.end() || !migration::SameRange(chunk->second.range(), range)) return nullptr;
  return &chunk->second;
}

void Transition::Tell(const v1::Chunk& chunk) {
  auto entry = state_.collections_.find(chunk.collection_id());
  if (entry != state_.collections_.end() && entry->second.record.state() == v1::Collection::READY) {
    *out_.delta.add_chunks() = chunk;
  }
}

void Transition::Tell(const v1::Migration& record) {
  out_.migrations.push_back(record.id());
}

// ---- reading --------------------------------------------------------------------------------------------------------

const State::CollectionEntry* State::FindCollection(std::string_view name) const {
  auto id = names_.find(name);
  return id == names_.end() ? nullptr : FindCollection(CollectionId(id->second));
}

const State::CollectionEntry* State::FindCollection(CollectionId id) const {
  auto entry = collections_.find(id.value());
  return entry == collections_.end() ? nullptr : &entry->second;
}

const v1::Chunk* State::FindChunk(CollectionId collection, std::string_view key) const {
  const CollectionEntry* entry = FindCollection(collection);
  if (entry == nullptr) return nullptr;
  auto next = entry->chunks.upper_bound(key);
  return next == entry->chunks.begin() ? nullptr : &std::prev(next)->second;
}

const v1::Shard* State::FindShard(std::string_view name) const {
  auto shard = shards_.find(name);
  return shard == shards_.end() ? nullptr : &shard->second;
}

const v1::Migration* State::FindMigration(uint64_t id) const {
  auto record = migrations_.find(id);
  return record == migrations_.end() ? nullptr : &record->second;
}

std::string State::Setting(std::string_view name) const {
  auto setting = settings_.find(name);
  return setting == settings_.end() ? "" : setting->second;
}

v1::WatchEvent State::Routes() const {
  v1::WatchEvent event;
  event.set_revision(revision_);
  event.set_snapshot(true);
  for (const auto& [id, entry] : collections_) {
    if (entry.record.state() != v1::Collection::READY) continue;
    *event.add_collections() = entry.record;
    for (const auto& [min, chunk] : entry.chunks) *event.add_chunks() = chunk;
  }
  for (const auto& [name, shard] : shards_) *event.add_shards() = shard;
  return event;
}

std::map<std::string, int64_t> State::ChunksOfShards() const {
  std::map<std::string, int64_t> chunks;
  for (const auto& [id, entry] : collections_) {
    for (const auto& [min, chunk] : entry.chunks) ++chunks[chunk.shard()];
  }
  return chunks;
}

size_t State::chunk_count() const {
  size_t count = 0;
  for (const auto& [id, entry] : collections_) count += entry.chunks.size();
  return count;
}

// ---- whole ----------------------------------------------------------------------------------------------------------

v1::MetadataState State::ToProto() const {
  v1::MetadataState proto;
  proto.set_revision(revision_);
  proto.set_next_collection_id(next_collection_id_);
  proto.set_next_copy_id(next_copy_id_);
  proto.set_next_migration_id(next_migration_id_);
  proto.set_dead_below(dead_below_);
  proto.set_cluster(cluster_);
  for (const auto& [id, entry] : collections_) {
    *proto.add_collections() = entry.record;
    for (const auto& [min, chunk] : entry.chunks) *proto.add_chunks() = chunk;
  }
  for (const auto& [name, shard] : shards_) *proto.add_shards() = shard;
  for (const auto& [id, record] : migrations_) *proto.add_migrations() = record;
  for (const auto& [name, value] : settings_) (*proto.mutable_settings())[name] = value;
  // In hex: ids are any bytes, and a string of protobuf that is not UTF-8 is written, but never read again.
  for (const auto& id : request_order_) {
    std::string text = absl::BytesToHexString(ToAbsl(id));
    proto.add_recent_order(text);
    (*proto.mutable_recent_requests())[std::move(text)] = requests_.at(id);
  }
  return proto;
}

absl::StatusOr<State> State::FromProto(const v1::MetadataState& proto) {
  if (auto broken = CheckInvariants(proto); !broken.empty()) {
    return DataLoss("the metadata state contradicts itself: ", broken.front(),
                    broken.size() > 1 ? StrCat(" (and ", broken.size() - 1, " more)") : "");
  }
  State state;
  state.revision_ = proto.revision();
  state.next_collection_id_ = std::max(1u, proto.next_collection_id());
  state.next_copy_id_ = std::max(1u, proto.next_copy_id());
  state.next_migration_id_ = std::max<uint64_t>(1, proto.next_migration_id());
  state.dead_below_ = std::max<uint64_t>(1, proto.dead_below());
  state.cluster_ = proto.cluster();
  for (const auto& record : proto.collections()) {
    state.collections_[record.id()].record = record;
    if (record.state() != v1::Collection::DROPPING) state.names_[record.name()] = record.id();
  }
  for (const auto& chunk : proto.chunks()) {
    Chunks& chunks = state.collections_[chunk.collection_id()].chunks;
    chunks.emplace_hint(chunks.end(), chunk.range().min(), chunk);
  }
  for (const auto& shard : proto.shards()) state.shards_[shard.name()] = shard;
  for (const auto& record : proto.migrations()) state.migrations_[record.id()] = record;
  for (const auto& [name, value] : proto.settings()) state.settings_[name] = value;
  for (const auto& text : proto.recent_order()) {
    auto known = proto.recent_requests().find(text);
    if (known == proto.recent_requests().end()) continue;
    const std::string id = absl::HexStringToBytes(text);
    state.requests_[id] = known->second;
    state.request_order_.push_back(id);
  }
  return state;
}

}  // namespace terrane::metadata
