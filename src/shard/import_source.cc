#include "shard/import_source.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "common/status.h"
#include "rpc/channel.h"
#include "rpc/status.h"
#include "shard/source_choice.h"
#include "terrane/v1/shard.grpc.pb.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

// A source that is gone without a word is found by keepalive; these only bound what nothing else bounds.
constexpr std::chrono::seconds kBulkTimeout{300};
constexpr std::chrono::milliseconds kOplogMargin{3000};

class GrpcImportSource final : public ImportSource {
 public:
  GrpcImportSource(rpc::ChannelPool* pool, std::vector<std::string> endpoints) : pool_(pool) {
    SetEndpoints(std::move(endpoints));
  }

  absl::Status ReadSegment(const v1::ReadSegmentRequest& request,
                           const std::function<absl::Status(v1::SegmentBatch*)>& on_batch) override {
    return Stream<v1::SegmentBatch>(
        [&](v1::ShardExport::Stub& stub, grpc::ClientContext* context) { return stub.ReadSegment(context, request); },
        [&](v1::SegmentBatch* batch) { return on_batch(batch); });
  }

  absl::Status HashRange(const v1::HashRangeRequest& request,
                         const std::function<absl::Status(const v1::RangeDigest&)>& on_digest) override {
    return Stream<v1::RangeDigest>(
        [&](v1::ShardExport::Stub& stub, grpc::ClientContext* context) { return stub.HashRange(context, request); },
        [&](v1::RangeDigest* digest) { return on_digest(*digest); });
  }

  absl::StatusOr<v1::OplogBatch> ReadOplogOfLeader(const v1::ReadOplogRequest& request) override {
    return Oplog(request, Kind::kFence, /*interruptible=*/false);
  }

  absl::StatusOr<v1::OplogBatch> ReadOplog(const v1::ReadOplogRequest& request, bool interruptible) override {
    return Oplog(request, Kind::kBulk, interruptible);
  }

  void Interrupt() override {
    std::lock_guard lock(mutex_);
    interrupted_ = true;
    for (Running* running : running_) {
      if (!running->interruptible()) continue;
      running->context()->TryCancel();
      interrupted_ = false;
    }
  }

  void Stop() override {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    for (Running* running : running_) running->context()->TryCancel();
  }

  void SetEndpoints(std::vector<std::string> endpoints) override {
    std::lock_guard lock(mutex_);
    choice_.SetEndpoints(std::move(endpoints));
  }

 private:
  enum class Kind { kBulk, kFence };

  // One call: the replica that it asks, and its place among those that Stop cancels.
  class Running {
   public:
    Running(GrpcImportSource* source, Kind kind, bool interruptible = false)
        : source_(source), kind_(kind), interruptible_(interruptible) {
      std::lock_guard lock(source_->mutex_);
      if (interruptible_ && std::exchange(source_->interrupted_, false)) {
        status_ = MakeStatus(absl::StatusCode::kCancelled, "there is something else to do");
      } else if (source_->stopped_) {
        status_ = MakeStatus(absl::StatusCode::kCancelled, "the import is stopping");
      } else {
        SourceChoice& choice = source_->choice_;
        const SourceChoice::Choice chosen =
            kind_ == Kind::kFence ? choice.ForFence() : choice.ForBulk(Clock::System()->Now());
        endpoint_ = chosen.endpoint;
        if (endpoint_.empty()) {
          status_ = Unavailable("no replica of the source is known");
          return;
        }
        if (chosen.not_leader) context_.AddMetadata(kFromFollowerKey, "1");
        stub_ = v1::ShardExport::NewStub(source_->pool_->Get(endpoint_));
        source_->running_.push_back(this);
      }
    }
    ~Running() {
      std::lock_guard lock(source_->mutex_);
      std::erase(source_->running_, this);
    }
    // The next call asks somebody else if this one failed.
    absl::Status Ended(absl::Status status) {
      if (status.code() == absl::StatusCode::kCancelled) return status;
      std::lock_guard lock(source_->mutex_);
      SourceChoice& choice = source_->choice_;
      const MonotonicTime now = Clock::System()->Now();
      if (status.ok()) {
        choice.Worked(endpoint_, now);
      } else if (kind_ == Kind::kFence) {
        choice.FenceFailed();
      } else if (absl::IsDataLoss(status)) {
        // The damage of one replica is not that of the shard.
        choice.Damaged(endpoint_, now);
        if (choice.HasOthers(endpoint_)) return Unavailable(endpoint_, ": ", MessageOf(status));
      } else {
        choice.Failed(endpoint_, now);
      }
      return status;
    }

    const absl::Status& status() const { return status_; }
    bool interruptible() const { return interruptible_; }
    grpc::ClientContext* context() { return &context_; }
    v1::ShardExport::Stub* stub() { return stub_.get(); }

   private:
    GrpcImportSource* const source_;
    const Kind kind_;
    const bool interruptible_;
    absl::Status status_;
    std::string endpoint_;
    grpc::ClientContext context_;
    std::unique_ptr<v1::ShardExport::Stub> stub_;
  };

  template <typename Message, typename Start, typename OnMessage>
  absl::Status Stream(const Start& start, const OnMessage& on_message) {
    Running running(this, Kind::kBulk);
    TERRANE_RETURN_IF_ERROR(running.status());
    running.context()->set_deadline(std::chrono::system_clock::now() + kBulkTimeout);
    auto reader = start(*running.stub(), running.context());
    Message message;  // its strings are used again and again
    absl::Status taken;
    while (taken.ok() && reader->Read(&message)) taken = on_message(&message);
    if (!taken.ok()) {
      running.context()->TryCancel();
      while (reader->Read(&message)) {
      }
    }
    absl::Status status = rpc::FromGrpc(reader->Finish());
    if (!taken.ok()) return taken;
    return running.Ended(std::move(status));
  }

  absl::StatusOr<v1::OplogBatch> Oplog(const v1::ReadOplogRequest& request, Kind kind, bool interruptible) {
    Running running(this, kind, interruptible);
    TERRANE_RETURN_IF_ERROR(running.status());
    running.context()->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(request.wait_ms()) +
                                    kOplogMargin);
    v1::OplogBatch batch;
    absl::Status status = running.Ended(rpc::FromGrpc(running.stub()->ReadOplog(running.context(), request, &batch)));
    if (!status.ok()) return status;
    return batch;
  }

  rpc::ChannelPool* const pool_;
  std::mutex mutex_;
  SourceChoice choice_;
  std::vector<Running*> running_;
  bool interrupted_ = false;  // with nothing to end; meant for the next one
  bool stopped_ = false;
};

}  // namespace

std::unique_ptr<ImportSource> MakeGrpcImportSource(rpc::ChannelPool* pool, std::vector<std::string> endpoints) {
  return std::make_unique<GrpcImportSource>(pool, std::move(endpoints));
}

}  // namespace terrane::shard
