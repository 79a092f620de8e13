#include "shard/retention.h"

#include <algorithm>

#include "common/logging.h"
#include "common/strings.h"
#include "shard/convert.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

namespace {

constexpr std::chrono::seconds kEntryTimeout(10);
constexpr int kRemovedPerEntry = 1000;

// As the minimum of a range: the records from this one on. They are ordered by shard key, id, session and statement one
// behind the other (RetryCursor). The shard key alone would not do: one that has more records than a step looks at
// would be begun again and again.
std::string PlaceOf(const storage::RetryCursor& cursor) {
  std::string place = StrCat(cursor.shard_key(), cursor.id(), cursor.session());
  for (int shift = 56; shift >= 0; shift -= 8) {
    place.push_back(static_cast<char>(static_cast<uint64_t>(cursor.statement()) >> shift));
  }
  return place;
}

}  // namespace

void Retention::TrimOplog() {
  const Position first = core_->store->FirstOplogPosition();
  const Position applied = core_->store->AppliedPosition();
  Position keep = OldestYoungerThan((core_->clock->Wall() - options_.oplog_age).count());
  const uint64_t bytes = core_->store->Statistics().oplog_bytes;
  if (bytes > options_.oplog_bytes && applied > first) {
    const double excess = 1.0 - static_cast<double>(options_.oplog_bytes) / static_cast<double>(bytes);
    const auto positions = static_cast<uint64_t>(static_cast<double>(applied.value() - first.value()) * excess);
    keep = std::max(keep, Position(first.value() + positions));
  }
  if (keep <= first) return;
  const uint64_t positions = keep.value() - first.value();
  // Some oplogs are few and large entries.
  const double share = static_cast<double>(positions) / static_cast<double>(applied.value() - first.value() + 1);
  if (positions >= options_.trim_at_least || static_cast<double>(bytes) * share >= options_.trim_at_least_bytes) {
    core_->applier->AllowOplogTrim(keep);
  }
}

// Hybrid time grows with the position, so a search by halves finds it.
Position Retention::OldestYoungerThan(int64_t wall_ms) const {
  const auto view = core_->store->View();
  Position low = view->FirstOplogPosition();
  Position high(view->AppliedPosition().value() + 1);
  while (low < high) {
    const Position middle(low.value() + (high.value() - low.value()) / 2);
    const auto cursor = view->Oplog(middle);
    v1::OplogEntry entry;
    bool old = false;
    if (cursor.ok() && (*cursor)->Valid()) {
      const std::string_view bytes = (*cursor)->entry();
      old = entry.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) &&
            static_cast<int64_t>(entry.hybrid_time() >> 16) < wall_ms;
    }
    if (old) {
      low = Position((*cursor)->position().value() + 1);
    } else {
      high = middle;
    }
  }
  return low;
}

bool Retention::HasMoreToExpire() const {
  return std::any_of(walks_.begin(), walks_.end(), [](const auto& walk) { return !walk.second.resume.empty(); });
}

size_t Retention::ExpireRetries(WallTime now) {
  if (!core_->proposer->ServingTerm().ok()) {
    walks_.clear();
    return 0;
  }
  const int64_t now_ms = now.count();
  const auto ownership = core_->applier->View();
  size_t removed = 0;
  std::map<std::pair<CopyId, std::string>, Walk> walks;
  for (const OwnedChunk* chunk : ownership->All()) {
    if (chunk->state != ChunkState::kOwned) continue;
    const std::pair key(chunk->copy, chunk->range.min);
    if (now_ms >= walks_[key].next_ms) removed += ExpireIn(*chunk, now_ms);
    walks[key] = std::move(walks_[key]);
  }
  walks_ = std::move(walks);  // without those that are gone
  return removed;
}

size_t Retention::ExpireIn(const OwnedChunk& chunk, int64_t now_ms) {
  Walk& walk = walks_[{chunk.copy, chunk.range.min}];
  KeyRange range = chunk.range;
  // What is written from now on lives that long.
  if (walk.resume.empty()) walk.earliest_ms = now_ms + core_->retry_lifetime.count();
  if (walk.resume > range.min && range.Contains(walk.resume)) range.min = walk.resume;
  const auto view = core_->store->View(chunk.copy);
  if (!view.ok()) return 0;
  v1::ExpireRetries found;
  size_t removed = 0;
  size_t visited = 0;
  auto cursor = (*view)->Retries(chunk.copy, range);
  for (; cursor->Valid() && ++visited <= options_.retries_per_step; cursor->Next()) {
    v1::RetryRecord record;
    const std::string_view bytes = cursor->record();
    if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) continue;
    if (record.expires_ms() >= now_ms) {
      walk.earliest_ms = std::min(walk.earliest_ms, record.expires_ms());
      continue;
    }
    v1::Change* change = found.add_removed();
    change->set_shard_key(std::string(cursor->shard_key()));
    change->set_id(std::string(cursor->id()));
    change->set_retry(std::string(bytes));
    change->set_retry_removed(true);
    if (found.removed_size() == kRemovedPerEntry) removed += Remove(chunk, now_ms, &found);
  }
  removed += Remove(chunk, now_ms, &found);
  // The next step begins with the record that this one has not seen, or the next round when it can find some.
  walk.resume = cursor->Valid() ? PlaceOf(*cursor) : std::string();
  walk.next_ms = walk.resume.empty() ? walk.earliest_ms : now_ms;
  return removed;
}

size_t Retention::Remove(const OwnedChunk& chunk, int64_t now_ms, v1::ExpireRetries* found) {
  const auto count = static_cast<size_t>(found->removed_size());
  if (count == 0) return 0;
  found->set_copy_id(chunk.copy.value());
  *found->mutable_range() = ToProto(chunk.range);
  found->set_before_ms(now_ms);
  v1::ShardEntry entry;
  entry.mutable_expire_retries()->Swap(found);
  found->Clear();
  const auto result = core_->proposer->ProposeAndWait(std::move(entry), kEntryTimeout);
  if (result.ok()) return count;
  LogWarn("shard", "expired retry records were not removed", {{"copy", chunk.copy}, {"status", result.status()}});
  return 0;
}

}  // namespace terrane::shard
