#include "shard/peer_replicas.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "common/status.h"
#include "rpc/channel.h"
#include "rpc/status.h"
#include "terrane/v1/shard.grpc.pb.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

// A replica that is gone without a word is found by keepalive; this only bounds what nothing else bounds.
constexpr std::chrono::seconds kFetchTimeout{60};
constexpr std::chrono::seconds kAskTimeout{1};

class GrpcPeerReplicas final : public PeerReplicas {
 public:
  GrpcPeerReplicas(rpc::ChannelPool* pool, std::function<std::vector<PeerReplica>()> others)
      : pool_(pool), others_(std::move(others)) {}

  std::vector<PeerReplica> Others() const override { return others_(); }

  absl::Status FetchFile(const PeerReplica& peer, CopyId copy, const std::string& name, int64_t offset,
                         const std::function<absl::Status(std::string_view)>& on_data) override {
    Running running(this, kFetchTimeout);
    TERRANE_RETURN_IF_ERROR(running.status());
    v1::FetchFileRequest request;
    request.set_copy_id(copy.value());
    request.set_name(name);
    request.set_offset(offset);
    auto stub = v1::ShardFiles::NewStub(pool_->Get(peer.endpoint));
    auto reader = stub->FetchFile(running.context(), request);
    v1::FileChunk chunk;
    absl::Status taken;
    while (taken.ok() && reader->Read(&chunk)) taken = on_data(chunk.data());
    if (!taken.ok()) {
      running.context()->TryCancel();
      while (reader->Read(&chunk)) {
      }
    }
    absl::Status status = rpc::FromGrpc(reader->Finish());
    return taken.ok() ? status : taken;
  }

  absl::StatusOr<v1::HoldSegmentResponse> HoldSegment(const PeerReplica& peer, const v1::HoldSegmentRequest& request,
                                                      std::chrono::milliseconds timeout) override {
    auto stub = v1::ShardFiles::NewStub(pool_->Get(peer.endpoint));
    return Call<v1::HoldSegmentResponse>(timeout, [&](grpc::ClientContext* context, v1::HoldSegmentResponse* response) {
      return stub->HoldSegment(context, request, response);
    });
  }

  absl::StatusOr<Position> Applied(const PeerReplica& peer) override {
    TERRANE_ASSIGN_OR_RETURN(const v1::DescribeResponse response, Describe(peer));
    return Position(response.applied());
  }

  absl::StatusOr<uint64_t> FreeBytes(const PeerReplica& peer) override {
    TERRANE_ASSIGN_OR_RETURN(const v1::DescribeResponse response, Describe(peer));
    return static_cast<uint64_t>(response.statistics().disk_free_bytes());
  }

  absl::StatusOr<v1::AuditResponse> Audit(const PeerReplica& peer, const v1::AuditRequest& request,
                                          std::chrono::milliseconds timeout) override {
    auto stub = v1::ShardAdmin::NewStub(pool_->Get(peer.endpoint));
    return Call<v1::AuditResponse>(timeout, [&](grpc::ClientContext* context, v1::AuditResponse* response) {
      return stub->Audit(context, request, response);
    });
  }

  void Stop() override {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    for (Running* running : running_) running->context()->TryCancel();
  }

 private:
  // One call, and its place among those that Stop cancels.
  class Running {
   public:
    Running(GrpcPeerReplicas* peers, std::chrono::milliseconds timeout) : peers_(peers) {
      context_.set_deadline(std::chrono::system_clock::now() + timeout);
      std::lock_guard lock(peers_->mutex_);
      if (peers_->stopped_) status_ = MakeStatus(absl::StatusCode::kCancelled, "this replica is stopping");
      peers_->running_.push_back(this);
    }
    ~Running() {
      std::lock_guard lock(peers_->mutex_);
      std::erase(peers_->running_, this);
    }
    const absl::Status& status() const { return status_; }
    grpc::ClientContext* context() { return &context_; }

   private:
    GrpcPeerReplicas* const peers_;
    absl::Status status_;
    grpc::ClientContext context_;
  };

  absl::StatusOr<v1::DescribeResponse> Describe(const PeerReplica& peer) {
    auto stub = v1::ShardAdmin::NewStub(pool_->Get(peer.endpoint));
    return Call<v1::DescribeResponse>(kAskTimeout, [&](grpc::ClientContext* context, v1::DescribeResponse* answer) {
      return stub->Describe(context, v1::DescribeRequest(), answer);
    });
  }

  template <typename Response, typename Fn>
  absl::StatusOr<Response> Call(std::chrono::milliseconds timeout, const Fn& fn) {
    Running running(this, timeout);
    TERRANE_RETURN_IF_ERROR(running.status());
    Response response;
    TERRANE_RETURN_IF_ERROR(rpc::FromGrpc(fn(running.context(), &response)));
    return response;
  }

  rpc::ChannelPool* const pool_;
  const std::function<std::vector<PeerReplica>()> others_;
  std::mutex mutex_;
  std::vector<Running*> running_;
  bool stopped_ = false;
};

}  // namespace

std::unique_ptr<PeerReplicas> MakeGrpcPeerReplicas(rpc::ChannelPool* pool,
                                                   std::function<std::vector<PeerReplica>()> others) {
  return std::make_unique<GrpcPeerReplicas>(pool, std::move(others));
}

}  // namespace terrane::shard
