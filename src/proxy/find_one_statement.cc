#include <memory>
#include <string>
#include <utility>

#include "common/status.h"
#include "proxy/find_plan.h"
#include "proxy/page_walk.h"
#include "proxy/read_statements.h"

namespace terrane::proxy {
namespace {

using GetCall = ShardCall<v1::ShardGetRequest, v1::ShardGetResponse>;
using ScanWalk = PageWalk<v1::ShardScanRequest, v1::ShardScanResponse>;
using Done = std::function<void(absl::Status)>;

// Request and response live until `done`, which is the last thing that any of these functions does.
struct FindOne {
  StatementContext context;
  const v1::FindOneRequest* request;
  v1::FindOneResponse* response;
  Done done;

  void Found(std::string document) const {
    response->set_found(true);
    response->set_document(InFormat(request->format(), std::move(document)));
  }
};

void Get(FindOne find, FindPlan plan) {
  auto call = std::make_shared<GetCall>(find.context.environment->calls, find.context.Scope(), *plan.keys.shard_key,
                                        /*write=*/false, kGet);
  *call->request.mutable_key()->mutable_shard_key() = *std::move(plan.keys.shard_key);
  *call->request.mutable_key()->mutable_id() = *std::move(plan.keys.id);
  *call->request.mutable_filter() = std::move(plan.keys.filter);
  *call->request.mutable_projection() = std::move(plan.projection);
  *call->request.mutable_read() = find.request->read();
  call->then = [find = std::move(find)](CallEnd, const absl::Status& status, GetCall& call) {
    if (status.ok() && call.response.found()) find.Found(std::move(*call.response.mutable_document()));
    find.done(status);
  };
  call->Start();
}

void Search(FindOne find, FindPlan plan) {
  const CollectionId collection = find.context.collection->id;
  auto walk = std::make_shared<ScanWalk>(
      find.context.environment->calls, collection, [deadline = find.context.deadline] { return deadline; },
      find.context.caller, /*write=*/false, kScan);
  for (KeyRange& range : plan.keys.ranges) walk->pieces.push_back({std::move(range), {}});
  if (!find.request->resume_token().empty()) {
    absl::Status bad = ResumeWalk(find.request->resume_token(), collection, &walk->pieces);
    if (!bad.ok()) return find.done(std::move(bad));
  }
  auto shared = std::make_shared<const FindOne>(std::move(find));
  walk->prepare = [shared, plan = std::move(plan)](v1::ShardScanRequest& page) {
    page.set_filter(plan.filter);
    page.set_projection(plan.projection);
    page.set_limit(1);
    *page.mutable_read() = shared->request->read();
  };
  const MonotonicTime answer_by =
      shared->request->in_steps() ? Clock::System()->Now() + kSignOfLife : MonotonicTime::max();
  // The walk owns this function.
  walk->page = [shared, collection, answer_by, walk = walk.get()](v1::ShardScanResponse& page,
                                                                  const ScanWalk::GoOn& go_on) {
    if (page.documents_size() > 0) {
      shared->Found(std::move(*page.mutable_documents(0)));
      return go_on(false);
    }
    const bool answer_now = !walk->pieces.empty() && Clock::System()->Now() >= answer_by;
    if (answer_now) shared->response->set_resume_token(ResumeTokenOf(collection, walk->pieces));
    go_on(!answer_now);
  };
  walk->end = [shared](absl::Status status) { shared->done(std::move(status)); };
  walk->Start();
}

}  // namespace

void RunFindOne(StatementContext context, const v1::FindOneRequest& request, v1::FindOneResponse* response, Done done) {
  absl::StatusOr<FindPlan> plan = PlanFind(*context.collection, request);
  if (!plan.ok()) return done(plan.status());
  FindOne find{std::move(context), &request, response, std::move(done)};
  // Without a token nobody goes on behind a document of a point read, so it needs no walk.
  if (plan->keys.full_key() && request.resume_token().empty()) return Get(std::move(find), *std::move(plan));
  Search(std::move(find), *std::move(plan));
}

}  // namespace terrane::proxy
