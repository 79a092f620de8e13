#include <memory>
#include <string>
#include <utility>

#include "common/status.h"
#include "proxy/find_plan.h"
#include "proxy/page_walk.h"
#include "proxy/page_window.h"
#include "proxy/read_statements.h"
#include "rpc/longest_wait.h"

namespace terrane::proxy {
namespace {

using GetCall = ShardCall<v1::ShardGetRequest, v1::ShardGetResponse>;
using ScanWalk = PageWalk<v1::ShardScanRequest, v1::ShardScanResponse>;

constexpr int kPagesInFlight = 2;

class FindStatement : public std::enable_shared_from_this<FindStatement> {
 public:
  FindStatement(StatementContext context, const v1::FindRequest& request, std::shared_ptr<FindStream> stream)
      : context_(std::move(context)),
        format_(request.format()),
        limit_(request.limit()),
        skip_(request.skip()),
        read_(request.read()),
        stream_(std::move(stream)) {}

  void Run(const v1::FindRequest& request) {
    if (absl::Status bad = Plan(request); !bad.ok()) return stream_->Finish(bad);
    // Without a token nobody goes on behind a document of a point read, so it needs no walk.
    if (plan_.keys.full_key() && skip_ == 0 && request.resume_token().empty()) return Get();
    Scan(request);
  }

 private:
  absl::Status Plan(const v1::FindRequest& request) {
    if (limit_ < 0) return InvalidArgument("limit is ", limit_, "; it can not be negative");
    if (skip_ < 0) return InvalidArgument("skip is ", skip_, "; it can not be negative");
    TERRANE_ASSIGN_OR_RETURN(plan_, PlanFind(*context_.collection, request));
    return absl::OkStatus();
  }

  void Get() {
    auto call = std::make_shared<GetCall>(context_.environment->calls, context_.Scope(), *plan_.keys.shard_key,
                                          /*write=*/false, kGet);
    *call->request.mutable_key()->mutable_shard_key() = *std::move(plan_.keys.shard_key);
    *call->request.mutable_key()->mutable_id() = *std::move(plan_.keys.id);
    *call->request.mutable_filter() = std::move(plan_.keys.filter);
    *call->request.mutable_projection() = std::move(plan_.projection);
    *call->request.mutable_read() = read_;
    call->then = [self = shared_from_this()](CallEnd, const absl::Status& status, GetCall& call) {
      if (!status.ok() || !call.response.found()) return self->stream_->Finish(status);
      v1::FindResponse response;
      self->Add(std::move(*call.response.mutable_document()), &response);
      self->stream_->WriteAndFinish(std::move(response), absl::OkStatus());
    };
    call->Start();
  }

  void Scan(const v1::FindRequest& request) {
    const MonotonicTime first = context_.deadline;
    const bool own_deadline = stream_->call().deadline().has_value();
    std::chrono::nanoseconds step = context_.environment->default_deadline;
    if (const auto said = stream_->call().StepTimeout()) {
      const std::chrono::milliseconds timeout = rpc::BoundedWait(*said);
      step = timeout - rpc::AnswerTime(timeout);
    }
    auto deadline = [first, own_deadline, step] { return own_deadline ? first : Clock::System()->Now() + step; };
    walk_ = std::make_shared<ScanWalk>(context_.environment->calls, context_.collection->id, deadline, context_.caller,
                                       /*write=*/false, kScan);
    for (KeyRange& range : plan_.keys.ranges) walk_->pieces.push_back({std::move(range), {}});
    if (!request.resume_token().empty()) {
      if (absl::Status bad = ResumeWalk(request.resume_token(), context_.collection->id, &walk_->pieces); !bad.ok()) {
        walk_.reset();
        return stream_->Finish(bad);
      }
    }
    walk_->prepare = [self = shared_from_this()](v1::ShardScanRequest& page) {
      page.set_filter(self->plan_.filter);
      page.set_projection(self->plan_.projection);
      page.set_limit(self->limit_);
      page.set_skip(self->skip_);
      *page.mutable_read() = self->read_;
    };
    walk_->page = [self = shared_from_this()](v1::ShardScanResponse& page, ScanWalk::GoOn go_on) {
      self->Page(page, std::move(go_on));
    };
    walk_->end = [self = shared_from_this()](absl::Status status) {
      self->walk_.reset();
      self->stream_->Finish(std::move(status));
    };
    walk_->Start();
  }

  void Page(v1::ShardScanResponse& page, ScanWalk::GoOn go_on) {
    skip_ -= std::min(skip_, page.skipped());
    bool enough = false;
    if (limit_ > 0) {
      limit_ -= page.documents_size();
      enough = limit_ <= 0;
    }
    const MonotonicTime now = Clock::System()->Now();
    // A search that finds nothing for long shows that it is alive. Not while it skips: a token does not say how far.
    const bool alive = skip_ == 0 && !walk_->pieces.empty() && now - last_written_ > kSignOfLife;
    if (page.documents().empty() && (enough || !alive)) return go_on(!enough);
    last_written_ = now;
    v1::FindResponse response;
    for (std::string& document : *page.mutable_documents()) Add(std::move(document), &response);
    response.set_resume_token(ResumeTokenOf(context_.collection->id, walk_->pieces));
    if (enough || walk_->pieces.empty()) {
      stream_->WriteAndFinish(std::move(response), absl::OkStatus());
      return go_on(false);
    }
    window_->Write(
        [&](std::function<void(bool)> written) { stream_->WriteThen(std::move(response), std::move(written)); },
        std::move(go_on));
  }

  void Add(std::string document, v1::FindResponse* response) const {
    *response->add_documents() = InFormat(format_, std::move(document));
  }

  const StatementContext context_;
  const v1::DocumentFormat format_;
  FindPlan plan_;
  int64_t limit_;  // that is left; 0: none
  int64_t skip_;   // that is left
  const v1::ReadOptions read_;
  const std::shared_ptr<FindStream> stream_;
  std::shared_ptr<ScanWalk> walk_;
  const std::shared_ptr<PageWindow> window_ = std::make_shared<PageWindow>(kPagesInFlight);
  MonotonicTime last_written_ = Clock::System()->Now();
};

}  // namespace

void RunFind(StatementContext context, const v1::FindRequest& request, std::shared_ptr<FindStream> stream) {
  std::make_shared<FindStatement>(std::move(context), request, std::move(stream))->Run(request);
}

}  // namespace terrane::proxy
