#include "proxy/insert_statement.h"

#include <xxhash.h>

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "document/builder.h"
#include "document/extended_json.h"
#include "document/limits.h"
#include "document/object_id.h"
#include "document/validate.h"
#include "proxy/router.h"
#include "rpc/status.h"

namespace terrane::proxy {
namespace {

using InsertCall = ShardCall<v1::ShardInsertRequest, v1::ShardInsertResponse>;

// A group is one log entry at the shard.
constexpr size_t kGroupBytes = 4 << 20;
constexpr size_t kGroupDocuments = 1000;

struct Document {
  int index;  // in the request
  std::string shard_key;
  std::string id;
  std::string bson;
};

class InsertStatement : public std::enable_shared_from_this<InsertStatement> {
 public:
  InsertStatement(StatementContext context, const v1::InsertRequest& request, v1::InsertResponse* response,
                  std::function<void(absl::Status)> done)
      : context_(std::move(context)), request_(request), response_(response), done_(std::move(done)) {}

  void Run() {
    if (request_.documents().empty()) return done_(InvalidArgument("no documents to insert"));
    if (absl::Status bad = CheckDurable(request_.durable()); !bad.ok()) return done_(bad);
    if (request_.has_retry()) {
      if (absl::Status bad = CheckRetryId(request_.retry()); !bad.ok()) return done_(bad);
      retry_ = request_.retry();
    } else {
      retry_ = context_.environment->session->Take(request_.documents_size());
    }
    results_.resize(request_.documents_size());
    ids_.resize(request_.documents_size());
    std::vector<Document> documents;
    for (int i = 0; i < request_.documents_size(); ++i) {
      Document document{i, {}, {}, {}};
      results_[i] = Prepare(i, &document);
      if (results_[i].ok()) documents.push_back(std::move(document));
    }
    outstanding_ = 1;  // this function
    Send(std::move(documents));
    GroupEnded();
  }

 private:
  absl::Status Prepare(int index, Document* document) {
    auto bson = ToBson(request_.format(), request_.documents(index), "document", v1::ErrorDetail::BAD_DOCUMENT);
    if (!bson.ok()) return bson.status();
    if (absl::Status bad = document::ValidateDocument(*bson); !bad.ok()) {
      return rpc::WithReason(bad, bson->size() > document::kMaxDocumentBytes ? v1::ErrorDetail::DOCUMENT_TOO_LARGE
                                                                             : v1::ErrorDetail::BAD_DOCUMENT);
    }
    if (!document::FindDirect(*bson, "_id") && request_.has_retry()) {
      v1::RetryId retry = retry_;
      retry.set_statement(retry_.statement() + index);
      document::Builder with_id;
      with_id.Append("_id", document::Value::ObjectId(ObjectIdOf(retry)));
      for (const document::Field& field : document::Fields(*bson)) with_id.AppendElement(field.element);
      document->bson = with_id.Finish();
    } else {
      document->bson = document::WithId(*bson);
    }
    if (document->bson.size() > document::kMaxDocumentBytes) {
      return rpc::WithReason(InvalidArgument("the document has ", document->bson.size(),
                                             " bytes with its _id; the limit is ", document::kMaxDocumentBytes),
                             v1::ErrorDetail::DOCUMENT_TOO_LARGE);
    }
    auto shard_key = context_.collection->pattern.EncodeFromDocument(document->bson);
    if (!shard_key.ok()) return rpc::WithReason(shard_key.status(), v1::ErrorDetail::SHARD_KEY_MISSING);
    auto id = document::EncodeIdFromDocument(document->bson);
    if (!id.ok()) return rpc::WithReason(id.status(), v1::ErrorDetail::BAD_DOCUMENT);
    document->shard_key = *std::move(shard_key);
    document->id = *std::move(id);
    ids_[index] = document::Builder().Append("_id", *document::FindDirect(document->bson, "_id")).Finish();
    return absl::OkStatus();
  }

  // Groups by the chunks of the present map. A key that nobody is known to own goes alone: its call finds out.
  void Send(std::vector<Document> documents) {
    const auto map = context_.environment->calls->table->Get();
    struct Group {
      std::vector<Document> documents;
      size_t bytes = 0;
    };
    std::map<std::string, Group> groups;  // by the minimum of the chunk
    for (Document& document : documents) {
      const routing::ChunkRoute* route = map->Find(context_.collection->id, document.shard_key);
      if (route == nullptr) {
        SendGroup({std::move(document)});
        continue;
      }
      Group& group = groups[route->range.min];
      if (!group.documents.empty() &&
          (group.documents.size() >= kGroupDocuments || group.bytes + document.bson.size() > kGroupBytes)) {
        SendGroup(std::exchange(group.documents, {}));
        group.bytes = 0;
      }
      group.bytes += document.bson.size();
      group.documents.push_back(std::move(document));
    }
    for (auto& [min, group] : groups) SendGroup(std::move(group.documents));
  }

  void SendGroup(std::vector<Document> group) {
    {
      std::lock_guard lock(mutex_);
      ++outstanding_;
    }
    auto call = std::make_shared<InsertCall>(context_.environment->calls, context_.Scope(), group[0].shard_key,
                                             /*write=*/true, kInsert);
    *call->request.mutable_retry() = retry_;
    call->request.mutable_retry()->set_statement(retry_.statement() + group[0].index);
    call->request.set_durable(request_.durable());
    std::vector<int> indexes;
    for (Document& document : group) {
      indexes.push_back(document.index);
      call->request.add_statements(retry_.statement() + document.index);
      v1::Change* change = call->request.add_documents();
      *change->mutable_shard_key() = std::move(document.shard_key);
      *change->mutable_id() = std::move(document.id);
      *change->mutable_document() = std::move(document.bson);
    }
    call->fits = [request = &call->request](const routing::ChunkRoute& route) {
      for (const v1::Change& change : request->documents()) {
        if (!route.range.Contains(change.shard_key())) return false;
      }
      return true;
    };
    call->then = [self = shared_from_this(), indexes = std::move(indexes)](CallEnd end, const absl::Status& status,
                                                                           InsertCall& call) {
      if (end == CallEnd::kReplan) {
        self->Send(TakeBack(call.request, indexes));
      } else {
        self->Record(indexes, status, call.response);
      }
      self->GroupEnded();
    };
    call->Start();
  }

  static std::vector<Document> TakeBack(v1::ShardInsertRequest& request, const std::vector<int>& indexes) {
    std::vector<Document> documents;
    for (size_t i = 0; i < indexes.size(); ++i) {
      v1::Change& change = *request.mutable_documents(i);
      documents.push_back({indexes[i], std::move(*change.mutable_shard_key()), std::move(*change.mutable_id()),
                           std::move(*change.mutable_document())});
    }
    return documents;
  }

  void Record(const std::vector<int>& indexes, const absl::Status& status, const v1::ShardInsertResponse& response) {
    std::lock_guard lock(mutex_);
    if (!status.ok()) {
      if (call_error_.ok() || (Again(status) && !Again(call_error_))) call_error_ = status;
      for (int index : indexes) results_[index] = status;
      return;
    }
    for (size_t i = 0; i < indexes.size(); ++i) {
      if (static_cast<int>(i) >= response.outcomes_size()) {
        results_[indexes[i]] = Internal("the shard did not say what became of the document");
        continue;
      }
      const v1::WriteOutcome& outcome = response.outcomes(i);
      if (outcome.code() == 0) continue;
      absl::Status error(static_cast<absl::StatusCode>(outcome.code()), ToAbsl(outcome.message()));
      results_[indexes[i]] = outcome.has_detail() ? rpc::WithDetail(error, outcome.detail()) : error;
    }
  }

  // Whether the client is to send the whole statement again.
  bool Again(const absl::Status& status) const {
    return request_.has_retry() && (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status));
  }

  void GroupEnded() {
    {
      std::lock_guard lock(mutex_);
      if (--outstanding_ > 0) return;
    }
    int failed = 0;
    for (int i = 0; i < request_.documents_size(); ++i) {
      if (results_[i].ok()) {
        *response_->add_ids() =
            request_.format() == v1::EXTENDED_JSON ? document::ToRelaxedJson(ids_[i]) : std::move(ids_[i]);
        continue;
      }
      ++failed;
      v1::WriteError* error = response_->add_errors();
      error->set_index(i);
      error->set_code(static_cast<int>(results_[i].code()));
      error->set_message(std::string(MessageOf(results_[i])));
      if (auto detail = rpc::DetailOf(results_[i])) *error->mutable_detail() = *detail;
    }
    response_->set_inserted(request_.documents_size() - failed);
    if (!call_error_.ok() && (Again(call_error_) || failed == request_.documents_size())) return done_(call_error_);
    done_(absl::OkStatus());
  }

  const StatementContext context_;
  const v1::InsertRequest& request_;
  v1::InsertResponse* const response_;
  const std::function<void(absl::Status)> done_;
  v1::RetryId retry_;             // of the first document
  std::vector<std::string> ids_;  // BSON {_id: ..}

  std::mutex mutex_;
  std::vector<absl::Status> results_;  // by index
  absl::Status call_error_;  // that is no document's own: the first one to send Again after, else the first one
  int outstanding_ = 0;
};

}  // namespace

void RunInsert(StatementContext context, const v1::InsertRequest& request, v1::InsertResponse* response,
               std::function<void(absl::Status)> done) {
  std::make_shared<InsertStatement>(std::move(context), request, response, std::move(done))->Run();
}

std::string ObjectIdOf(const v1::RetryId& retry) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(retry.session().data(), retry.session().size(), retry.statement());
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  return std::string(reinterpret_cast<const char*>(canonical.digest), 12);
}

absl::Status CheckRetryId(const v1::RetryId& retry) {
  if (retry.session().size() != 16) {
    return InvalidArgument("retry.session has ", retry.session().size(), " bytes; expected 16 random ones");
  }
  if (retry.statement() < 0) return InvalidArgument("retry.statement is negative");
  return absl::OkStatus();
}

}  // namespace terrane::proxy
