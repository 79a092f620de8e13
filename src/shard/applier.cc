#include "shard/applier.h"

#include <algorithm>
#include <optional>

#include "common/logging.h"
#include "common/status.h"
#include "shard/convert.h"
#include "shard/state_records.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
using replication::ApplyResult;
using replication::CommittedEntry;

Applier::Applier(Options options, storage::Store* store, HybridClock* hybrid)
    : options_(std::move(options)), store_(store), hybrid_(hybrid) {}

absl::StatusOr<std::unique_ptr<Applier>> Applier::Open(Options options, storage::Store* store, HybridClock* hybrid) {
  std::unique_ptr<Applier> applier(new Applier(std::move(options), store, hybrid));
  TERRANE_RETURN_IF_ERROR(applier->Load());
  return applier;
}

absl::Status Applier::Load() {
  const std::shared_ptr<const storage::ReadView> view = store_->View();
  TERRANE_ASSIGN_OR_RETURN(ownership_, LoadOwnership(*view));
  TERRANE_ASSIGN_OR_RETURN(hybrid_time_, LoadHybridTime(*view));
  saved_hybrid_time_ = hybrid_time_;
  hybrid_->ObserveOwn(hybrid_time_);
  ownership_.TakeChanges();
  scheduled_drops_.clear();
  {
    // What was removed was removed from the state before.
    std::lock_guard lock(finished_drops_->mutex);
    finished_drops_->done.clear();
  }
  Publish();
  ScheduleDrops();
  return absl::OkStatus();
}

std::shared_ptr<const Ownership> Applier::View() const {
  std::lock_guard lock(view_mutex_);
  return view_;
}

void Applier::Publish() {
  auto view = std::make_shared<const Ownership>(ownership_);
  std::lock_guard lock(view_mutex_);
  view_.swap(view);
}

Position Applier::AppliedPosition() {
  return store_->AppliedPosition();
}

absl::Status Applier::Apply(std::span<const CommittedEntry> batch, std::span<ApplyResult> results) {
  if (batch.empty()) return absl::OkStatus();
  batch_ = store_->NewBatch();
  {
    std::lock_guard lock(finished_drops_->mutex);
    for (const auto& [copy, range] : finished_drops_->done) ownership_.ForgetDropping(copy, range);
    finished_drops_->done.clear();
  }
  for (size_t i = 0; i < batch.size(); ++i) {
    if (batch[i].internal) continue;
    v1::ShardEntry entry;
    if (!entry.ParseFromArray(batch[i].data.data(), static_cast<int>(batch[i].data.size())) ||
        entry.entry_case() == v1::ShardEntry::ENTRY_NOT_SET) {
      // The log is compared with its checksums: this is no damage of this directory, and its peers have the same.
      return FailedPrecondition("entry ", batch[i].position.value(), " of the log of shard ", options_.shard,
                                " is not one that this program knows; start a newer version of it");
    }
    // Alone: what came before is committed, and made durable by the ingest (trap T61).
    const bool ingests = entry.has_ingest_segment();
    if (ingests) TERRANE_RETURN_IF_ERROR(Commit(Position(batch[i].position.value() - 1)));
    hybrid_time_ = std::max(hybrid_time_, entry.hybrid_time());
    hybrid_->ObserveOwn(hybrid_time_);
    if (ingests) {
      TERRANE_RETURN_IF_ERROR(ApplyIngest(batch[i].position, entry, &results[i]));
      TERRANE_RETURN_IF_ERROR(Commit(batch[i].position));
      continue;
    }
    TERRANE_RETURN_IF_ERROR(ApplyEntry(batch[i].position, &entry, &results[i]));
    if (batch_->SizeBytes() > options_.max_batch_bytes) TERRANE_RETURN_IF_ERROR(Commit(batch[i].position));
  }
  TERRANE_RETURN_IF_ERROR(Commit(batch.back().position));
  batch_.reset();
  ScheduleDrops();
  return TrimOplog();
}

absl::Status Applier::Commit(Position applied) {
  if (applied <= store_->AppliedPosition()) return absl::OkStatus();
  const bool visible = SaveOwnership(&ownership_, batch_.get());
  if (hybrid_time_ != saved_hybrid_time_) SaveHybridTime(hybrid_time_, batch_.get());
  TERRANE_RETURN_IF_ERROR(batch_->Commit(applied));
  saved_hybrid_time_ = hybrid_time_;
  if (visible) Publish();
  return absl::OkStatus();
}

void Applier::ScheduleDrops() {
  std::erase_if(scheduled_drops_, [this](const auto& scheduled) {
    return std::none_of(ownership_.dropping().begin(), ownership_.dropping().end(), [&](const v1::DropCopy& dropping) {
      return CopyId(dropping.copy_id()) == scheduled.first && FromProto(dropping.range()) == scheduled.second;
    });
  });
  for (const v1::DropCopy& dropping : ownership_.dropping()) {
    const CopyId copy(dropping.copy_id());
    const KeyRange range = FromProto(dropping.range());
    const bool whole = ownership_.OfCopy(copy).empty();
    if (std::find(scheduled_drops_.begin(), scheduled_drops_.end(), std::pair(copy, range)) != scheduled_drops_.end()) {
      continue;
    }
    scheduled_drops_.emplace_back(copy, range);
    store_->RemoveSegmentFiles(copy);
    store_->ScheduleDrop(copy, whole ? std::nullopt : std::optional(range),
                         [finished = finished_drops_, copy, range](absl::Status status) {
                           if (!status.ok()) {
                             LogWarn("shard", "a dropped copy was not removed; it will be at the next start",
                                     {{"copy", copy}, {"status", status}});
                             return;
                           }
                           std::lock_guard lock(finished->mutex);
                           finished->done.emplace_back(copy, range);
                         });
  }
}

void Applier::AllowOplogTrim(Position position) {
  uint64_t now = trim_allowed_.load(std::memory_order_relaxed);
  while (now < position.value() && !trim_allowed_.compare_exchange_weak(now, position.value())) {
  }
}

absl::Status Applier::TrimOplog() {
  Position position(trim_allowed_.load(std::memory_order_relaxed));
  if (const auto pin = ownership_.LeastPin()) position = std::min(position, *pin);
  if (position <= store_->FirstOplogPosition()) return absl::OkStatus();
  return store_->TrimOplog(position);
}

absl::StatusOr<Position> Applier::MakeDurable() {
  return store_->MakeDurable();
}

absl::Status Applier::TakeCheckpoint(const std::filesystem::path& directory) {
  return store_->TakeCheckpoint(directory);
}

absl::Status Applier::InstallCheckpoint(const std::filesystem::path& directory) {
  {
    // Requests look at the ownership behind their view of the store. Until what belongs to the new data is known, none
    // is served: the old one would allow what has moved away meanwhile.
    auto nothing = std::make_shared<const Ownership>();
    std::lock_guard lock(view_mutex_);
    view_.swap(nothing);
  }
  TERRANE_RETURN_IF_ERROR(store_->InstallCheckpoint(directory));
  return Load();
}

void Applier::OnLeaderStart(Term term) {
  if (options_.on_leader_start) options_.on_leader_start(term);
}

void Applier::OnServing(Term term) {
  if (options_.on_serving) options_.on_serving(term);
}

void Applier::OnLeaderStop(Term term) {
  if (options_.on_leader_stop) options_.on_leader_stop(term);
}

}  // namespace terrane::shard
