#include "simulation/system_shard.h"

#include <limits>

#include "rpc/status.h"
#include "shard/convert.h"
#include "shard/outcome_watch.h"
#include "simulation/system.h"
#include "simulation/system_import.h"

namespace terrane::simulation {

using replication::ProposeOutcome;
using replication::ProposeResult;
using shard::EntryResult;

namespace {

constexpr uint64_t kKeptOplog = 40;
constexpr Time kOutcomeTick = 500ms;

}  // namespace

ShardReplica::ShardReplica(SimulatedSystem* system, RaftGroup* group, std::string name)
    : RaftReplica(&system->world, group, name),
      system_(*system),
      store_({.segments = &segments_, .checkpoints = &system->checkpoints, .name = std::move(name)}) {}

Position ShardReplica::OpenMachine() {
  hybrid_ = std::make_unique<shard::HybridClock>(this);
  shard::Applier::Options options;
  options.shard = shard();
  options.on_leader_start = [this](Term) {
    for (const shard::OwnedChunk* chunk : applier_->View()->All()) {
      const bool fenced =
          chunk->state == shard::ChunkState::kWriteFenced || chunk->state == shard::ChunkState::kReadFenced;
      if (fenced) world().Probe("a fence met a leader change");
      if (chunk->state == shard::ChunkState::kComplete) world().Probe("K met a leader change");
    }
  };
  options.on_leader_stop = [this](Term) { EndTasks(); };
  auto applier = shard::Applier::Open(std::move(options), &store_, hybrid_.get());
  if (!applier.ok()) world().Fail(StrCat(name(), " does not open: ", applier.status().ToString()));
  applier_ = *std::move(applier);
  std::vector<std::string> endpoints;
  for (const auto& node : system_.meta_nodes) endpoints.push_back(node->name());
  metadata_.SetEndpoints(std::move(endpoints));
  forgetting_ = false;
  After(kOutcomeTick, [this] { WatchOutcomes(); });
  return store_.AppliedPosition();
}

void ShardReplica::CloseMachine(bool power) {
  EndTasks();
  ReapTasks();
  latches_.clear();
  undecided_since_.clear();
  outcome_poked_ = false;
  applier_.reset();
  store_.PowerCut(power && store_.undurable() > 0 ? world().random().Below(store_.undurable() + 1) : 0);
}

namespace {
struct ShardCheckpoint {
  storage::MemoryData data;
};
}  // namespace

std::shared_ptr<const void> ShardReplica::Checkpoint() {
  return std::make_shared<const ShardCheckpoint>(ShardCheckpoint{store_.data()});
}

absl::Status ShardReplica::Install(const std::shared_ptr<const void>& checkpoint) {
  const std::string path = StrCat(name(), "-checkpoint");
  system_.checkpoints[path] = std::static_pointer_cast<const ShardCheckpoint>(checkpoint)->data;
  absl::Status status = applier_->InstallCheckpoint(path);
  system_.checkpoints.erase(path);
  return status;
}

void ShardReplica::Upkeep() {
  if (store_.HasDrops()) store_.RunJanitor();
  const uint64_t applied = store_.AppliedPosition().value();
  if (applied > kKeptOplog) applier_->AllowOplogTrim(Position(applied - kKeptOplog));
  ReapTasks();
}

void ShardReplica::FirstApplied(const raft::Entry& entry, const replication::ApplyResult& result) {
  if (entry.type != raft::EntryType::kNormal) return;
  v1::ShardEntry parsed;
  parsed.ParseFromArray(entry.data.view().data(), static_cast<int>(entry.data.view().size()));
  system_.ledger.ShardApplied(*this, entry.index, parsed, result);
}

// ---- proposals ------------------------------------------------------------------------------------------------------

absl::Status ShardReplica::NotLeading() const {
  return rpc::NotLeader(LeaderHint());
}

absl::Status ShardReplica::StatusOf(const ProposeResult& result) const {
  switch (result.outcome) {
    case ProposeOutcome::kApplied:
      return result.status;
    case ProposeOutcome::kNotInLog:
      return NotLeading();
    case ProposeOutcome::kUnknown:
      return rpc::WithReason(Unavailable("the outcome is unknown"), v1::ErrorDetail::OUTCOME_UNKNOWN);
  }
  return Internal("unknown outcome of a proposal");
}

void ShardReplica::ProposeEntry(v1::ShardEntry entry, std::function<void(absl::StatusOr<EntryResult>)> done) {
  if (!Serving()) return done(NotLeading());
  const bool complete = entry.has_complete();
  auto answer = [this, complete, done = std::move(done)](ProposeResult result) {
    if (complete && result.outcome == ProposeOutcome::kUnknown)
      world().Probe("K was proposed and its leader lost office");
    if (const auto* value = std::any_cast<EntryResult>(&result.value)) return done(*value);
    const absl::Status status = StatusOf(result);
    done(status.ok() ? Internal("an entry had no result") : status);
  };
  // As with writes: the attempt that it belongs to may be over when its turn comes.
  auto propose = [this, term = term(), entry = std::move(entry), answer = std::move(answer)]() mutable {
    entry.set_hybrid_time(hybrid_->Next());
    Propose(term, entry.SerializeAsString(), answer);
  };
  const Time wait = SlowProposal();
  wait == Time(0) ? propose() : After(wait, propose);
}

Time ShardReplica::SlowProposal() {
  return world().Chance(system_.slow_proposal_permille) ? world().Between(5ms, 2500ms) : Time(0);
}

// ---- segment files that are missing at apply ------------------------------------------------------------------------

bool ShardReplica::FetchForApply(const raft::Entry& stopped, const absl::Status& status, std::function<void()> again) {
  v1::ShardEntry entry;
  entry.ParseFromArray(stopped.data.view().data(), static_cast<int>(stopped.data.view().size()));
  if (!absl::IsNotFound(status)) return false;
  if (!entry.has_ingest_segment()) return false;
  std::vector<storage::SegmentFile> files;
  for (const v1::SegmentFile& file : entry.ingest_segment().files()) files.push_back(storage::FromProto(file));
  world().Probe("segment file fetched at apply");
  FetchFiles(store_.Missing(files), std::move(again));
  return true;
}

void ShardReplica::FetchFiles(std::vector<std::string> names, std::function<void()> again) {
  if (names.empty()) return again();
  auto* peer = static_cast<ShardReplica*>(group().replicas[world().random().Below(group().replicas.size())]);
  using File = std::shared_ptr<const storage::MemorySegment>;
  world().Call<File>(
      this, peer, "file", 200ms, [peer, name = names.back()](auto reply) { reply(peer->FindFile(name)); },
      [this, names, again = std::move(again)](absl::StatusOr<File> file) mutable {
        if (file.ok() && *file != nullptr) {
          segments_[names.back()] = *file;
          names.pop_back();
        }
        After(1ms, [this, names = std::move(names), again = std::move(again)] { FetchFiles(names, again); });
      });
}

// ---- what became of a switch ----------------------------------------------------------------------------------------

void ShardReplica::PokeOutcomeWatch() {
  if (std::exchange(outcome_poked_, true)) return;
  After(Time(0), [this] { WatchOutcomes(); });
}

void ShardReplica::WatchOutcomes() {
  const bool poked = std::exchange(outcome_poked_, false);
  if (!poked) After(kOutcomeTick, [this] { WatchOutcomes(); });
  if (!Serving()) return;
  if (!poked) Beat();
  std::map<std::pair<MigrationId, CopyId>, Time> still;
  for (const shard::OwnedChunk* chunk : applier_->View()->All()) {
    const bool undecided = chunk->state == shard::ChunkState::kWriteFenced ||
                           chunk->state == shard::ChunkState::kReadFenced ||
                           chunk->state == shard::ChunkState::kComplete;
    if (!undecided) continue;
    const std::pair key(chunk->move.id, chunk->copy);
    auto seen = undecided_since_.find(key);
    const Time since = seen == undecided_since_.end() ? world().now() : seen->second;
    still.emplace(key, since);
    if (poked || world().now() - since >= kOutcomeTick) AskForOutcome(*chunk);
  }
  undecided_since_ = std::move(still);
}

void ShardReplica::AskForOutcome(const shard::OwnedChunk& chunk) {
  const std::string endpoint = metadata_.Current();
  MetaNode* node = system_.FindMeta(endpoint);
  world().Call<v1::GetMigrationResponse>(
      this, node, "get migration", 1000ms,
      [node, id = chunk.move.id.value()](auto reply) { node->GetMigration(id, std::move(reply)); },
      [this, endpoint, chunk](absl::StatusOr<v1::GetMigrationResponse> answer) {
        if (!answer.ok()) return (void)metadata_.Failed(endpoint, answer.status());
        metadata_.Learn(endpoint);
        auto entry = shard::EntryForOutcome(chunk, *answer);
        if (!entry) return;
        world().Probe("a shard asked what became of a switch");
        ProposeEntry(*std::move(entry), [](const absl::StatusOr<EntryResult>&) {});
      });
}

void ShardReplica::Beat() {
  if (forgetting_ || !applier_->View()->MayForgetMoves(MigrationId(std::numeric_limits<uint64_t>::max()))) return;
  const std::string endpoint = metadata_.Current();
  MetaNode* node = system_.FindMeta(endpoint);
  world().Call<v1::ShardHeartbeatResponse>(
      this, node, "heartbeat", 1000ms, [node](auto reply) { node->ShardHeartbeat(std::move(reply)); },
      [this, endpoint](absl::StatusOr<v1::ShardHeartbeatResponse> answer) {
        if (!answer.ok()) return (void)metadata_.Failed(endpoint, answer.status());
        metadata_.Learn(endpoint);
        if (forgetting_ || !Serving() || !applier_->View()->MayForgetMoves(MigrationId(answer->dead_below()))) return;
        forgetting_ = true;
        v1::ShardEntry entry;
        entry.mutable_forget_moves()->set_below(answer->dead_below());
        ProposeEntry(std::move(entry), [this](const absl::StatusOr<EntryResult>&) { forgetting_ = false; });
      });
}

}  // namespace terrane::simulation
