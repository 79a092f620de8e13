#include "shard/write_operation.h"

#include <algorithm>

#include "common/status.h"
#include "document/object_id.h"
#include "rpc/status.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
using replication::ProposeResult;

absl::Status WriteOperation::Admit(size_t bytes) {
  TERRANE_RETURN_IF_ERROR(call_.Check(*core_.clock));
  TERRANE_RETURN_IF_ERROR(core_.proposer->ServingTerm().status());
  core_.counts->writes.fetch_add(1, std::memory_order_relaxed);
  TERRANE_RETURN_IF_ERROR(CheckOwned());
  return CheckSpace(bytes);
}

absl::Status WriteOperation::CheckSpace(size_t bytes) const {
  if (bytes == 0) return absl::OkStatus();
  absl::Status status = core_.store->CheckSpace(bytes);
  if (status.ok()) return status;
  if (core_.hand_on_for_space && core_.hand_on_for_space(bytes)) return rpc::NotLeader("");
  return rpc::WithReason(status, v1::ErrorDetail::DISK_RESERVE);
}

absl::StatusOr<WriteOperation::Ground> WriteOperation::Stand() {
  TERRANE_RETURN_IF_ERROR(call_.Check(*core_.clock));
  TERRANE_ASSIGN_OR_RETURN(const Term term, core_.proposer->ServingTerm());
  auto view = core_.store->View(copy());
  // Whatever was removed since the gate was passed: it says where it went.
  TERRANE_RETURN_IF_ERROR(CheckOwned());
  if (!view.ok()) return Unavailable("the copy is being removed");
  unconfirmed_ = term;
  return Ground{term, *std::move(view)};
}

v1::ShardEntry WriteOperation::NewEntry() const {
  v1::ShardEntry entry;
  v1::WriteEntry* write = entry.mutable_write();
  write->set_collection_id(route_.collection_id());
  write->set_copy_id(route_.copy_id());
  write->set_token(route_.token());
  return entry;
}

void WriteOperation::Propose(Term term, std::vector<v1::ShardEntry> entries,
                             std::function<void(std::vector<ProposeResult>)> then, v1::Durability durable) {
  struct Answers {
    std::vector<ProposeResult> results;
    size_t missing;
    size_t unsynced;  // not known to be on this leader's disk
    std::optional<uint64_t> early;
    std::function<void(std::vector<ProposeResult>)> then;
  };
  auto answers = std::make_shared<Answers>();
  answers->results.resize(entries.size());
  answers->missing = answers->unsynced = entries.size();
  answers->then = std::move(then);
  for (size_t i = 0; i < entries.size(); ++i) {
    // All callbacks come on the apply thread, so nothing needs a lock.
    auto done = [self = shared_from_this(), answers, i](ProposeResult result) {
      if (result.outcome == replication::ProposeOutcome::kApplied) self->unconfirmed_.reset();
      answers->results[i] = std::move(result);
      if (--answers->missing > 0) return;
      if (!answers->early) return answers->then(std::move(answers->results));
      self->hold_.Release();
      self->core_.early_writes->End(*answers->early);
    };
    std::function<void()> synced;
    if (durable == v1::LEADER) {
      synced = [self = shared_from_this(), answers] {
        if (--answers->unsynced > 0) return;
        answers->early = self->core_.early_writes->Begin();
        self->Answer(absl::OkStatus());
      };
    }
    core_.proposer->Propose(term, std::move(entries[i]), std::move(done), std::move(synced));
  }
}

void WriteOperation::AfterEarlyWrites(std::function<void()> then) {
  if (!core_.early_writes->Any()) return then();
  core_.early_writes->WhenEnded([self = shared_from_this(), then = std::move(then)] {
    if (!self->core_.executor->Post(then)) self->Finish(Unavailable("the server is overloaded or stopping"));
  });
}

void WriteOperation::Finish(absl::Status status) {
  hold_.Release();
  // "Try again" needs no proof.
  if (!unconfirmed_ || absl::IsUnavailable(status)) return Answer(std::move(status));
  const Term term = *unconfirmed_;
  replication::ReplicatedLog* log = core_.proposer->log();
  // The lease is asked for after the view was taken: whoever holds it now held the office then.
  if (log->HasLease() && StillLeads(term).ok()) return Answer(std::move(status));
  log->ReadIndex([self = shared_from_this(), term, status = std::move(status)](absl::Status confirmed) {
    // Another leader may have confirmed it, to what is a follower by now.
    if (confirmed.ok()) confirmed = self->StillLeads(term);
    self->Answer(confirmed.ok() ? status : confirmed);
  });
}

absl::Status WriteOperation::StillLeads(Term term) const {
  TERRANE_ASSIGN_OR_RETURN(const Term now, core_.proposer->ServingTerm());
  return now == term ? absl::OkStatus() : Unavailable("the leader changed under the request");
}

std::string WriteOperation::NewRetry(const v1::RetryId& id, v1::RetryRecord counts) const {
  *counts.mutable_id() = id;
  // Other leaders judge by their clocks when it is over: a clock that is behind must not make it shorter (trap T44).
  const WallTime now = std::max(core_.clock->Wall(), core_.proposer->LogWall());
  counts.set_expires_ms((now + core_.retry_lifetime).count());
  return counts.SerializeAsString();
}

absl::StatusOr<std::optional<v1::RetryRecord>> WriteOperation::FindRecord(const storage::ReadView& view, CopyId copy,
                                                                          std::string_view shard_key,
                                                                          std::string_view id,
                                                                          const v1::RetryId& retry) {
  TERRANE_ASSIGN_OR_RETURN(const auto bytes, view.GetRetry(copy, shard_key, id, retry.session(), retry.statement()));
  if (!bytes) return std::nullopt;
  v1::RetryRecord record;
  if (!record.ParseFromString(*bytes)) return DataLoss("a stored retry record is damaged");
  return record;
}

absl::StatusOr<Modification> Modification::Parse(const Core& core, CopyId copy, v1::ShardModifyRequest::Kind kind,
                                                 std::string_view filter, std::string_view update) {
  Modification result;
  result.kind_ = kind;
  if (!filter.empty()) {
    auto parsed = document::Filter::Parse(filter);
    if (!parsed.ok()) return rpc::WithReason(parsed.status(), v1::ErrorDetail::BAD_FILTER);
    result.filter_ = *std::move(parsed);
    result.matches_everything_ = false;
  }
  if (kind == v1::ShardModifyRequest::DELETE) return result;

  auto parsed = document::Update::Parse(update);
  if (!parsed.ok()) return rpc::WithReason(parsed.status(), v1::ErrorDetail::BAD_UPDATE);
  result.update_ = *std::move(parsed);
  const bool replaces = kind == v1::ShardModifyRequest::REPLACE;
  if (result.update_.is_replacement() != replaces) {
    return rpc::WithReason(InvalidArgument(replaces ? "a replacement must not hold update operators"
                                                    : "an update must hold operators, such as $set"),
                           v1::ErrorDetail::BAD_UPDATE);
  }
  const auto ownership = core.applier->View();
  const auto chunks = ownership->OfCopy(copy);
  if (chunks.empty()) return Unavailable("the copy is not here any more");
  if (!chunks.front()->shard_key.empty()) {
    TERRANE_ASSIGN_OR_RETURN(result.pattern_, document::ShardKeyPattern::Parse(chunks.front()->shard_key));
  }
  if (!replaces) {
    result.may_change_shard_key_ = false;
    for (const std::string& path : result.update_.paths()) {
      if (result.pattern_.DependsOn(path)) result.may_change_shard_key_ = true;
    }
  }
  return result;
}

absl::Status Modification::CheckShardKey(std::string_view document, std::string_view shard_key) const {
  const auto encoded = pattern_.EncodeFromDocument(document);
  if (!encoded.ok()) return rpc::WithReason(encoded.status(), v1::ErrorDetail::SHARD_KEY_MISSING);
  if (*encoded == shard_key) return absl::OkStatus();
  return rpc::WithReason(InvalidArgument("an update must not change the value of the shard key ", pattern_.ToString()),
                         v1::ErrorDetail::SHARD_KEY_CHANGED);
}

absl::StatusOr<std::string> Modification::Apply(std::string_view document, std::string_view shard_key,
                                                int64_t wall_ms) const {
  auto changed = update_.Apply(document, wall_ms);
  if (!changed.ok()) return rpc::WithReason(changed.status(), v1::ErrorDetail::BAD_UPDATE);
  if (may_change_shard_key_) {
    absl::Status status = CheckShardKey(*changed, shard_key);
    if (rpc::ReasonOf(status) == v1::ErrorDetail::SHARD_KEY_MISSING) {
      // It was there before.
      return rpc::WithReason(Annotate(status, "an update must not change the shard key"),
                             v1::ErrorDetail::SHARD_KEY_CHANGED);
    }
    TERRANE_RETURN_IF_ERROR(status);
  }
  return changed;
}

absl::StatusOr<std::string> Modification::Upsert(std::string_view shard_key, int64_t wall_ms) const {
  auto made = update_.ApplyAsUpsert(filter_, wall_ms);
  if (!made.ok()) return rpc::WithReason(made.status(), v1::ErrorDetail::BAD_UPDATE);
  std::string document = document::WithId(*made);
  TERRANE_RETURN_IF_ERROR(CheckShardKey(document, shard_key));
  return document;
}

}  // namespace terrane::shard
