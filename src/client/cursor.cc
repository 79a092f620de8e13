#include "client/cursor.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <optional>

#include "rpc/unary.h"
#include "terrane/v1/documents.grpc.pb.h"

namespace terrane::client {
namespace {

class StreamCursor : public Cursor {
  // Of one stream; shared with the function that ends it when it is silent for too long.
  struct Call {
    grpc::ClientContext context;
    std::atomic<bool> timed_out{false};
  };

 public:
  StreamCursor(Caller* caller, std::string_view collection, FindOptions options)
      : caller_(caller), idle_deadline_(rpc::BoundedWait(options.idle_deadline)) {
    if (options.deadline) end_ = Clock::System()->Now() + rpc::BoundedWait(*options.deadline);
    request_.set_collection(std::string(collection));
    request_.set_filter(std::move(options.filter));
    request_.set_projection(std::move(options.projection));
    request_.set_limit(options.limit);
    request_.set_skip(options.skip);
    *request_.mutable_read() = options.read;
    request_.set_ordered(options.ordered);
  }
  ~StreamCursor() override { Close(); }

  absl::StatusOr<std::optional<std::string>> Next() override {
    MonotonicTime deadline = DeadlineOfStep();
    rpc::Backoff backoff;
    absl::Status unavailable;
    while (ready_.empty()) {
      if (done_) return std::nullopt;
      if (!failure_.ok()) return failure_;
      if (reader_ == nullptr) Open();
      terrane::v1::FindResponse response;
      if (Read(&response, deadline)) {
        Take(std::move(response));
        deadline = DeadlineOfStep();  // a message without documents is a sign of life
        continue;
      }
      const absl::Status status = caller_->NoteStatus(End(), proxy_);
      const bool timed_out = absl::IsDeadlineExceeded(status) && end_ && attempt_end_ < *end_;
      if (absl::IsUnavailable(status)) unavailable = status;
      if (timed_out) ++late_;
      if (status.ok()) {
        done_ = true;
      } else if (const auto pause = backoff.Next(Clock::System()->Now(), deadline);
                 (absl::IsUnavailable(status) || timed_out) && pause && MayResume()) {
        caller_->NextProxy(proxy_);
        caller_->NoteRetry();
        std::this_thread::sleep_for(*pause);  // the pause of the retry policy
      } else {
        failure_ = Caller::GivenUp(status, unavailable, backoff.attempts() + 1);
      }
    }
    std::string document = std::move(ready_.front());
    ready_.pop_front();
    return document;
  }

 private:
  MonotonicTime DeadlineOfStep() const {
    const MonotonicTime idle = Clock::System()->Now() + idle_deadline_;
    return end_ ? std::min(idle, *end_) : idle;
  }

  void Open() {
    proxy_ = caller_->CurrentProxy();
    call_ = std::make_shared<Call>();
    if (!end_) {
      call_->context.AddMetadata(rpc::kStepTimeoutKey, std::to_string(idle_deadline_.count()));
    } else {
      // One document is soon found; a long stream meets the keepalive.
      attempt_end_ = request_.limit() == 1 ? caller_->AttemptEnd(*end_, late_) : *end_;
      call_->context.set_deadline(
          std::chrono::system_clock::now() +
          std::chrono::duration_cast<std::chrono::system_clock::duration>(attempt_end_ - Clock::System()->Now()));
    }
    stub_ = terrane::v1::Documents::NewStub(caller_->Channel(proxy_));
    reader_ = stub_->Find(&call_->context, request_);
  }

  // False: the stream has ended, or nothing came before the deadline.
  bool Read(terrane::v1::FindResponse* response, MonotonicTime deadline) {
    if (end_) return reader_->Read(response);  // gRPC knows the deadline
    auto cancel = [call = call_] {
      call->timed_out = true;
      call->context.TryCancel();
    };
    const Timer::Id id = caller_->timer()->After(deadline - Clock::System()->Now(), std::move(cancel));
    const bool read = reader_->Read(response);
    caller_->timer()->Cancel(id);
    return read;
  }

  void Take(terrane::v1::FindResponse response) {
    for (std::string& document : *response.mutable_documents()) ready_.push_back(std::move(document));
    received_ += response.documents_size();
    if (request_.limit() > 0) {
      // A resumed stream counts anew.
      if (request_.limit() <= response.documents_size()) {
        done_ = true;
        // The proxy knows the limit, too: its end of the stream is on its way, and cheaper for it than a cancellation.
        for (terrane::v1::FindResponse rest; end_ && reader_->Read(&rest);) {
        }
        if (!end_) call_->context.TryCancel();
        End().IgnoreError();  // all that was asked for is here
        return;
      }
      request_.set_limit(request_.limit() - response.documents_size());
    }
    resumable_ = !response.resume_token().empty();
    request_.set_resume_token(std::move(*response.mutable_resume_token()));
    if (resumable_) request_.set_skip(0);
  }

  // Nothing was received yet, or it is known where to go on.
  bool MayResume() const { return received_ == 0 || resumable_; }

  void Close() {
    if (reader_ == nullptr) return;
    call_->context.TryCancel();
    End().IgnoreError();  // nobody asks any more
  }
  absl::Status End() {
    grpc::Status ended = reader_->Finish();
    if (!ended.ok() && call_->timed_out) ended = grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded");
    absl::Status status = rpc::FromGrpc(ended);
    caller_->NoteResent(call_->context);
    reader_.reset();
    return status;
  }

  Caller* const caller_;
  const std::chrono::milliseconds idle_deadline_;
  std::optional<MonotonicTime> end_;
  MonotonicTime attempt_end_{};       // of the stream, if there is an end
  size_t late_ = 0;                   // attempts that ran out of their time
  terrane::v1::FindRequest request_;  // as it has to be sent to go on from here
  size_t proxy_ = 0;
  std::shared_ptr<Call> call_;
  std::unique_ptr<terrane::v1::Documents::Stub> stub_;
  std::unique_ptr<grpc::ClientReader<terrane::v1::FindResponse>> reader_;
  std::deque<std::string> ready_;
  int64_t received_ = 0;
  bool resumable_ = false;
  bool done_ = false;
  absl::Status failure_;
};

}  // namespace

std::unique_ptr<Cursor> OpenCursor(Caller* caller, std::string_view collection, FindOptions options) {
  return std::make_unique<StreamCursor>(caller, collection, std::move(options));
}

}  // namespace terrane::client
