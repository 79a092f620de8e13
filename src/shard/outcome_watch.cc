#include "shard/outcome_watch.h"

#include <algorithm>

#include "common/logging.h"
#include "shard/convert.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

namespace {

constexpr std::chrono::milliseconds kAskTimeout(1000);
constexpr std::chrono::seconds kEntryTimeout(5);

bool IsCommitted(v1::Migration::Stage stage) {
  switch (stage) {
    case v1::Migration::COMMITTED:
    case v1::Migration::REVERSIBLE:
    case v1::Migration::CLEANING:
    case v1::Migration::DONE:
      return true;
    default:
      return false;
  }
}
bool IsAborted(v1::Migration::Stage stage) {
  return stage == v1::Migration::ABORTING || stage == v1::Migration::ABORTED;
}

bool IsUndecided(const OwnedChunk& chunk) {
  switch (chunk.state) {
    case ChunkState::kWriteFenced:
    case ChunkState::kReadFenced:
    case ChunkState::kComplete:
      return true;
    case ChunkState::kOwned:
    case ChunkState::kImporting:
    case ChunkState::kReleased:
      return false;
  }
  return false;
}

v1::ShardEntry EndAttempt(const OwnedChunk& chunk, const v1::Migration& record) {
  v1::ShardEntry entry;
  v1::EndAttemptEntry* end = entry.mutable_end_attempt();
  *end->mutable_move() = ToProto(chunk.move);
  end->set_collection_id(chunk.collection.value());
  *end->mutable_range() = ToProto(chunk.range);
  end->set_copy_id(chunk.copy.value());
  end->set_token(record.token());
  end->set_abort(IsAborted(record.stage()));
  return entry;
}

v1::ShardEntry Release(const OwnedChunk& chunk, const v1::Migration& record) {
  v1::ShardEntry entry;
  v1::ReleaseCopy* release = entry.mutable_release_copy();
  *release->mutable_move() = ToProto(chunk.move);
  release->set_collection_id(chunk.collection.value());
  *release->mutable_range() = ToProto(chunk.range);
  release->set_copy_id(chunk.copy.value());
  release->set_complete(record.complete());
  v1::Route* to = release->mutable_to();
  to->set_collection_id(chunk.collection.value());
  *to->mutable_range() = ToProto(chunk.range);
  to->set_copy_id(record.target_copy());
  to->set_token(record.token() + 1);
  to->set_shard(record.target());
  return entry;
}

v1::ShardEntry Own(const OwnedChunk& chunk, const v1::Migration& record) {
  v1::ShardEntry entry;
  v1::OwnCopy* own = entry.mutable_own_copy();
  *own->mutable_move() = ToProto(chunk.move);
  own->set_copy_id(chunk.copy.value());
  own->set_token(record.token() + 1);
  return entry;
}

}  // namespace

std::optional<v1::ShardEntry> EntryForOutcome(const OwnedChunk& chunk, const v1::GetMigrationResponse& answer) {
  if (!IsUndecided(chunk)) return std::nullopt;
  const v1::Migration& record = answer.migration();
  // Absence is no evidence: neither of a commit nor of an end.
  if (!answer.has_migration() || MigrationId(record.id()) != chunk.move.id) return std::nullopt;
  const Attempt attempt(record.attempt());
  if (IsCommitted(record.stage())) {
    if (attempt != chunk.move.attempt) return std::nullopt;
    return chunk.state == ChunkState::kComplete ? Own(chunk, record) : Release(chunk, record);
  }
  // The record of this attempt's end: a later one has begun, or the move is aborted.
  const bool ended = attempt > chunk.move.attempt || (attempt == chunk.move.attempt && IsAborted(record.stage()));
  if (!ended) return std::nullopt;
  return EndAttempt(chunk, record);
}

OutcomeWatch::OutcomeWatch(const Core* core, MetadataLink* metadata, Options options)
    : core_(core), metadata_(metadata), options_(options), thread_([this] { Run(); }) {}

void OutcomeWatch::Poke() {
  std::lock_guard lock(mutex_);
  poked_ = true;
  wake_.notify_all();
}

void OutcomeWatch::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }
  metadata_->Cancel();
  if (thread_.joinable()) thread_.join();
}

void OutcomeWatch::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    wake_.wait_for(lock, options_.tick, [this] { return stopping_ || poked_; });
    if (stopping_) return;
    const bool poked = std::exchange(poked_, false);
    lock.unlock();
    AskAll(poked);
    lock.lock();
  }
}

void OutcomeWatch::AskAll(bool poked) {
  if (!core_->proposer->ServingTerm().ok()) return;
  const auto ownership = core_->applier->View();
  const MonotonicTime now = core_->clock->Now();
  std::map<std::pair<MigrationId, CopyId>, MonotonicTime> still;
  for (const OwnedChunk* chunk : ownership->All()) {
    if (!IsUndecided(*chunk)) continue;
    const std::pair key(chunk->move.id, chunk->copy);
    auto seen = undecided_since_.find(key);
    const MonotonicTime since = seen == undecided_since_.end() ? now : seen->second;
    still.emplace(key, since);
    if (poked || now - since >= options_.patience) Ask(*chunk);
  }
  undecided_since_ = std::move(still);
}

void OutcomeWatch::Ask(const OwnedChunk& chunk) {
  const auto answer = metadata_->GetMigration(chunk.move.id, kAskTimeout);
  if (!answer.ok()) return;  // asked again with the next tick
  auto entry = EntryForOutcome(chunk, *answer);
  if (!entry) return;
  const auto result = core_->proposer->ProposeAndWait(*std::move(entry), kEntryTimeout);
  LogInfo("shard", "learned what became of a switch by asking",
          {{"migration", chunk.move.id},
           {"attempt", chunk.move.attempt},
           {"copy", chunk.copy},
           {"stage", v1::Migration::Stage_Name(answer->migration().stage())},
           {"status", result.status()}});
}

}  // namespace terrane::shard
