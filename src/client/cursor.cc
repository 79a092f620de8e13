#include "client/cursor.h"

#include <algorithm>
#include <deque>
#include <optional>

#include "terrane/v1/documents.grpc.pb.h"

namespace terrane::client {
namespace {

class StreamCursor : public Cursor {
 public:
  StreamCursor(Caller* caller, std::string_view collection, FindOptions options)
      : caller_(caller), idle_deadline_(options.idle_deadline) {
    if (options.deadline) end_ = Clock::System()->Now() + *options.deadline;
    request_.set_collection(std::string(collection));
    request_.set_filter(std::move(options.filter));
    request_.set_projection(std::move(options.projection));
    request_.set_limit(options.limit);
    request_.set_skip(options.skip);
    request_.set_ordered(options.ordered);
  }
  ~StreamCursor() override { Close(); }

  absl::StatusOr<std::optional<std::string>> Next() override {
    const MonotonicTime idle = Clock::System()->Now() + idle_deadline_;
    const MonotonicTime deadline = end_ ? std::min(idle, *end_) : idle;
    rpc::Backoff backoff;
    while (ready_.empty()) {
      if (done_) return std::nullopt;
      if (!failure_.ok()) return failure_;
      if (reader_ == nullptr) Open();
      terrane::v1::FindResponse response;
      if (reader_->Read(&response)) {
        Take(std::move(response));
        continue;
      }
      const absl::Status status = End();
      if (status.ok()) {
        done_ = true;
      } else if (const auto pause = backoff.Next(Clock::System()->Now(), deadline);
                 absl::IsUnavailable(status) && pause && MayResume()) {
        caller_->NextProxy(proxy_);
        caller_->NoteRetry();
        std::this_thread::sleep_for(*pause);  // the pause of the retry policy
      } else {
        failure_ = status;
      }
    }
    std::string document = std::move(ready_.front());
    ready_.pop_front();
    return document;
  }

 private:
  void Open() {
    proxy_ = caller_->CurrentProxy();
    context_ = std::make_unique<grpc::ClientContext>();
    if (end_) {
      context_->set_deadline(
          std::chrono::system_clock::now() +
          std::chrono::duration_cast<std::chrono::system_clock::duration>(*end_ - Clock::System()->Now()));
    }
    stub_ = terrane::v1::Documents::NewStub(caller_->Channel(proxy_));
    reader_ = stub_->Find(context_.get(), request_);
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
        if (!end_) context_->TryCancel();
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
    context_->TryCancel();
    End().IgnoreError();  // nobody asks any more
  }
  absl::Status End() {
    absl::Status status = rpc::FromGrpc(reader_->Finish());
    caller_->NoteResent(*context_);
    reader_.reset();
    return status;
  }

  Caller* const caller_;
  const std::chrono::milliseconds idle_deadline_;
  std::optional<MonotonicTime> end_;
  terrane::v1::FindRequest request_;  // as it has to be sent to go on from here
  size_t proxy_ = 0;
  std::unique_ptr<grpc::ClientContext> context_;
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
