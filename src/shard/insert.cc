// Inserts documents of one chunk.
#include <set>

#include "common/status.h"
#include "document/limits.h"
#include "rpc/status.h"
#include "shard/write_operation.h"
#include "shard/write_path.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
using replication::ProposeResult;

namespace {

class InsertOperation : public WriteOperation {
 public:
  InsertOperation(const Core* core, CallState call, const v1::ShardInsertRequest* request,
                  v1::ShardInsertResponse* response, DoneCallback done)
      : WriteOperation(core, std::move(call), &request->route(), std::move(done)),
        request_(*request),
        response_(*response) {}

  void Start() {
    if (absl::Status status = Prepare(); !status.ok()) return Finish(status);
    std::vector<std::string> latches;
    for (const v1::Change& document : request_.documents()) {
      latches.push_back(DocumentLatch(copy(), document.shard_key(), document.id()));
    }
    core_.latches->Acquire(std::move(latches), [self = Self()](Latches::Hold hold) {
      self->hold_ = std::move(hold);
      self->Latched();
    });
  }

 private:
  std::shared_ptr<InsertOperation> Self() { return std::static_pointer_cast<InsertOperation>(shared_from_this()); }

  absl::Status Prepare() {
    if (request_.documents().empty()) return InvalidArgument("there are no documents to insert");
    if (request_.has_retry() && request_.statements_size() != request_.documents_size()) {
      return InvalidArgument("each document needs the number of its statement");
    }
    size_t bytes = 0;
    for (const v1::Change& document : request_.documents()) {
      if (document.document().empty() || document.id().empty()) return InvalidArgument("a document or its id is empty");
      if (document.document().size() > document::kMaxDocumentBytes) {
        return rpc::WithReason(InvalidArgument("a document of ", document.document().size(), " bytes is over 16 MiB"),
                               v1::ErrorDetail::DOCUMENT_TOO_LARGE);
      }
      if (keys_.empty() || keys_.back() != document.shard_key()) keys_.push_back(document.shard_key());
      bytes += document.document().size();
    }
    return Admit(bytes);
  }

  absl::Status CheckOwned() const override { return CheckKeys(core_, route_, keys_, true); }

  void Latched() {
    const auto ground = Stand();
    if (!ground.ok()) return Finish(ground.status());
    std::vector<v1::ShardEntry> entries;
    if (absl::Status status = Decide(*ground->view, &entries); !status.ok()) return Finish(status);
    if (entries.empty()) return Finish(absl::OkStatus());
    Propose(
        ground->term, std::move(entries),
        [self = Self()](std::vector<ProposeResult> results) { self->Applied(results); }, request_.durable());
  }

  // Fills in the outcomes that are known already, and the entries for the others.
  absl::Status Decide(const storage::ReadView& view, std::vector<v1::ShardEntry>* entries) {
    std::set<std::pair<std::string_view, std::string_view>> seen;
    size_t entry_bytes = 0;
    for (int i = 0; i < request_.documents_size(); ++i) {
      const v1::Change& document = request_.documents(i);
      v1::WriteOutcome* outcome = response_.add_outcomes();
      v1::RetryId retry = request_.retry();
      if (request_.has_retry()) {
        retry.set_statement(request_.statements(i));
        TERRANE_ASSIGN_OR_RETURN(const auto record,
                                 FindRecord(view, copy(), document.shard_key(), document.id(), retry));
        if (record) {
          outcome->set_repeated(true);
          continue;
        }
      }
      TERRANE_ASSIGN_OR_RETURN(const auto there, view.GetDocument(copy(), document.shard_key(), document.id()));
      if (there || !seen.emplace(document.shard_key(), document.id()).second) {
        outcome->set_code(static_cast<int32_t>(absl::StatusCode::kAlreadyExists));
        outcome->set_message("a document with this _id under this shard key is there already");
        outcome->mutable_detail()->set_reason(v1::ErrorDetail::DUPLICATE_KEY);
        continue;
      }
      if (entries->empty() || entry_bytes + document.document().size() > kMaxEntryBytes) {
        entries->push_back(NewEntry());
        entry_of_.emplace_back();
        entry_bytes = 0;
      }
      v1::Change* change = entries->back().mutable_write()->add_changes();
      change->set_shard_key(document.shard_key());
      change->set_id(document.id());
      change->set_document(document.document());
      if (request_.has_retry()) {
        v1::RetryRecord counts;
        counts.set_inserted(1);
        change->set_retry(NewRetry(retry, std::move(counts)));
      }
      entry_bytes += document.document().size();
      entry_of_.back().push_back(i);
    }
    return absl::OkStatus();
  }

  void Applied(const std::vector<ProposeResult>& results) {
    bool any = false;
    absl::Status first;
    for (size_t i = 0; i < results.size(); ++i) {
      const absl::Status status = core_.proposer->StatusOf(results[i]);
      any = any || status.ok();
      if (status.ok()) continue;
      if (first.ok()) first = status;
      for (int document : entry_of_[i]) {
        v1::WriteOutcome* outcome = response_.mutable_outcomes(document);
        outcome->set_code(static_cast<int32_t>(status.code()));
        outcome->set_message(std::string(MessageOf(status)));
        if (auto detail = rpc::DetailOf(status)) *outcome->mutable_detail() = *std::move(detail);
      }
    }
    // An error of the call says that nothing happened, or may have; a part that did is told document by document.
    Finish(any ? absl::OkStatus() : first);
  }

  const v1::ShardInsertRequest& request_;
  v1::ShardInsertResponse& response_;
  std::vector<std::string_view> keys_;      // of the documents
  std::vector<std::vector<int>> entry_of_;  // per entry the documents in it
};

}  // namespace

void WritePath::Insert(CallState call, const v1::ShardInsertRequest* request, v1::ShardInsertResponse* response,
                       DoneCallback done) {
  std::make_shared<InsertOperation>(core_, std::move(call), request, response, std::move(done))->Start();
}

}  // namespace terrane::shard
