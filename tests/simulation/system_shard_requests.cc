// Reads and writes of documents at a replica, as in src/shard/read_path.cc and write_operation.cc.
#include <utility>

#include "rpc/status.h"
#include "shard/convert.h"
#include "simulation/system.h"
#include "simulation/system_shard.h"

namespace terrane::simulation {

using replication::ProposeOutcome;
using replication::ProposeResult;
using shard::Verdict;

struct ShardReplica::WriteOperation {
  WriteRequest request;
  Reply<WriteAnswer> reply;
  std::pair<CopyId, std::string> latch() const { return {request.route.copy, request.key}; }
};

absl::Status ShardReplica::Answer(const Verdict& verdict) {
  switch (verdict.kind) {
    case Verdict::Kind::kServe:
      return absl::OkStatus();
    case Verdict::Kind::kServeByProof:
      world().Probe("served by proof");
      return absl::OkStatus();
    case Verdict::Kind::kFenced:
      world().Probe("request refused by a fence");
      break;
    case Verdict::Kind::kStaleRoute:
      world().Probe("stale route");
      break;
    case Verdict::Kind::kAhead:
      world().Probe("request ahead of its shard");
      PokeOutcomeWatch();
      break;
  }
  absl::Status status = ToStatus(verdict, shard());
  if (world().tracing()) world().Trace(StrCat(name(), " refuses: ", status.ToString()));
  return status;
}

namespace {

shard::RequestRoute RouteOf(const auto& request) {
  return {request.collection, request.route.copy, request.route.token};
}

std::string AfterImage(const WriteRequest& request, const std::optional<std::string>& old) {
  std::string value(8, '\0');
  for (int i = 0; i < 8; ++i) value[i] = static_cast<char>(request.value >> (8 * i));
  return request.kind == WriteRequest::Kind::kAppend ? old.value_or("") + value : value;
}

}  // namespace

void ShardReplica::Write(const WriteRequest& request, Reply<WriteAnswer> reply) {
  if (!Serving()) return reply(NotLeading());
  const Verdict verdict = applier_->View()->CheckKey(RouteOf(request), request.key, /*write=*/true);
  if (absl::Status status = Answer(verdict); !status.ok()) return reply(status);
  auto operation = std::make_shared<WriteOperation>(WriteOperation{request, std::move(reply)});
  auto& waiting = latches_[operation->latch()];
  waiting.push_back(operation);
  if (waiting.size() == 1) Latched(operation);
}

void ShardReplica::Unlatch(const std::pair<CopyId, std::string>& latch) {
  auto found = latches_.find(latch);
  found->second.pop_front();
  if (found->second.empty()) {
    latches_.erase(found);
    return;
  }
  After(Time(0), [this, next = found->second.front()] { Latched(next); });
}

void ShardReplica::Latched(const std::shared_ptr<WriteOperation>& operation) {
  const WriteRequest& request = operation->request;
  auto finish = [this, operation](absl::StatusOr<WriteAnswer> answer) {
    Unlatch(operation->latch());
    operation->reply(std::move(answer));
  };
  if (!Serving()) return finish(NotLeading());
  const Term term = this->term();
  auto view = store_.View(request.route.copy);
  if (!view.ok()) {
    const Verdict verdict = applier_->View()->CheckKey(RouteOf(request), request.key, /*write=*/true);
    const absl::Status status = Answer(verdict);
    return finish(status.ok() ? Unavailable("the copy is being removed") : status);
  }
  const auto record =
      (*view)->GetRetry(request.route.copy, request.key, kDocumentId, request.session, request.statement);
  if (record.ok() && *record) {
    world().Probe("a retry found its record");
    return finish(WriteAnswer{.repeated = true, .document = ""});
  }
  const auto old = (*view)->GetDocument(request.route.copy, request.key, kDocumentId);
  v1::ShardEntry entry;
  v1::WriteEntry* write = entry.mutable_write();
  write->set_collection_id(request.collection.value());
  write->set_copy_id(request.route.copy.value());
  write->set_token(request.route.token.value());
  v1::Change* change = write->add_changes();
  change->set_shard_key(request.key);
  change->set_id(std::string(kDocumentId));
  v1::RetryRecord retry;
  retry.mutable_id()->set_session(request.session);
  retry.mutable_id()->set_statement(request.statement);
  retry.set_expires_ms((Wall() + std::chrono::minutes(30)).count());
  WriteAnswer answer;
  if (request.kind == WriteRequest::Kind::kDelete) {
    // With neither a document nor a deletion the change is about the retry record alone.
    if (*old) change->set_deleted(true);
    retry.set_deleted(*old ? 1 : 0);
  } else {
    answer.document = AfterImage(request, *old);
    change->set_document(answer.document);
    retry.set_modified(1);
  }
  change->set_retry(retry.SerializeAsString());
  // The proposal waits in a queue, sometimes for long: its leader may lose office and come back meanwhile.
  const Time wait = SlowProposal();
  auto propose = [this, term, entry = std::move(entry), answer = std::move(answer), finish]() mutable {
    entry.set_hybrid_time(hybrid_->Next());
    Propose(term, entry.SerializeAsString(), [this, answer, finish](ProposeResult result) {
      const absl::Status status = StatusOf(result);
      if (result.outcome == ProposeOutcome::kApplied && !status.ok()) world().Probe("write refused at apply");
      finish(status.ok() ? absl::StatusOr<WriteAnswer>(answer) : status);
    });
  };
  wait == Time(0) ? propose() : After(wait, propose);
}

// The order of a read: reference and ownership, lease, snapshot, answer. A thread may be stopped anywhere between.
void ShardReplica::Read(const ReadRequest& request, Reply<ReadAnswer> reply) {
  if (!Serving()) return reply(NotLeading());
  const Term term = this->term();
  auto references = store_.Reference(request.route.copy);
  const Verdict verdict = applier_->View()->CheckKey(RouteOf(request), request.key, /*write=*/false);
  if (absl::Status status = Answer(verdict); !status.ok()) return reply(status);
  if (!references.ok()) return reply(Unavailable("the copy is being removed"));
  auto held = std::make_shared<storage::CopyReferences>(*std::move(references));
  auto answer = [this, request, held, reply] {
    auto document = store_.View(std::move(*held))->GetDocument(request.route.copy, request.key, kDocumentId);
    if (!document.ok()) return reply(document.status());
    reply(ReadAnswer{*std::move(document)});
  };
  auto go_on = [this, term, request, answer, reply] {
    if (HasLease() && this->term() == term) {
      world().Probe("read under the lease");
      return answer();
    }
    world().Probe("read by read index");
    ReadIndex([this, request, answer, reply](absl::Status status) {
      if (!status.ok()) return reply(status);
      // Fences that others have acknowledged before are applied here only now.
      const Verdict again = applier_->View()->CheckKey(RouteOf(request), request.key, /*write=*/false);
      status = Answer(again);
      status.ok() ? answer() : reply(status);
    });
  };
  world().Chance(900) ? go_on() : After(world().Between(50us, 20ms), go_on);
}

}  // namespace terrane::simulation
