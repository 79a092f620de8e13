#include "support/memory_transport.h"

#include <future>

#include "common/status.h"
#include "replication/checkpoint_stream.h"

namespace terrane::testing {

using replication::Checkpoint;
using replication::FileSystem;
using replication::PeerBatch;
using replication::PeerReceiver;
using replication::Transport;

// The receiving side of a member: a queue and a thread.
class MemoryNetwork::Endpoint {
 public:
  explicit Endpoint(FileSystem* file_system) : file_system_(file_system) {}
  ~Endpoint() { Stop(); }

  void Start(PeerReceiver* receiver) {
    receiver_ = receiver;
    thread_ = std::thread([this] { Run(); });
  }
  void Stop() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
      receiver_ = nullptr;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
  }
  void Push(PeerBatch batch) {
    {
      std::lock_guard lock(mutex_);
      if (stop_ || queue_.size() > 10'000) return;
      queue_.push_back(std::move(batch));
    }
    wake_.notify_one();
  }
  std::future<absl::StatusOr<std::shared_ptr<const Checkpoint>>> Want(Position at_least, const std::string& id) {
    auto promise = std::make_shared<std::promise<absl::StatusOr<std::shared_ptr<const Checkpoint>>>>();
    std::lock_guard lock(mutex_);
    if (receiver_ == nullptr) {
      promise->set_value(Unavailable("the peer is away"));
    } else {
      receiver_->OnCheckpointWanted(at_least, id,
                                    [promise](auto checkpoint) { promise->set_value(std::move(checkpoint)); });
    }
    return promise->get_future();
  }
  FileSystem* file_system() const { return file_system_; }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
      if (stop_) return;
      PeerBatch batch = std::move(queue_.front());
      queue_.pop_front();
      receiver_->OnBatch(std::move(batch));
    }
  }

  FileSystem* const file_system_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<PeerBatch> queue_;
  PeerReceiver* receiver_ = nullptr;
  bool stop_ = false;
  std::thread thread_;
};

class MemoryTransport : public Transport {
 public:
  MemoryTransport(MemoryNetwork* network, ReplicaId self, std::shared_ptr<MemoryNetwork::Endpoint> endpoint)
      : network_(network), self_(self), endpoint_(std::move(endpoint)) {}
  ~MemoryTransport() override { Stop(); }

  void Start(PeerReceiver* receiver) override { endpoint_->Start(receiver); }
  void SetMember(const replication::Member&) override {}  // the network knows everybody
  void Stop() override { endpoint_->Stop(); }

  void Send(PeerBatch batch, bool urgent) override {
    if (!network_->Passes(self_, batch.to) || !network_->OnBatch(batch, urgent)) return;
    if (auto peer = network_->Find(batch.to)) peer->Push(std::move(batch));
  }

  absl::Status FetchCheckpoint(ReplicaId from, Position at_least, replication::CheckpointSink* sink,
                               const std::atomic<bool>* cancelled) override {
    auto peer = network_->Find(from);
    if (peer == nullptr || !network_->Passes(self_, from)) return Unavailable("the peer is away");
    const replication::CheckpointPlace place = sink->Place();
    auto wanted = peer->Want(at_least, place.id);
    while (wanted.wait_for(std::chrono::milliseconds(5)) != std::future_status::ready) {
      if (*cancelled) return absl::CancelledError("cancelled");
    }
    auto checkpoint = wanted.get();
    TERRANE_RETURN_IF_ERROR(checkpoint.status());
    absl::Status taken;
    absl::Status read =
        replication::SendCheckpoint(peer->file_system(), **checkpoint, place, nullptr, [&](v1::CheckpointChunk chunk) {
          taken =
              network_->Passes(from, self_) ? network_->OnChunk(from, self_, &chunk) : Unavailable("the peer is away");
          if (taken.ok()) taken = sink->Take(chunk);
          return taken.ok() && !*cancelled;
        });
    TERRANE_RETURN_IF_ERROR(taken);
    return read;
  }

 private:
  MemoryNetwork* const network_;
  const ReplicaId self_;
  const std::shared_ptr<MemoryNetwork::Endpoint> endpoint_;
};

std::unique_ptr<Transport> MemoryNetwork::MakeTransport(ReplicaId self, FileSystem* file_system) {
  auto endpoint = std::make_shared<Endpoint>(file_system);
  std::lock_guard lock(mutex_);
  endpoints_[self] = endpoint;
  return std::make_unique<MemoryTransport>(this, self, endpoint);
}

void MemoryNetwork::SetBatchHook(BatchHook hook) {
  std::lock_guard lock(mutex_);
  batch_hook_ = std::move(hook);
}

bool MemoryNetwork::OnBatch(const PeerBatch& batch, bool urgent) const {
  BatchHook hook;
  {
    std::lock_guard lock(mutex_);
    hook = batch_hook_;
  }
  return !hook || hook(batch, urgent);
}

void MemoryNetwork::SetChunkHook(ChunkHook hook) {
  std::lock_guard lock(mutex_);
  chunk_hook_ = std::move(hook);
}

absl::Status MemoryNetwork::OnChunk(ReplicaId from, ReplicaId to, v1::CheckpointChunk* chunk) const {
  ChunkHook hook;
  {
    std::lock_guard lock(mutex_);
    hook = chunk_hook_;
  }
  return hook ? hook(from, to, chunk) : absl::OkStatus();
}

void MemoryNetwork::CutOneWay(ReplicaId from, ReplicaId to) {
  std::lock_guard lock(mutex_);
  cut_.insert({from, to});
}

void MemoryNetwork::Cut(ReplicaId a, ReplicaId b) {
  CutOneWay(a, b);
  CutOneWay(b, a);
}

void MemoryNetwork::Isolate(ReplicaId member, const std::set<ReplicaId>& others) {
  for (ReplicaId other : others) {
    if (other != member) Cut(member, other);
  }
}

void MemoryNetwork::Heal() {
  std::lock_guard lock(mutex_);
  cut_.clear();
}

bool MemoryNetwork::Passes(ReplicaId from, ReplicaId to) const {
  std::lock_guard lock(mutex_);
  return !cut_.contains({from, to});
}

std::shared_ptr<MemoryNetwork::Endpoint> MemoryNetwork::Find(ReplicaId id) const {
  std::lock_guard lock(mutex_);
  auto it = endpoints_.find(id);
  return it == endpoints_.end() ? nullptr : it->second;
}

}  // namespace terrane::testing
