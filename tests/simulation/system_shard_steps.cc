// Steps of moves and splits at the leader of a shard, as in src/shard/move_service.cc, import_manager.cc and
// splitter.cc.
#include <utility>

#include "rpc/status.h"
#include "shard/convert.h"
#include "shard/state_records.h"
#include "simulation/system.h"
#include "simulation/system_import.h"
#include "simulation/system_shard.h"

namespace terrane::simulation {

using migration::StepAnswer;
using shard::ChunkState;
using shard::EntryResult;
using shard::MoveRef;
using shard::Outcome;
using shard::OwnedChunk;

namespace {

constexpr Time kEntryTimeout = 5s;

bool IsOwner(const OwnedChunk& chunk) {
  return chunk.state == ChunkState::kOwned || chunk.state == ChunkState::kWriteFenced ||
         chunk.state == ChunkState::kReadFenced;
}

// A split of one chunk at a given key.
class SplitTask final : public BlockingTask {
 public:
  using Done = std::function<void(absl::StatusOr<EntryResult>)>;

  SplitTask(ShardReplica* replica, v1::SplitChunkStep step, Done done)
      : BlockingTask(replica), replica_(*replica), step_(std::move(step)), done_(std::move(done)) {}

 protected:
  void Body() override { done_(Split()); }

 private:
  absl::StatusOr<EntryResult> Split() {
    const KeyRange range = shard::FromProto(step_.range());
    const auto ownership = replica_.applier()->View();
    std::optional<OwnedChunk> found;
    for (const OwnedChunk* part : ownership->All()) {
      if (!IsOwner(*part) || part->collection != CollectionId(step_.collection_id())) continue;
      if (!range.Contains(part->range) || !part->range.Contains(step_.at())) continue;
      if (part->range.min == step_.at() && part->range.min != range.min) {
        return EntryResult{.outcome = Outcome::kAlready, .position = replica_.store().AppliedPosition()};
      }
      found = *part;
    }
    if (!found) return NotFound("there is no such chunk here");
    TERRANE_ASSIGN_OR_RETURN(const EntryResult begun, BeginSplit(*found));
    TERRANE_RETURN_IF_ERROR(ToStatus(begun, {}));
    // Writes go on meanwhile.
    Await([] { return false; }, replica_.world().Between(1ms, 60ms));
    auto finished = Finish(*found, begun.position);
    if (!finished.ok()) (void)Propose(EndOf(*found, begun.position));
    return finished;
  }

  absl::StatusOr<EntryResult> BeginSplit(const OwnedChunk& chunk) {
    v1::ShardEntry begin;
    SetChunk(chunk, begin.mutable_split_begin());
    begin.mutable_split_begin()->set_at(step_.at());
    TERRANE_ASSIGN_OR_RETURN(EntryResult begun, Propose(begin));
    if (begun.outcome != Outcome::kConflict || begun.position.value() == 0) return begun;
    replica_.world().Probe("split that nobody finished is ended");
    TERRANE_RETURN_IF_ERROR(Propose(EndOf(chunk, begun.position)).status());
    return Propose(begin);
  }

  absl::StatusOr<EntryResult> Finish(const OwnedChunk& chunk, Position begin) {
    if (stopping()) return MakeStatus(absl::StatusCode::kCancelled, "stopping");
    TERRANE_ASSIGN_OR_RETURN(const auto view, replica_.store().View(chunk.copy));
    TERRANE_ASSIGN_OR_RETURN(const shard::Ownership then, shard::LoadOwnership(*view));
    const OwnedChunk* seen = then.Find(chunk.copy, chunk.range);
    if (seen == nullptr || !seen->side || seen->side->begin != begin) return Aborted("the split was ended meanwhile");
    TERRANE_ASSIGN_OR_RETURN(storage::ChunkDigest base,
                             storage::ScanDigest(*view, chunk.copy, {chunk.range.min, step_.at()}));
    base -= seen->side->sum;
    // The scan takes its time.
    Await([] { return false; }, replica_.world().Between(1ms, 60ms));
    v1::ShardEntry split;
    SetChunk(chunk, split.mutable_split());
    split.mutable_split()->set_at(step_.at());
    split.mutable_split()->set_begin(begin.value());
    *split.mutable_split()->mutable_base() = storage::ToProto(base);
    TERRANE_ASSIGN_OR_RETURN(EntryResult result, Propose(std::move(split)));
    TERRANE_RETURN_IF_ERROR(ToStatus(result, {}));
    replica_.world().Probe("chunk split");
    return result;
  }

  absl::StatusOr<EntryResult> Propose(v1::ShardEntry entry) {
    return AwaitAnswer<EntryResult>(
        [this, entry = std::move(entry)](auto done) { replica_.ProposeEntry(entry, std::move(done)); }, kEntryTimeout);
  }
  static void SetChunk(const OwnedChunk& chunk, auto* entry) {
    entry->set_collection_id(chunk.collection.value());
    *entry->mutable_range() = shard::ToProto(chunk.range);
  }
  static v1::ShardEntry EndOf(const OwnedChunk& chunk, Position begin) {
    v1::ShardEntry end;
    SetChunk(chunk, end.mutable_split_end());
    end.mutable_split_end()->set_begin(begin.value());
    return end;
  }

  ShardReplica& replica_;
  const v1::SplitChunkStep step_;
  const Done done_;
};

}  // namespace

StepAnswer ShardReplica::Fill(const EntryResult& result) {
  v1::StepResponse response;
  response.set_position(result.position.value());
  *response.mutable_digest() = storage::ToProto(result.digest);
  response.set_applied(store_.AppliedPosition().value());
  return response;
}

void ShardReplica::Step(v1::ShardEntry entry, const v1::MoveRef& move, Reply<StepAnswer> reply) {
  ProposeEntry(std::move(entry), [this, move, reply = std::move(reply)](absl::StatusOr<EntryResult> result) {
    if (!result.ok()) return reply(result.status());
    const absl::Status status = ToStatus(*result, shard::FromProto(move));
    if (result->outcome == Outcome::kStaleAttempt) world().Probe("step of an ended attempt refused");
    status.ok() ? reply(Fill(*result)) : reply(status);
  });
}

namespace {
template <typename... Fn>
struct Overloaded : Fn... {
  using Fn::operator()...;
};
template <typename... Fn>
Overloaded(Fn...) -> Overloaded<Fn...>;
}  // namespace

void ShardReplica::HandleStep(const migration::StepRequest& request, Reply<StepAnswer> reply) {
  if (!Serving()) return reply(NotLeading());
  v1::ShardEntry entry;
  std::visit(
      Overloaded{
          [&](const v1::CreateChunkStep& step) {
            *entry.mutable_create_chunk() = step.entry();
            Step(std::move(entry), {}, std::move(reply));
          },
          [&](const v1::PinStep& step) {
            *entry.mutable_pin() = step.entry();
            Step(std::move(entry), step.entry().move(), std::move(reply));
          },
          [&](const v1::FenceStep& step) {
            *entry.mutable_fence() = step.entry();
            Step(std::move(entry), step.entry().move(), std::move(reply));
          },
          [&](const v1::FenceReadsStep& step) {
            *entry.mutable_fence_reads() = step.entry();
            Step(std::move(entry), step.entry().move(), std::move(reply));
          },
          [&](const v1::ReleaseStep& step) {
            *entry.mutable_release_copy() = step.entry();
            Step(std::move(entry), step.entry().move(), std::move(reply));
          },
          [&](const v1::EndAttemptStep& step) {
            *entry.mutable_end_attempt() = step.entry();
            const CopyId copy(step.entry().copy_id());
            auto import = imports_.find(copy);
            if (import != imports_.end() && import->second->move().id == shard::FromProto(step.entry().move()).id &&
                import->second->move().attempt <= shard::FromProto(step.entry().move()).attempt) {
              EndImport(copy);
            }
            Step(std::move(entry), step.entry().move(), std::move(reply));
          },
          [&](const v1::DropCopyStep& step) {
            *entry.mutable_drop_copy() = step.entry();
            Step(std::move(entry), step.entry().move(), std::move(reply));
          },
          [&](const v1::PrepareStep& step) {
            *entry.mutable_prepare_copy() = step.entry();
            Step(std::move(entry), step.entry().move(), std::move(reply));
          },
          [&](const v1::OwnStep& step) {
            *entry.mutable_own_copy() = step.entry();
            Step(std::move(entry), step.entry().move(), std::move(reply));
          },
          [&](const v1::SplitChunkStep& step) {
            auto task = std::make_shared<SplitTask>(
                this, step, [this, reply = std::move(reply), at = step.at()](absl::StatusOr<EntryResult> result) {
                  if (!result.ok()) return reply(result.status());
                  StepAnswer answer = Fill(*result);
                  std::get<v1::StepResponse>(answer).set_at(at);
                  reply(std::move(answer));
                });
            tasks_.push_back(task);
            task->Begin();
          },
          [&](const v1::ImportStep& step) {
            auto import = ImportOf(step.move(), CopyId(step.copy_id()),
                                   {step.source_endpoints().begin(), step.source_endpoints().end()});
            import.ok() ? reply((*import)->Status()) : reply(import.status());
          },
          [&](const v1::VerifyStep& step) {
            auto import = ImportOf(step.move(), CopyId(step.copy_id()),
                                   {step.source_endpoints().begin(), step.source_endpoints().end()});
            import.ok() ? reply((*import)->Verify(step.restart())) : reply(import.status());
          },
          [&](const v1::CompleteStep& step) {
            const MoveRef move = shard::FromProto(step.move());
            const CopyId copy(step.copy_id());
            auto chunk = RecordOfImport(move, copy);
            if (!chunk.ok()) return reply(chunk.status());
            if (chunk->state != ChunkState::kImporting && chunk->fence == Position(step.fence())) {
              return reply(Fill(
                  {.outcome = Outcome::kAlready, .position = chunk->import->complete, .digest = chunk->fence_digest}));
            }
            auto import = ImportOf(step.move(), copy, {step.source_endpoints().begin(), step.source_endpoints().end()});
            if (!import.ok()) return reply(import.status());
            (*import)->Complete(step, [this, reply = std::move(reply)](absl::StatusOr<EntryResult> result) {
              result.ok() ? reply(Fill(*result)) : reply(result.status());
            });
          },
      },
      request);
}

absl::StatusOr<OwnedChunk> ShardReplica::RecordOfImport(const MoveRef& move, CopyId copy) const {
  const auto ownership = applier_->View();
  const std::vector<const OwnedChunk*> chunks = ownership->OfCopy(copy);
  if (ownership->IsDead(move)) {
    return rpc::WithReason(FailedPrecondition("the attempt has ended"), v1::ErrorDetail::STALE_ATTEMPT);
  }
  if (chunks.size() == 1 && chunks.front()->import && chunks.front()->move.id == move.id) return *chunks.front();
  return NotFound("copy ", copy.value(), " is not prepared here");
}

absl::StatusOr<std::shared_ptr<ImportTask>> ShardReplica::ImportOf(const v1::MoveRef& move, CopyId copy,
                                                                   std::vector<std::string> endpoints) {
  TERRANE_RETURN_IF_ERROR(RecordOfImport(shard::FromProto(move), copy).status());
  std::shared_ptr<ImportTask>& task = imports_[copy];
  if (task != nullptr && !task->ended()) {
    task->Renew(shard::FromProto(move), std::move(endpoints));
  } else {
    task = std::make_shared<ImportTask>(this, copy, shard::FromProto(move), std::move(endpoints));
    task->Begin();
  }
  return task;
}

void ShardReplica::EndImport(CopyId copy) {
  auto found = imports_.find(copy);
  found->second->BeginStop();
  tasks_.push_back(std::move(found->second));
  imports_.erase(found);
}

// Leadership is lost, or the process ends. Not from inside of one of them.
void ShardReplica::EndTasks() {
  for (auto& [copy, task] : std::exchange(imports_, {})) tasks_.push_back(std::move(task));
  for (const auto& task : tasks_) task->BeginStop();
}

void ShardReplica::ReapTasks() {
  if (!alive()) {
    for (const auto& task : tasks_) task->Stop();
  }
  const auto ownership = applier_->View();
  std::vector<CopyId> over;
  for (const auto& [copy, task] : imports_) {
    const std::vector<const OwnedChunk*> chunks = ownership->OfCopy(copy);
    if (chunks.size() != 1 || !chunks.front()->import) over.push_back(copy);
  }
  for (CopyId copy : over) EndImport(copy);
  std::erase_if(tasks_, [](const auto& task) { return task->ended(); });
}

}  // namespace terrane::simulation
