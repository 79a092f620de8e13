#include "metadata/chunk_frontend.h"

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_join.h"
#include "common/random.h"
#include "common/status.h"
#include "metadata/collection_frontend.h"
#include "metadata/node.h"
#include "metadata/shard_reports.h"
#include "migration/coordinator.h"
#include "migration/ranges.h"
#include "rpc/status.h"

namespace terrane::metadata {
namespace {

constexpr std::chrono::milliseconds kGreatestPause = std::chrono::hours(1);

std::pair<uint32_t, std::string> NameOf(const v1::Chunk& chunk) {
  return {chunk.collection_id(), chunk.range().min()};
}

absl::Status NoSuchShard(Node& node, const std::string& name) {
  std::vector<std::string> known;
  node.Read([&](const State& state) {
    for (const auto& [shard, record] : state.shards()) known.push_back(shard);
  });
  return rpc::WithReason(NotFound("no shard ", name, ". Shards: ", absl::StrJoin(known, ", ")),
                         v1::ErrorDetail::NO_SUCH_SHARD);
}

absl::Status NoSuchMigration(uint64_t id, uint64_t dead_below) {
  return rpc::WithReason(id != 0 && id < dead_below ? NotFound("migration ", id, " ended long ago and is forgotten")
                                                    : NotFound("no migration ", id),
                         v1::ErrorDetail::NO_SUCH_MIGRATION);
}

}  // namespace

absl::StatusOr<ChunkFrontend::RunningSplit> ChunkFrontend::BeginSplit(const v1::Chunk& chunk, const std::string& at,
                                                                      bool* joined) {
  const ChunkName name = NameOf(chunk);
  std::lock_guard lock(mutex_);
  if (moves_.contains(name)) {
    return FailedPrecondition("the move of chunk ", migration::FromProto(chunk.range()).ToString(), " begins");
  }
  const auto [split, begun] = splits_.try_emplace(name, RunningSplit{.at = at, .answer = {}});
  *joined = !begun;
  if (split->second.at != at) {
    return FailedPrecondition("chunk ", migration::FromProto(chunk.range()).ToString(),
                              " is being split in another place");
  }
  return split->second;
}

void ChunkFrontend::EndSplit(const v1::Chunk& chunk, const RunningSplit& running, SplitAnswer answer) {
  {
    std::lock_guard lock(mutex_);
    splits_.erase(NameOf(chunk));
  }
  running.answer.Set(std::move(answer));
}

absl::StatusOr<v1::Chunk> ChunkFrontend::FindChunk(const std::string& collection, const std::string& key) {
  auto chunk = node_->Read([&](const State& state) -> std::optional<v1::Chunk> {
    const auto* entry = state.FindCollection(collection);
    if (entry == nullptr) return std::nullopt;
    return *state.FindChunk(CollectionId(entry->record.id()), key);
  });
  if (!chunk) return NoSuchCollection(*node_, collection);
  return *std::move(chunk);
}

absl::StatusOr<v1::ListChunksResponse> ChunkFrontend::List(const v1::ListChunksRequest& request,
                                                           MonotonicTime deadline) {
  TERRANE_RETURN_IF_ERROR(node_->Barrier(deadline));
  v1::ListChunksResponse response;
  const bool known = node_->Read([&](const State& state) {
    bool found = request.collection().empty();
    for (const auto& [id, entry] : state.collections()) {
      if (entry.record.state() == v1::Collection::DROPPING) continue;
      if (!request.collection().empty() && entry.record.name() != request.collection()) continue;
      found = true;
      for (const auto& [min, chunk] : entry.chunks) {
        auto* info = response.add_chunks();
        *info->mutable_chunk() = chunk;
        info->set_collection(entry.record.name());
      }
    }
    return found;
  });
  if (!known) return NoSuchCollection(*node_, request.collection());
  const MonotonicTime patience = node_->clock()->Now() + std::chrono::seconds(2);
  const ShardReports reports = DescribeShards(*node_, std::min(deadline, patience));
  TERRANE_RETURN_IF_ERROR(NotCutOff(reports));
  for (auto& info : *response.mutable_chunks()) {
    const auto report = reports.find(info.chunk().shard());
    if (report == reports.end() || !report->second.ok()) continue;
    const auto parts = PartsOf(*report->second, info.chunk().copy_id(), info.chunk().range());
    if (!parts.empty()) *info.mutable_digest() = SumOf(parts);
  }
  return response;
}

absl::StatusOr<v1::SplitChunkResponse> ChunkFrontend::Split(const v1::SplitChunkRequest& request,
                                                            MonotonicTime deadline) {
  TERRANE_RETURN_IF_ERROR(node_->Barrier(deadline));
  const std::string& key = request.at().empty() ? request.key() : request.at();
  TERRANE_ASSIGN_OR_RETURN(const v1::Chunk chunk, FindChunk(request.collection(), key));
  const std::string range = migration::FromProto(chunk.range()).ToString();
  if (!request.at().empty() && request.at() == chunk.range().min()) {
    return InvalidArgument("chunk ", range, " begins there already");
  }
  for (;;) {
    bool joined = false;
    TERRANE_ASSIGN_OR_RETURN(const RunningSplit running, BeginSplit(chunk, request.at(), &joined));
    if (!joined) {
      SplitAnswer answer = RunSplit(chunk, request, deadline);
      EndSplit(chunk, running, answer);
      return answer;
    }
    auto answer = running.answer.Wait(deadline);
    if (!answer) return absl::DeadlineExceededError(StrCat("chunk ", range, " is still being split"));
    // That one had less time than this one has.
    if (!absl::IsDeadlineExceeded(answer->status()) || node_->clock()->Now() >= deadline) return *std::move(answer);
  }
}

ChunkFrontend::SplitAnswer ChunkFrontend::RunSplit(const v1::Chunk& chunk, const v1::SplitChunkRequest& request,
                                                   MonotonicTime deadline) {
  // Looked at again: no move can begin from here on.
  TERRANE_ASSIGN_OR_RETURN(const v1::Chunk locked, FindChunk(request.collection(), chunk.range().min()));
  const std::string range = migration::FromProto(chunk.range()).ToString();
  if (locked.migration_id() != 0) {
    v1::ErrorDetail detail;
    detail.set_reason(v1::ErrorDetail::MIGRATION_CONFLICT);
    detail.set_migration_id(locked.migration_id());
    return rpc::WithDetail(FailedPrecondition("chunk ", range, " is in migration ", locked.migration_id(),
                                              "; split it when that has ended"),
                           detail);
  }
  if (locked.copy_id() != chunk.copy_id() || !migration::SameRange(locked.range(), chunk.range())) {
    return Aborted("chunk ", range, " was split or moved meanwhile");
  }
  v1::SplitChunkStep step;
  step.set_collection_id(chunk.collection_id());
  *step.mutable_range() = chunk.range();
  step.set_at(request.at());
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - node_->clock()->Now());
  Waiting<absl::StatusOr<migration::StepAnswer>> waiting;
  node_->shards().Send(chunk.shard(), step, std::max(left, std::chrono::milliseconds(1)),
                       [waiting](absl::StatusOr<migration::StepAnswer> answer) { waiting.Set(std::move(answer)); });
  auto answer = waiting.Wait(deadline);
  if (!answer || absl::IsDeadlineExceeded(answer->status())) {
    return absl::DeadlineExceededError(
        StrCat("shard ", chunk.shard(), " has not split the chunk in time: it reads all of ", range, " first"));
  }
  // The call was cut off: this node, or the shard's, is being stopped. The shard may have split it.
  if (absl::IsCancelled(answer->status())) {
    return rpc::WithReason(Unavailable(MessageOf(answer->status())), v1::ErrorDetail::OUTCOME_UNKNOWN);
  }
  TERRANE_RETURN_IF_ERROR(answer->status());
  const std::string at = request.at().empty() ? std::get<v1::StepResponse>(**answer).at() : request.at();
  if (at.empty()) return Internal("shard ", chunk.shard(), " did not say where it split the chunk");

  v1::MetadataCommand command;
  command.set_request_id(NewUniqueBytes());
  auto* split = command.mutable_split_chunk();
  split->set_collection_id(chunk.collection_id());
  *split->mutable_range() = chunk.range();
  split->set_at(at);
  split->set_expected_token(chunk.token());
  TERRANE_ASSIGN_OR_RETURN(v1::CommandResult result, node_->Commit(std::move(command), deadline));
  v1::SplitChunkResponse response;
  response.mutable_chunks()->Swap(result.mutable_chunks());
  return response;
}

absl::StatusOr<v1::MoveChunkResponse> ChunkFrontend::Move(const v1::MoveChunkRequest& request, MonotonicTime deadline) {
  if (request.max_pause_ms() < 0) return InvalidArgument("max_pause_ms must not be negative");
  if (request.max_pause_ms() > kGreatestPause.count()) {
    return InvalidArgument("max_pause_ms must not be above ", kGreatestPause.count(), " (an hour)");
  }
  TERRANE_RETURN_IF_ERROR(node_->Barrier(deadline));
  v1::MoveChunkResponse response;
  if (!request.request_id().empty()) {
    // Asked again after it was done: the chunk has another token by now.
    const bool known = node_->Read([&](const State& state) {
      for (const auto& [id, record] : state.migrations()) {
        if (record.request_id() != request.request_id()) continue;
        *response.mutable_migration() = record;
        return true;
      }
      return false;
    });
    if (known) return response;
  }
  TERRANE_ASSIGN_OR_RETURN(const v1::Chunk chunk, FindChunk(request.collection(), request.key()));
  if (node_->Read([&](const State& state) { return state.FindShard(request.target()) == nullptr; })) {
    return NoSuchShard(*node_, request.target());
  }
  v1::MetadataCommand command;
  command.set_request_id(request.request_id().empty() ? NewUniqueBytes() : request.request_id());
  auto* start = command.mutable_start_migration();
  start->set_collection_id(chunk.collection_id());
  *start->mutable_range() = chunk.range();
  start->set_expected_token(chunk.token());
  start->set_target(request.target());
  start->set_max_pause_ms(request.max_pause_ms());
  const ChunkName name = NameOf(chunk);
  {
    std::lock_guard lock(mutex_);
    if (splits_.contains(name)) {
      return FailedPrecondition("chunk ", migration::FromProto(chunk.range()).ToString(), " is being split");
    }
    ++moves_[name];
  }
  absl::Cleanup leave = [&] {
    std::lock_guard lock(mutex_);
    if (--moves_[name] == 0) moves_.erase(name);
  };
  TERRANE_ASSIGN_OR_RETURN(v1::CommandResult result, node_->Commit(std::move(command), deadline));
  *response.mutable_migration() = result.migration();
  return response;
}

absl::StatusOr<v1::ListMigrationsResponse> ChunkFrontend::ListMigrations(const v1::ListMigrationsRequest& request,
                                                                         MonotonicTime deadline) {
  TERRANE_RETURN_IF_ERROR(node_->Barrier(deadline));
  return node_->Read([&](const State& state) {
    v1::ListMigrationsResponse response;
    for (const auto& [id, record] : state.migrations()) {
      if (request.active_only() && migration::IsEnded(migration::StageOf(record))) continue;
      *response.add_migrations() = record;
    }
    return response;
  });
}

absl::StatusOr<v1::ShowMigrationResponse> ChunkFrontend::ShowMigration(const v1::ShowMigrationRequest& request,
                                                                       MonotonicTime deadline) {
  TERRANE_RETURN_IF_ERROR(node_->Barrier(deadline));
  v1::ShowMigrationResponse response;
  uint64_t dead_below = 0;
  const bool found = node_->Read([&](const State& state) {
    dead_below = state.dead_below();
    const v1::Migration* record = state.FindMigration(request.id());
    if (record == nullptr) return false;
    *response.mutable_migration() = *record;
    const auto* entry = state.FindCollection(CollectionId(record->collection_id()));
    // One that is being dropped is gone for people: the name may be another's by now.
    if (entry != nullptr && entry->record.state() != v1::Collection::DROPPING) {
      response.set_collection(entry->record.name());
    }
    return true;
  });
  if (!found) return NoSuchMigration(request.id(), dead_below);
  if (auto progress = coordinator_->Progress(MigrationId(request.id()))) {
    *response.mutable_progress() = *std::move(progress);
  }
  return response;
}

absl::StatusOr<v1::AbortMigrationResponse> ChunkFrontend::AbortMigration(const v1::AbortMigrationRequest& request,
                                                                         MonotonicTime deadline) {
  TERRANE_RETURN_IF_ERROR(node_->Barrier(deadline));
  v1::MetadataCommand command;
  command.set_request_id(NewUniqueBytes());
  command.mutable_request_abort()->set_id(request.id());
  command.mutable_request_abort()->set_why("abort was asked for");
  TERRANE_ASSIGN_OR_RETURN(v1::CommandResult result, node_->Commit(std::move(command), deadline));
  v1::AbortMigrationResponse response;
  *response.mutable_migration() = result.migration();
  return response;
}

}  // namespace terrane::metadata
