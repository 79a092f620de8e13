#include "shard/proposer.h"

#include <condition_variable>
#include <memory>
#include <optional>
#include <utility>

#include "common/status.h"
#include "rpc/status.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
using replication::ProposeOutcome;
using replication::ProposeResult;

namespace {

// Field 1, a varint, behind everything else: protobuf takes fields in any order, and the rest can be serialized outside
// of the lock.
void AppendHybridTime(uint64_t time, std::string* bytes) {
  bytes->push_back(0x08);
  while (time >= 0x80) {
    bytes->push_back(static_cast<char>(time | 0x80));
    time >>= 7;
  }
  bytes->push_back(static_cast<char>(time));
}

}  // namespace

absl::StatusOr<Term> Proposer::ServingTerm() const {
  if (const replication::ReplicatedLog* opened = log(); opened != nullptr && admitted_) {
    const replication::LeaderState leader = opened->Leader();
    if (leader.is_leader && leader.ready_to_serve) return leader.term;
  }
  return rpc::NotLeader(leader_endpoint_ ? leader_endpoint_() : "");
}

void Proposer::Propose(Term term, v1::ShardEntry entry, std::function<void(ProposeResult)> done,
                       std::function<void()> synced) {
  entry.clear_hybrid_time();
  std::string bytes;
  bytes.reserve(entry.ByteSizeLong() + 12);
  entry.AppendToString(&bytes);
  const bool changes_gate = !entry.has_write() || !Serves(entry.write());
  std::lock_guard lock(order_);
  AppendHybridTime(hybrid_->Next(), &bytes);
  if (changes_gate) {
    ++gate_changes_;
    done = [this, done = std::move(done)](ProposeResult result) {
      --gate_changes_;
      done(std::move(result));
    };
    synced = nullptr;
  } else if (synced && (gate_changes_ > 0 || !Serves(entry.write()))) {
    // In this order: what is not counted any more is in the view.
    synced = nullptr;
  }
  log()->Propose(term, std::move(bytes), std::move(done), std::move(synced));
}

bool Proposer::Serves(const v1::WriteEntry& write) const {
  const std::shared_ptr<const Ownership> ownership = applier_->View();
  const RequestRoute route{CollectionId(write.collection_id()), CopyId(write.copy_id()), Token(write.token())};
  const OwnedChunk* last = nullptr;
  for (const v1::Change& change : write.changes()) {
    if (last != nullptr && last->range.Contains(change.shard_key())) continue;
    if (ownership->CheckKey(route, change.shard_key(), true).kind != Verdict::Kind::kServe) return false;
    last = ownership->At(route.copy, change.shard_key());
  }
  return true;
}

void Proposer::Propose(v1::ShardEntry entry, std::function<void(absl::StatusOr<EntryResult>)> done) {
  const auto term = ServingTerm();
  if (!term.ok()) return done(term.status());
  Propose(*term, std::move(entry), [this, done = std::move(done)](ProposeResult result) {
    if (const auto* value = std::any_cast<EntryResult>(&result.value)) return done(*value);
    if (absl::Status status = StatusOf(result); !status.ok()) return done(status);
    done(EntryResult{.outcome = Outcome::kApplied, .position = result.position, .digest = {}, .why = {}});
  });
}

absl::StatusOr<EntryResult> Proposer::ProposeAndWait(v1::ShardEntry entry, std::chrono::nanoseconds timeout) {
  struct Waiter {
    std::mutex mutex;
    std::condition_variable wake;
    std::optional<absl::StatusOr<EntryResult>> result;
  };
  auto waiter = std::make_shared<Waiter>();
  Propose(std::move(entry), [waiter](absl::StatusOr<EntryResult> result) {
    std::lock_guard lock(waiter->mutex);
    waiter->result = std::move(result);
    waiter->wake.notify_all();
  });
  std::unique_lock lock(waiter->mutex);
  if (!waiter->wake.wait_for(lock, timeout, [&] { return waiter->result.has_value(); })) {
    return absl::DeadlineExceededError("the entry was not applied in time; it may be later");
  }
  return *waiter->result;
}

// Safe to send again, to whoever leads then; with the reason, which may be that too much waits here.
absl::Status Proposer::NotInLog(const absl::Status& why) const {
  v1::ErrorDetail detail;
  detail.set_reason(v1::ErrorDetail::NOT_LEADER);
  if (leader_endpoint_) detail.set_leader_endpoint(leader_endpoint_());
  return rpc::WithDetail(Unavailable("the write was not taken: ", MessageOf(why)), detail);
}

absl::Status Proposer::StatusOf(const ProposeResult& result) const {
  switch (result.outcome) {
    case ProposeOutcome::kApplied:
      return result.status;
    case ProposeOutcome::kNotInLog:
      if (result.status.code() == absl::StatusCode::kInvalidArgument) return result.status;
      return NotInLog(result.status);
    case ProposeOutcome::kUnknown:
      return rpc::WithReason(Unavailable("the outcome is unknown: ", MessageOf(result.status)),
                             v1::ErrorDetail::OUTCOME_UNKNOWN);
  }
  return Internal("unknown outcome of a proposal");
}

}  // namespace terrane::shard
