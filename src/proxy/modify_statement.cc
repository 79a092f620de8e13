#include "proxy/modify_statement.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "common/status.h"
#include "document/update.h"
#include "document/validate.h"
#include "proxy/page_walk.h"
#include "rpc/status.h"

namespace terrane::proxy {
namespace {

using ModifyCall = ShardCall<v1::ShardModifyRequest, v1::ShardModifyResponse>;
using ModifyWalk = PageWalk<v1::ShardModifyManyRequest, v1::ShardModifyManyResponse>;
using Done = std::function<void(absl::Status, ModifyResult)>;

constexpr int kParallel = 4;

class ModifyStatement : public std::enable_shared_from_this<ModifyStatement> {
 public:
  ModifyStatement(StatementContext context, Modification modification, Done done)
      : context_(std::move(context)), m_(std::move(modification)), done_(std::move(done)) {}

  void Run() {
    if (m_.multi) return ModifyMany();
    if (m_.plan.shard_key) {
      return ModifyOne(*m_.plan.shard_key, m_.plan.id.value_or(""), m_.upsert,
                       [self = shared_from_this()](const absl::Status& status) { self->End(status); });
    }
    ModifyFirst();
  }

 private:
  // Adds to result_.
  void ModifyOne(const std::string& shard_key, const std::string& id, bool upsert,
                 std::function<void(absl::Status)> then) {
    auto call =
        std::make_shared<ModifyCall>(context_.environment->calls, context_.Scope(), shard_key, /*write=*/true, kModify);
    call->request.mutable_key()->set_shard_key(shard_key);
    call->request.mutable_key()->set_id(id);
    call->request.set_kind(m_.kind);
    // An upsert makes its document from the filter.
    call->request.set_filter(upsert ? m_.filter : m_.plan.full_key() ? m_.plan.filter : m_.filter);
    call->request.set_update(m_.update);
    call->request.set_upsert(upsert);
    *call->request.mutable_retry() = m_.retry;
    call->request.set_durable(m_.durable);
    call->then = [self = shared_from_this(), then = std::move(then)](CallEnd, const absl::Status& status,
                                                                     ModifyCall& call) {
      if (status.ok()) {
        self->result_.matched += call.response.matched();
        self->result_.modified += call.response.modified();
        self->result_.deleted += call.response.deleted();
        self->result_.upserted_id = std::move(*call.response.mutable_upserted_id());
      }
      then(status);
    };
    call->Start();
  }

  void ModifyMany() {
    const auto map = context_.environment->calls->table->Get();
    auto each = [self = shared_from_this()](KeyRange range, std::function<void(absl::Status)> end) {
      self->ModifyRange(std::move(range), std::move(end));
    };
    std::make_shared<Scatter>(CutByChunks(*map, context_.collection->id, m_.plan.ranges), std::move(each),
                              [self = shared_from_this()](absl::Status status) { self->ManyEnded(std::move(status)); })
        ->Start(kParallel);
  }

  std::shared_ptr<ModifyWalk> NewWalk() {
    auto walk = std::make_shared<ModifyWalk>(
        context_.environment->calls, context_.collection->id, [deadline = context_.deadline] { return deadline; },
        context_.caller, /*write=*/true, kModifyMany);
    walk->prepare = [self = shared_from_this()](v1::ShardModifyManyRequest& page) {
      page.set_kind(self->m_.kind);
      page.set_filter(self->m_.filter);
      page.set_update(self->m_.update);
      page.set_limit(self->m_.multi ? 0 : 1);
      *page.mutable_retry() = self->m_.retry;
      page.set_durable(self->m_.durable);
    };
    walk->page = [self = shared_from_this()](v1::ShardModifyManyResponse& page, const ModifyWalk::GoOn& go_on) {
      {
        std::lock_guard lock(self->mutex_);
        self->result_.matched += page.matched();
        self->result_.modified += page.modified();
        self->result_.deleted += page.deleted();
      }
      go_on(self->m_.multi || page.matched() + page.deleted() == 0);
    };
    return walk;
  }

  void ModifyRange(KeyRange range, std::function<void(absl::Status)> end) {
    auto walk = NewWalk();
    walk->pieces.push_back({std::move(range), {}});
    walk->end = std::move(end);
    walk->Start();
  }

  // The first match in the order of keys: chunk after chunk until one had it. A chunk that has a record of the
  // statement answers what it did then (trap T67).
  void ModifyFirst() {
    auto walk = NewWalk();
    for (const KeyRange& range : m_.plan.ranges) walk->pieces.push_back({range, {}});
    walk->end = [self = shared_from_this()](absl::Status status) { self->End(std::move(status)); };
    walk->Start();
  }

  void ManyEnded(absl::Status status) {
    if (!status.ok() || !m_.upsert || result_.matched > 0) return End(status);
    ModifyOne(*m_.plan.shard_key, m_.plan.id.value_or(""), true,
              [self = shared_from_this()](const absl::Status& modified) { self->End(modified); });
  }

  void End(absl::Status status) { done_(std::move(status), std::move(result_)); }

  const StatementContext context_;
  const Modification m_;
  const Done done_;
  std::mutex mutex_;  // of result_, where walks run side by side
  ModifyResult result_;
};

absl::Status CheckUpdate(v1::ShardModifyRequest::Kind kind, std::string_view update) {
  if (kind == v1::ShardModifyRequest::DELETE) return absl::OkStatus();
  auto parsed = document::Update::Parse(update);
  if (!parsed.ok()) return parsed.status();
  if (kind == v1::ShardModifyRequest::UPDATE && parsed->is_replacement()) {
    return InvalidArgument("the update has no operators such as $set; use replace for a whole document");
  }
  if (kind == v1::ShardModifyRequest::REPLACE) {
    if (!parsed->is_replacement()) return InvalidArgument("a replacement holds no operators; use update for them");
    return document::ValidateDocument(update);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Modification> PlanModification(const document::ShardKeyPattern& pattern,
                                              v1::ShardModifyRequest::Kind kind, v1::DocumentFormat format,
                                              std::string_view filter, std::string_view update, bool multi,
                                              bool upsert) {
  Modification m;
  m.kind = kind;
  m.multi = multi;
  m.upsert = upsert;
  TERRANE_ASSIGN_OR_RETURN(m.filter, ToBson(format, filter, "filter", v1::ErrorDetail::BAD_FILTER));
  TERRANE_ASSIGN_OR_RETURN(m.plan, PlanFilter(pattern, m.filter));
  if (kind == v1::ShardModifyRequest::REPLACE) {
    TERRANE_ASSIGN_OR_RETURN(m.update, ToBson(format, update, "replacement", v1::ErrorDetail::BAD_DOCUMENT));
  } else if (kind == v1::ShardModifyRequest::UPDATE) {
    TERRANE_ASSIGN_OR_RETURN(m.update, ToBson(format, update, "update", v1::ErrorDetail::BAD_UPDATE));
  }
  if (absl::Status bad = CheckUpdate(kind, m.update); !bad.ok()) {
    return rpc::WithReason(
        bad, kind == v1::ShardModifyRequest::REPLACE ? v1::ErrorDetail::BAD_DOCUMENT : v1::ErrorDetail::BAD_UPDATE);
  }
  if (upsert && !m.plan.shard_key) {
    return rpc::WithReason(InvalidArgument("an upsert needs the full shard key ", pattern.ToString(),
                                           " in its filter, each field with one value"),
                           v1::ErrorDetail::SHARD_KEY_MISSING);
  }
  return m;
}

void RunModification(StatementContext context, Modification modification, Done done) {
  std::make_shared<ModifyStatement>(std::move(context), std::move(modification), std::move(done))->Run();
}

}  // namespace terrane::proxy
