// Changes, replaces, deletes or upserts one document.
#include <optional>

#include "common/status.h"
#include "document/builder.h"
#include "rpc/status.h"
#include "shard/write_operation.h"
#include "shard/write_path.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
using replication::ProposeResult;

namespace {

constexpr int kMaxSelections = 32;
constexpr int kCheckEvery = 256;  // documents

class ModifyOperation : public WriteOperation {
 public:
  ModifyOperation(const Core* core, CallState call, const v1::ShardModifyRequest* request,
                  v1::ShardModifyResponse* response, DoneCallback done)
      : WriteOperation(core, std::move(call), &request->route(), std::move(done)),
        request_(*request),
        response_(*response),
        shard_key_(request->key().shard_key()),
        id_(request->key().id()) {}

  void Start() {
    const size_t bytes = request_.kind() == v1::ShardModifyRequest::DELETE ? 0 : request_.update().size() + 1;
    if (absl::Status status = Admit(bytes); !status.ok()) return Finish(status);
    auto modification = Modification::Parse(core_, copy(), request_.kind(), request_.filter(), request_.update());
    if (!modification.ok()) return Finish(modification.status());
    modification_ = *std::move(modification);
    if (!id_.empty()) return LatchDocument();
    // The document is not named. A retry must find what the first one has chosen, so they choose one after the other
    // (trap T67).
    core_.latches->Acquire({SelectionLatch(copy(), shard_key_)}, [self = Self()](Latches::Hold hold) {
      self->selection_ = std::move(hold);
      self->AfterEarlyWrites([self] { self->Select(); });
    });
  }

 private:
  absl::Status CheckOwned() const override { return CheckKeys(core_, route_, {&shard_key_, 1}, true); }

  std::shared_ptr<ModifyOperation> Self() { return std::static_pointer_cast<ModifyOperation>(shared_from_this()); }

  void Select() {
    if (absl::Status status = TrySelect(); !status.ok()) return End(status);
    if (!id_.empty()) LatchDocument();
  }

  // Sets id_, or ends the operation.
  absl::Status TrySelect() {
    if (++selections_ > kMaxSelections) return Unavailable("the documents under this shard key change too fast");
    TERRANE_ASSIGN_OR_RETURN(const Ground ground, Stand());
    if (request_.has_retry()) {
      const CopyId copies[] = {copy()};
      TERRANE_ASSIGN_OR_RETURN(
          const auto records, ground.view->FindRetry(copies, request_.retry().session(), request_.retry().statement()));
      for (const storage::FoundRetry& found : records) {
        v1::RetryRecord record;
        if (found.shard_key != shard_key_ || !record.ParseFromString(found.record)) continue;
        Repeat(record);
        End(absl::OkStatus());
        return absl::OkStatus();
      }
    }
    auto cursor = ground.view->Documents(copy(), RangeOfKey(shard_key_));
    for (int visited = 1; cursor->Valid(); cursor->Next(), ++visited) {
      if (visited % kCheckEvery == 0) TERRANE_RETURN_IF_ERROR(call_.Check(*core_.clock));
      if (!modification_.Matches(cursor->document())) continue;
      id_ = std::string(cursor->id());
      return absl::OkStatus();
    }
    TERRANE_RETURN_IF_ERROR(cursor->status());
    if (!Upserts()) {
      End(absl::OkStatus());
      return absl::OkStatus();
    }
    TERRANE_ASSIGN_OR_RETURN(upsert_, modification_.Upsert(shard_key_, core_.clock->Wall().count()));
    TERRANE_ASSIGN_OR_RETURN(id_, document::EncodeIdFromDocument(*upsert_));
    return absl::OkStatus();
  }

  void LatchDocument() {
    core_.latches->Acquire({DocumentLatch(copy(), shard_key_, id_)}, [self = Self()](Latches::Hold hold) {
      self->hold_ = std::move(hold);
      self->Latched();
    });
  }

  void Latched() {
    const auto ground = Stand();
    if (!ground.ok()) return End(ground.status());
    auto change = Decide(*ground->view);
    if (!change.ok()) return End(change.status());
    if (choose_again_) {
      choose_again_ = false;
      id_.clear();
      upsert_.reset();
      hold_.Release();
      return Select();
    }
    if (!*change) return End(absl::OkStatus());
    std::vector<v1::ShardEntry> entries;
    entries.push_back(NewEntry());
    *entries.back().mutable_write()->add_changes() = **std::move(change);
    auto then = [self = Self()](std::vector<ProposeResult> results) {
      absl::Status status = self->core_.proposer->StatusOf(results[0]);
      if (!status.ok()) self->response_.Clear();
      self->End(std::move(status));
    };
    Propose(ground->term, std::move(entries), std::move(then), request_.durable());
  }

  // What the log is to hold, or nothing; fills in the response either way.
  absl::StatusOr<std::optional<v1::Change>> Decide(const storage::ReadView& view) {
    if (request_.has_retry()) {
      TERRANE_ASSIGN_OR_RETURN(const auto record, FindRecord(view, copy(), shard_key_, id_, request_.retry()));
      if (record) {
        Repeat(*record);
        return std::nullopt;
      }
    }
    TERRANE_ASSIGN_OR_RETURN(const auto old, view.GetDocument(copy(), shard_key_, id_));
    v1::Change change;
    change.set_shard_key(std::string(shard_key_));
    change.set_id(id_);
    v1::RetryRecord counts;
    if (old && !upsert_ && modification_.Matches(*old)) {
      TERRANE_RETURN_IF_ERROR(Change(*old, &change, &counts));
    } else if (request_.key().id().empty() && (!upsert_ || (old && modification_.Matches(*old)))) {
      choose_again_ = true;  // somebody was faster
      return std::nullopt;
    } else if (Upserts()) {
      TERRANE_RETURN_IF_ERROR(Upsert(old.has_value(), &change, &counts));
    } else {
      return std::nullopt;
    }
    const bool nothing = change.document().empty() && !change.deleted();
    if (nothing && !request_.has_retry()) return std::nullopt;
    if (request_.has_retry()) change.set_retry(NewRetry(request_.retry(), std::move(counts)));
    return change;
  }

  absl::Status Change(std::string_view old, v1::Change* change, v1::RetryRecord* counts) {
    counts->set_matched(1);
    if (modification_.deletes()) {
      change->set_deleted(true);
      counts->set_deleted(1);
    } else {
      TERRANE_ASSIGN_OR_RETURN(std::string changed, modification_.Apply(old, shard_key_, core_.clock->Wall().count()));
      if (changed != old) {
        counts->set_modified(1);
        change->set_document(std::move(changed));
      }
    }
    Answer(*counts);
    return absl::OkStatus();
  }

  absl::Status Upsert(bool id_is_taken, v1::Change* change, v1::RetryRecord* counts) {
    if (!upsert_) {
      TERRANE_ASSIGN_OR_RETURN(upsert_, modification_.Upsert(shard_key_, core_.clock->Wall().count()));
    }
    TERRANE_ASSIGN_OR_RETURN(const std::string id, document::EncodeIdFromDocument(*upsert_));
    if (id != id_) return InvalidArgument("the upserted document has another _id than the request");
    if (id_is_taken) {
      return rpc::WithReason(absl::AlreadyExistsError("a document with this _id is there, but the filter excludes it"),
                             v1::ErrorDetail::DUPLICATE_KEY);
    }
    change->set_document(*upsert_);
    counts->set_inserted(1);
    counts->set_upserted_id(document::Builder().Append("_id", *document::FindDirect(*upsert_, "_id")).Finish());
    Answer(*counts);
    return absl::OkStatus();
  }

  bool Upserts() const { return request_.upsert() && !modification_.deletes(); }

  void Answer(const v1::RetryRecord& counts) {
    response_.set_matched(counts.matched());
    response_.set_modified(counts.modified());
    response_.set_deleted(counts.deleted());
    response_.set_upserted_id(counts.upserted_id());
  }
  void Repeat(const v1::RetryRecord& record) {
    Answer(record);
    response_.set_repeated(true);
  }

  void End(absl::Status status) {
    selection_.Release();
    Finish(std::move(status));
  }

  const v1::ShardModifyRequest& request_;
  v1::ShardModifyResponse& response_;
  const std::string_view shard_key_;
  std::string id_;
  Modification modification_;
  Latches::Hold selection_;
  std::optional<std::string> upsert_;
  int selections_ = 0;
  bool choose_again_ = false;
};

}  // namespace

void WritePath::Modify(CallState call, const v1::ShardModifyRequest* request, v1::ShardModifyResponse* response,
                       DoneCallback done) {
  std::make_shared<ModifyOperation>(core_, std::move(call), request, response, std::move(done))->Start();
}

}  // namespace terrane::shard
