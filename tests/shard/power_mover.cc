#include "power_mover.h"

#include "common/status.h"
#include "document/builder.h"
#include "rpc/status.h"
#include "shard/convert.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

const KeyRange kAll{"", std::nullopt};
constexpr std::chrono::seconds kLong{20};

}  // namespace

PowerMover::PowerMover(uint64_t seed, PowerWorld* world) : world_(world), random_(seed) {}

PowerMover::Owner PowerMover::owner() const {
  std::lock_guard lock(mutex_);
  Owner owner;
  owner.shard = world_->shards[owner_];
  owner.route.set_collection_id(kMovedCollection.value());
  *owner.route.mutable_range() = ToProto(kAll);
  owner.route.set_copy_id(owner_copy_.value());
  owner.route.set_token(token_.value());
  return owner;
}

template <typename Entry>
void PowerMover::SetMove(Entry* entry) const {
  entry->mutable_move()->set_migration_id(migration_);
  entry->mutable_move()->set_attempt(attempt_);
}

template <typename Entry>
void PowerMover::SetChunk(Entry* entry, CopyId copy) const {
  entry->set_collection_id(kMovedCollection.value());
  *entry->mutable_range() = ToProto(kAll);
  entry->set_copy_id(copy.value());
}

std::optional<EntryResult> PowerMover::Log(PowerShard* shard, const std::function<void(v1::ShardEntry*)>& fill) {
  v1::ShardEntry entry;
  fill(&entry);
  while (true) {
    const absl::StatusOr<EntryResult> result = shard->host().proposer().ProposeAndWait(entry, kLong);
    if (result.ok()) {
      if (result->ok()) return *result;
      world_->findings.Add(StrCat("shard ", shard->name(), " refuses a step in ", MoveStageName(world_->power.stage()),
                                  ": ", OutcomeName(result->outcome), ", ", result->why));
      return std::nullopt;
    }
    if (!world_->gate.Again()) return std::nullopt;
  }
}

void PowerMover::Enter(MoveStage stage) {
  world_->power.EnterStage(stage);
}

bool PowerMover::CreateChunk() {
  return Log(world_->shards[0],
             [&](v1::ShardEntry* entry) {
               v1::CreateChunk* create = entry->mutable_create_chunk();
               SetChunk(create, owner_copy_);
               create->set_epoch(1);
               create->set_token(token_.value());
               create->set_collection("shop.orders");
               create->set_shard_key(document::Builder().Append("k", 1).Finish());
             })
      .has_value();
}

void PowerMover::Run() {
  while (world_->gate.Pass() && Move()) {
  }
  world_->gate.Leave();
}

bool PowerMover::Move() {
  source_ = owner_;
  source_copy_ = owner_copy_;
  target_copy_ = CopyId(target_copy_.value() + 10);
  ++migration_;
  attempt_ = 1;
  fence_.reset();
  complete_.reset();
  const uint64_t abort_at = random_() % 12;  // 0 to 3: after that step; else not
  int attempts_to_end = Chance(30) ? 1 : 0;
  if (!PinAndPrepare()) return false;
  if (abort_at == 0) return Abort();
  while (true) {
    if (!Copy()) return false;
    if (abort_at == 1) return Abort();
    if (!Verify()) return false;
    if (abort_at == 2) return Abort();
    if (!Fence()) return false;
    if (abort_at == 3) return Abort();
    bool give_up = attempts_to_end > 0 && Chance(50);
    if (!give_up && !Complete(&give_up)) return false;
    if (!give_up && attempts_to_end == 0) break;
    attempts_to_end = 0;
    if (!EndAttempt()) return false;
  }
  return FenceReads() && TellOwner() && Clean();
}

bool PowerMover::PinAndPrepare() {
  Enter(MoveStage::kPrepare);
  const auto pinned = Log(source(), [&](v1::ShardEntry* entry) {
    SetMove(entry->mutable_pin());
    SetChunk(entry->mutable_pin(), source_copy_);
  });
  if (!pinned) return false;
  pin_ = pinned->position;
  return Log(target(),
             [&](v1::ShardEntry* entry) {
               v1::PrepareCopy* prepare = entry->mutable_prepare_copy();
               SetMove(prepare);
               SetChunk(prepare, target_copy_);
               prepare->set_epoch(1);
               prepare->set_token(token_.value());
               prepare->set_source(source()->name());
               prepare->set_source_copy(source_copy_.value());
               prepare->set_collection("shop.orders");
               prepare->set_shard_key(document::Builder().Append("k", 1).Finish());
               prepare->set_pin(pin_.value());
             })
      .has_value();
}

bool PowerMover::Copy() {
  Enter(MoveStage::kCopy);
  do {
    v1::ImportStep step;
    SetMove(&step);
    step.set_copy_id(target_copy_.value());
    step.add_source_endpoints(source()->address());
    const auto status = target()->imports().Import(step);
    if (status.ok() && status->copied()) {
      for (PowerShard* shard : world_->shards) {
        shard->host().applier().AllowOplogTrim(shard->host().store().AppliedPosition());
      }
      return true;
    }
    if (rpc::ReasonOf(status.status()) == v1::ErrorDetail::STALE_ATTEMPT || absl::IsNotFound(status.status())) {
      world_->findings.Add(StrCat("the target does not know its import: ", status.status().ToString()));
      return false;
    }
  } while (world_->gate.Again());
  return false;
}

bool PowerMover::Verify() {
  Enter(MoveStage::kVerify);
  bool restart = false;
  do {
    v1::VerifyStep step;
    SetMove(&step);
    step.set_copy_id(target_copy_.value());
    step.add_source_endpoints(source()->address());
    step.set_restart(std::exchange(restart, false));
    const auto status = target()->imports().Verify(step);
    if (!status.ok() || !status->done()) continue;
    if (status->repaired_size() > 0) {
      world_->findings.Add(StrCat("source and target differed: ", status->ShortDebugString()));
      return false;
    }
    if (status->equal()) return true;
    // The source was away.
    restart = true;
  } while (world_->gate.Again());
  return false;
}

bool PowerMover::Fence() {
  Enter(MoveStage::kFence);
  fence_ = Log(source(), [&](v1::ShardEntry* entry) {
    SetMove(entry->mutable_fence());
    SetChunk(entry->mutable_fence(), source_copy_);
    entry->mutable_fence()->set_token(token_.value());
  });
  return fence_.has_value();
}

// `give_up`: the attempt is to be ended, as after a missed deadline.
bool PowerMover::Complete(bool* give_up) {
  Enter(MoveStage::kComplete);
  v1::CompleteStep step;
  SetMove(&step);
  step.set_copy_id(target_copy_.value());
  step.set_fence(fence_->position.value());
  ToProto(fence_->digest, step.mutable_digest());
  step.set_token(token_.value());
  do {
    step.clear_source_endpoints();
    step.add_source_endpoints(source()->address());
    const auto result = target()->imports().Complete(step, Clock::System()->Now() + kLong);
    if (result.ok()) {
      if (result->digest != fence_->digest) world_->findings.Add("K answers another digest than F");
      complete_ = *result;
      return true;
    }
    if (absl::IsDataLoss(result.status())) {
      world_->findings.Add(StrCat("K was refused: ", result.status().ToString()));
      return false;
    }
    if (Chance(2)) {
      *give_up = true;
      return true;
    }
  } while (world_->gate.Again());
  return false;
}

bool PowerMover::FenceReads() {
  Enter(MoveStage::kFenceReads);
  return Log(source(),
             [&](v1::ShardEntry* entry) {
               v1::FenceReadsEntry* fence = entry->mutable_fence_reads();
               SetMove(fence);
               fence->set_collection_id(kMovedCollection.value());
               *fence->mutable_range() = ToProto(kAll);
               fence->set_fence(fence_->position.value());
             })
      .has_value();
}

// The commit; then both shards hear of it.
bool PowerMover::TellOwner() {
  {
    std::lock_guard lock(mutex_);
    owner_ = 1 - source_;
    owner_copy_ = target_copy_;
    token_ = Token(token_.value() + 1);
  }
  ++committed_;
  Enter(MoveStage::kCommitted);
  const auto own = [&] {
    return Log(target(), [&](v1::ShardEntry* entry) {
      SetMove(entry->mutable_own_copy());
      entry->mutable_own_copy()->set_copy_id(target_copy_.value());
      entry->mutable_own_copy()->set_token(token_.value());
    });
  };
  const auto release = [&] {
    return Log(source(), [&](v1::ShardEntry* entry) {
      v1::ReleaseCopy* release = entry->mutable_release_copy();
      SetMove(release);
      SetChunk(release, source_copy_);
      *release->mutable_to() = owner().route;
      release->mutable_to()->set_shard(target()->name());
      release->set_complete(complete_->position.value());
    });
  };
  return Chance(50) ? own() && release() : release() && own();
}

bool PowerMover::Drop(PowerShard* shard, CopyId copy) {
  return Log(shard,
             [&](v1::ShardEntry* entry) {
               SetMove(entry->mutable_drop_copy());
               SetChunk(entry->mutable_drop_copy(), copy);
             })
      .has_value();
}

bool PowerMover::Clean() {
  Enter(MoveStage::kClean);
  return Drop(source(), source_copy_);
}

// The token of the record grows first: a request that bears it proves the end of the attempt.
bool PowerMover::SendEndAttempt(bool abort) {
  if (fence_) {
    std::lock_guard lock(mutex_);
    token_ = Token(token_.value() + 1);
  }
  target()->imports().AttemptEnded({MigrationId(migration_), Attempt(attempt_)}, target_copy_);
  for (PowerShard* shard : {source(), target()}) {
    const auto ended = Log(shard, [&](v1::ShardEntry* entry) {
      v1::EndAttemptEntry* end = entry->mutable_end_attempt();
      SetMove(end);
      SetChunk(end, shard == source() ? source_copy_ : target_copy_);
      end->set_token(token_.value());
      end->set_abort(abort);
    });
    if (!ended) return false;
  }
  fence_.reset();
  return true;
}

bool PowerMover::EndAttempt() {
  Enter(MoveStage::kEndAttempt);
  if (!SendEndAttempt(/*abort=*/false)) return false;
  ++attempts_ended_;
  ++attempt_;
  return true;
}

bool PowerMover::Abort() {
  Enter(MoveStage::kAbort);
  if (!SendEndAttempt(/*abort=*/true) || !Drop(target(), target_copy_)) return false;
  ++aborted_;
  return true;
}

}  // namespace terrane::shard
