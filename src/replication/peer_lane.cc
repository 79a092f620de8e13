#include "replication/peer_lane.h"

#include <chrono>

#include "raft/log_view.h"
#include "replication/wire.h"

namespace terrane::replication {
namespace {

// Between two attempts to reach a peer; what comes meanwhile is dropped, since it would be old.
constexpr auto kPause = std::chrono::milliseconds(50);

uint64_t CostOf(const PeerBatch& batch) {
  uint64_t cost = 128;
  for (const raft::Message& message : batch.messages) {
    cost += 128;
    for (const raft::Entry& entry : message.entries) cost += raft::Cost(entry);
  }
  return cost;
}

}  // namespace

PeerLane::PeerLane(std::shared_ptr<grpc::Channel> channel, uint64_t max_queued_bytes)
    : stub_(v1::RaftTransport::NewStub(std::move(channel))),
      max_queued_bytes_(max_queued_bytes),
      thread_([this] { Run(); }) {}

PeerLane::~PeerLane() {
  Stop();
}

void PeerLane::Send(PeerBatch batch) {
  const uint64_t bytes = CostOf(batch);
  {
    std::lock_guard lock(mutex_);
    if (stop_ || (queued_bytes_ + bytes > max_queued_bytes_ && !queue_.empty())) return;
    queued_bytes_ += bytes;
    queue_.push_back({std::move(batch), bytes});
  }
  wake_.notify_one();
}

void PeerLane::Stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    if (context_ != nullptr) context_->TryCancel();
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void PeerLane::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
    if (stop_) return;
    lock.unlock();
    Stream();
    lock.lock();
    queue_.clear();
    queued_bytes_ = 0;
    wake_.wait_for(lock, kPause, [this] { return stop_; });
    queue_.clear();
    queued_bytes_ = 0;
  }
}

void PeerLane::Stream() {
  grpc::ClientContext context;
  {
    std::lock_guard lock(mutex_);
    if (stop_) return;
    context_ = &context;
  }
  v1::RaftBatchSummary summary;
  std::unique_ptr<grpc::ClientWriter<v1::RaftBatch>> writer = stub_->Send(&context, &summary);
  while (true) {
    PeerBatch batch;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
      if (stop_) break;
      batch = std::move(queue_.front().batch);
      queued_bytes_ -= queue_.front().bytes;
      queue_.pop_front();
    }
    if (!writer->Write(ToProto(std::move(batch)))) break;
  }
  {
    std::lock_guard lock(mutex_);
    context_ = nullptr;
  }
  context.TryCancel();
  (void)writer->Finish();  // why a peer is away says nothing that Raft does not find out
}

}  // namespace terrane::replication
