#include <atomic>
#include <string>
#include <utility>

#include "common/status.h"
#include "proxy/page_walk.h"
#include "proxy/read_statements.h"
#include "proxy/router.h"

namespace terrane::proxy {
namespace {

using CountWalk = PageWalk<v1::ShardCountRequest, v1::ShardCountResponse>;

constexpr int kParallel = 8;

}  // namespace

void RunCount(StatementContext context, const v1::CountRequest& request, v1::CountResponse* response,
              std::function<void(absl::Status)> done) {
  if (absl::Status bad = CheckRead(request.read()); !bad.ok()) return done(bad);
  auto filter = ToBson(request.format(), request.filter(), "filter", v1::ErrorDetail::BAD_FILTER);
  if (!filter.ok()) return done(filter.status());
  auto plan = PlanFilter(context.collection->pattern, *filter);
  if (!plan.ok()) return done(plan.status());
  // What the shard counts in a range of keys may be more than the one document that a full key names.
  auto shared_filter = std::make_shared<const std::string>(*std::move(filter));
  auto total = std::make_shared<std::atomic<int64_t>>(0);
  const auto map = context.environment->calls->table->Get();
  auto each = [context, shared_filter, total, read = request.read()](KeyRange range,
                                                                     std::function<void(absl::Status)> end) {
    auto walk = std::make_shared<CountWalk>(
        context.environment->calls, context.collection->id, [deadline = context.deadline] { return deadline; },
        context.caller, /*write=*/false, kCount);
    walk->pieces.push_back({std::move(range), {}});
    walk->prepare = [shared_filter, read](v1::ShardCountRequest& page) {
      page.set_filter(*shared_filter);
      *page.mutable_read() = read;
    };
    walk->page = [total](v1::ShardCountResponse& page, const CountWalk::GoOn& go_on) {
      *total += page.count();
      go_on(true);
    };
    walk->end = std::move(end);
    walk->Start();
  };
  std::make_shared<Scatter>(CutByChunks(*map, context.collection->id, plan->ranges), std::move(each),
                            [total, response, done = std::move(done)](absl::Status status) {
                              response->set_count(*total);
                              done(std::move(status));
                            })
      ->Start(kParallel);
}

}  // namespace terrane::proxy
