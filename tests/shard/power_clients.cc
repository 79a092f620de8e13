#include "power_clients.h"

#include <future>
#include <memory>

#include "common/status.h"
#include "document/builder.h"
#include "document/extended_json.h"
#include "document/key_encoding.h"
#include "document/shard_key.h"
#include "rpc/status.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

constexpr int kDocuments = 90;  // ids that a client uses; two thirds of them at the beginning

using document::Builder;
using document::Value;

// Starts an operation of the read or write path and waits for its end.
absl::Status Wait(const std::function<void(DoneCallback)>& start) {
  auto promise = std::make_shared<std::promise<absl::Status>>();
  start([promise](absl::Status status) { promise->set_value(std::move(status)); });
  return promise->get_future().get();
}

std::string Short(const std::optional<std::string>& document) {
  return document ? document::ToRelaxedJson(*document).substr(0, 60) : "nothing";
}

}  // namespace

PowerClient::PowerClient(int number, uint64_t seed, PowerWorld* world, PowerMover* mover)
    : number_(number), session_(16, static_cast<char>('A' + number)), world_(world), mover_(mover), random_(seed) {}

std::string PowerClient::Name(int id) const {
  return StrCat("c", number_, "-", id);
}

std::string PowerClient::ShardKey(int id) const {
  std::string key;
  document::AppendKey(Value::String(Name(id)), &key);
  return key;
}

std::string PowerClient::MakeDocument(int id, int n, std::string_view payload) const {
  return Builder().Append("_id", id).Append("k", Name(id)).Append("n", n).Append("p", payload).Finish();
}

std::string PowerClient::Payload() {
  return std::string(100 + random_() % 900, static_cast<char>('a' + random_() % 26));
}

v1::RetryId PowerClient::Retry(int64_t statement) const {
  v1::RetryId retry;
  retry.set_session(session_);
  retry.set_statement(statement);
  return retry;
}

bool PowerClient::Fill() {
  for (int id = 0; id < kDocuments * 2 / 3; ++id) {
    Operation operation;
    operation.id = id;
    operation.after = MakeDocument(id, 0, Payload());
    bool repeated = false;
    if (Send(operation, &repeated) != Sent::kDone) return false;
    Acknowledged(operation, repeated);
  }
  return true;
}

void PowerClient::Run() {
  while (world_->gate.Pass()) {
    const uint64_t choice = random_() % 20;
    if (choice < 3) {
      Read(static_cast<int>(random_() % kDocuments));
    } else if (choice == 3 && !recent_.empty()) {
      // The answer was lost, as far as this client knows.
      Operation again = recent_[random_() % recent_.size()];
      again.must_repeat = true;
      Execute(std::move(again));
    } else {
      Execute(Choose());
    }
    // The moves are to get on, too.
    if (!world_->gate.Again()) break;
  }
  world_->gate.Leave();
}

PowerClient::Operation PowerClient::Choose() {
  Operation operation;
  operation.id = static_cast<int>(random_() % kDocuments);
  if (random_() % 3 != 0) operation.statement = next_statement_++;
  auto found = documents_.find(operation.id);
  if (found == documents_.end()) {
    operation.kind = Operation::Kind::kInsert;
    operation.after = MakeDocument(operation.id, 0, Payload());
    return operation;
  }
  operation.before = found->second;
  if (random_() % 5 == 0) {
    operation.kind = Operation::Kind::kDelete;
    return operation;
  }
  operation.kind = Operation::Kind::kUpdate;
  const std::string payload = Payload();
  operation.update =
      Builder().Append("$inc", Builder().Append("n", 1)).Append("$set", Builder().Append("p", payload)).Finish();
  const int n = document::FindDirect(found->second, "n")->AsInt32();
  operation.after = MakeDocument(operation.id, n + 1, payload);
  return operation;
}

void PowerClient::Execute(Operation operation) {
  pending_ = std::move(operation);
  is_pending_ = true;
  while (true) {
    bool repeated = false;
    const Sent sent = Send(pending_, &repeated);
    if (sent == Sent::kDone) {
      Acknowledged(pending_, repeated);
      is_pending_ = false;
      return;
    }
    if (sent == Sent::kUnknown) {
      pending_.unknown = true;
      pending_.took_effect.reset();
    }
    if (!world_->gate.Again()) return;
    if (!pending_.unknown || pending_.statement) continue;
    // Must not be sent again: it is as the check has found it.
    if (!pending_.took_effect) {
      Wrong(pending_, "its outcome is unknown, though the power was not cut");
      return;
    }
    is_pending_ = false;
    return;
  }
}

PowerClient::Sent PowerClient::Send(const Operation& operation, bool* repeated) {
  const PowerMover::Owner owner = mover_->owner();
  return operation.kind == Operation::Kind::kInsert ? Insert(operation, owner, repeated)
                                                    : Modify(operation, owner, repeated);
}

PowerClient::Sent PowerClient::Insert(const Operation& operation, const PowerMover::Owner& owner, bool* repeated) {
  v1::ShardInsertRequest request;
  *request.mutable_route() = owner.route;
  v1::Change* change = request.add_documents();
  change->set_shard_key(ShardKey(operation.id));
  change->set_id(document::EncodeId(Value::Int32(operation.id)));
  change->set_document(*operation.after);
  if (operation.statement) {
    *request.mutable_retry() = Retry(*operation.statement);
    request.add_statements(*operation.statement);
  }
  v1::ShardInsertResponse response;
  const absl::Status status =
      Wait([&](DoneCallback done) { owner.shard->host().writes().Insert({}, &request, &response, std::move(done)); });
  if (!status.ok()) return Classify(status, operation);
  if (response.outcomes(0).code() != 0) Wrong(operation, StrCat("it was told: ", response.outcomes(0).message()));
  *repeated = response.outcomes(0).repeated();
  return Sent::kDone;
}

PowerClient::Sent PowerClient::Modify(const Operation& operation, const PowerMover::Owner& owner, bool* repeated) {
  v1::ShardModifyRequest request;
  *request.mutable_route() = owner.route;
  request.mutable_key()->set_shard_key(ShardKey(operation.id));
  request.mutable_key()->set_id(document::EncodeId(Value::Int32(operation.id)));
  const bool deletes = operation.kind == Operation::Kind::kDelete;
  request.set_kind(deletes ? v1::ShardModifyRequest::DELETE : v1::ShardModifyRequest::UPDATE);
  request.set_update(operation.update);
  if (operation.statement) *request.mutable_retry() = Retry(*operation.statement);
  v1::ShardModifyResponse response;
  const absl::Status status =
      Wait([&](DoneCallback done) { owner.shard->host().writes().Modify({}, &request, &response, std::move(done)); });
  if (!status.ok()) return Classify(status, operation);
  if ((deletes ? response.deleted() : response.modified()) != 1) {
    Wrong(operation, StrCat("it was told: ", response.ShortDebugString()));
  }
  *repeated = response.repeated();
  return Sent::kDone;
}

PowerClient::Sent PowerClient::Classify(const absl::Status& status, const Operation& operation) {
  switch (rpc::ReasonOf(status)) {
    case v1::ErrorDetail::OUTCOME_UNKNOWN:
      return Sent::kUnknown;
    case v1::ErrorDetail::STALE_ROUTE:
    case v1::ErrorDetail::CHUNK_FENCED:
    case v1::ErrorDetail::ROUTE_AHEAD:
    case v1::ErrorDetail::NOT_LEADER:
      return Sent::kRefused;
    default:
      // The copy goes while the operation looks at it.
      if (!absl::IsUnavailable(status)) Wrong(operation, status.ToString());
      return Sent::kRefused;
  }
}

void PowerClient::Acknowledged(const Operation& operation, bool repeated) {
  ++acknowledged_;
  if (repeated) ++repeated_;
  if (operation.must_repeat) {
    if (!repeated) Wrong(operation, "it was acknowledged, and took effect again when it was repeated");
    return;
  }
  if (repeated && !operation.unknown) Wrong(operation, "it is called a repetition and is none");
  // What the check has seen on disk is what the answer must be.
  if (operation.took_effect && repeated != *operation.took_effect) {
    Wrong(operation, repeated ? "it is called a repetition and had not taken effect" : "it took effect twice");
  }
  if (operation.after) {
    documents_[operation.id] = *operation.after;
  } else {
    documents_.erase(operation.id);
  }
  if (!operation.statement) return;
  if (recent_.size() >= 20) recent_.erase(recent_.begin());
  recent_.push_back(operation);
  recent_.back().unknown = false;
  recent_.back().took_effect.reset();
}

void PowerClient::Read(int id) {
  do {
    const PowerMover::Owner owner = mover_->owner();
    v1::ShardGetRequest request;
    *request.mutable_route() = owner.route;
    request.mutable_key()->set_shard_key(ShardKey(id));
    request.mutable_key()->set_id(document::EncodeId(Value::Int32(id)));
    v1::ShardGetResponse response;
    const absl::Status status =
        Wait([&](DoneCallback done) { owner.shard->host().reads().Get({}, &request, &response, std::move(done)); });
    Operation read;
    read.id = id;
    if (!status.ok()) {
      Classify(status, read);
      continue;
    }
    const Document found = response.found() ? Document(response.document()) : std::nullopt;
    auto expected = documents_.find(id);
    const Document acknowledged = expected == documents_.end() ? std::nullopt : Document(expected->second);
    if (found != acknowledged) {
      Wrong(read, StrCat("read ", Short(found), " instead of ", Short(acknowledged)));
    }
    return;
  } while (world_->gate.Again());
}

void PowerClient::Check(DocumentsOnDisk* there) {
  for (int id = 0; id < kDocuments; ++id) {
    auto found = there->find({ShardKey(id), document::EncodeId(Value::Int32(id))});
    const Document on_disk = found == there->end() ? std::nullopt : Document(found->second);
    if (found != there->end()) there->erase(found);
    auto expected = documents_.find(id);
    const Document acknowledged = expected == documents_.end() ? std::nullopt : Document(expected->second);
    const bool open = is_pending_ && pending_.id == id && pending_.unknown && !pending_.must_repeat;
    if (open && (on_disk == pending_.before || on_disk == pending_.after)) {
      pending_.took_effect = on_disk == pending_.after;
      if (!pending_.statement && on_disk != acknowledged) {
        if (on_disk) {
          documents_[id] = *on_disk;
        } else {
          documents_.erase(id);
        }
      }
      continue;
    }
    if (on_disk == acknowledged) continue;
    world_->findings.Add(
        StrCat("document ", Name(id), ": acknowledged was ", Short(acknowledged), ", on disk is ", Short(on_disk)));
  }
}

void PowerClient::Wrong(const Operation& operation, std::string_view what) {
  world_->findings.Add(StrCat("an operation on ", Name(operation.id), ": ", what));
}

}  // namespace terrane::shard
