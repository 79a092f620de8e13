#include "replication/grpc_transport.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "common/executor.h"
#include "common/status.h"
#include "replication/checkpoint_stream.h"
#include "replication/pace.h"
#include "replication/peer_lane.h"
#include "replication/wire.h"
#include "rpc/channel.h"
#include "rpc/status.h"
#include "rpc/stream.h"

namespace terrane::replication {
namespace {

constexpr int kCheckpointStreams = 4;  // at a time, to peers
constexpr std::chrono::milliseconds kWatch{50};

// Where what comes in goes while a log is started. Thread-safe.
class Gate {
 public:
  void Open(PeerReceiver* receiver) {
    std::lock_guard lock(mutex_);
    receiver_ = receiver;
  }
  // No call is under way or begins after the return.
  void Close() { Open(nullptr); }
  // False: closed.
  template <typename Fn>
  bool With(Fn fn) {
    std::lock_guard lock(mutex_);
    if (receiver_ == nullptr) return false;
    fn(receiver_);
    return true;
  }

 private:
  std::mutex mutex_;
  PeerReceiver* receiver_ = nullptr;
};

class Incoming;

// Incoming streams, to be ended when the log stops. Thread-safe.
class Streams {
 public:
  bool Add(Incoming* stream);
  void Remove(Incoming* stream) {
    std::lock_guard lock(mutex_);
    streams_.erase(stream);
  }
  void Open() {
    std::lock_guard lock(mutex_);
    open_ = true;
  }
  void EndAll();

 private:
  std::recursive_mutex mutex_;
  bool open_ = false;
  std::set<Incoming*> streams_;
};

// One stream from one peer. Callbacks only hand over.
class Incoming final : public grpc::ServerReadReactor<v1::RaftBatch> {
 public:
  Incoming(Gate* gate, Streams* streams) : gate_(gate), streams_(streams) {
    if (streams_->Add(this)) {
      StartRead(&batch_);
    } else {
      End();
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok || !gate_->With([&](PeerReceiver* receiver) { receiver->OnBatch(FromProto(&batch_)); })) return End();
    batch_.Clear();
    StartRead(&batch_);
  }
  void OnCancel() override { End(); }
  void OnDone() override {
    streams_->Remove(this);
    delete this;
  }

  void End() {
    if (!ended_.exchange(true))
      Finish(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the log of this replica is not running"));
  }

 private:
  Gate* const gate_;
  Streams* const streams_;
  v1::RaftBatch batch_;
  std::atomic<bool> ended_{false};
};

bool Streams::Add(Incoming* stream) {
  std::lock_guard lock(mutex_);
  if (open_) streams_.insert(stream);
  return open_;
}

void Streams::EndAll() {
  std::lock_guard lock(mutex_);
  open_ = false;
  const std::set<Incoming*> all = streams_;  // a stream that ends at once removes itself
  for (Incoming* stream : all) stream->End();
}

class Service final : public v1::RaftTransport::CallbackService {
 public:
  Service(Identity identity, FileSystem* file_system, uint64_t checkpoint_bytes_per_second, Clock* clock)
      : identity_(std::move(identity)),
        file_system_(file_system),
        pace_(checkpoint_bytes_per_second, clock),
        executor_("ckpt", kCheckpointStreams) {}

  void Open(PeerReceiver* receiver) {
    gate_.Open(receiver);
    streams_.Open();
    std::lock_guard lock(wait_mutex_);
    open_ = true;
  }
  void Close() {
    gate_.Close();
    streams_.EndAll();
    std::lock_guard lock(wait_mutex_);
    open_ = false;
    closed_.notify_all();
  }

  grpc::ServerReadReactor<v1::RaftBatch>* Send(grpc::CallbackServerContext*, v1::RaftBatchSummary*) override {
    return new Incoming(&gate_, &streams_);
  }

  grpc::ServerWriteReactor<v1::CheckpointChunk>* FetchCheckpoint(grpc::CallbackServerContext* context,
                                                                 const v1::FetchCheckpointRequest* request) override {
    return rpc::RunStream<v1::CheckpointChunk>(
        context, &executor_, [this, request](std::shared_ptr<rpc::ServerStream<v1::CheckpointChunk>> stream) {
          const Identity& me = identity_;
          if (request->cluster() != me.cluster || request->group() != me.group || request->to() != me.replica.value()) {
            return stream->Finish(FailedPrecondition("this is replica ", me.replica.value(), " of ", me.group,
                                                     " in cluster ", me.cluster, ", not replica ", request->to(),
                                                     " of ", request->group(), " in cluster ", request->cluster()));
          }
          const Position at_least(request->at_least());
          const CheckpointPlace from{request->resume_id(), request->resume_file(), request->resume_offset()};
          auto give = [this, stream, from](absl::StatusOr<std::shared_ptr<const Checkpoint>> checkpoint) {
            if (!checkpoint.ok()) return stream->Finish(checkpoint.status());
            const bool posted = executor_.Post([this, stream, from, checkpoint = *std::move(checkpoint)]() mutable {
              absl::Status sent = SendCheckpoint(
                  file_system_, *checkpoint, from, [this, &stream](uint64_t bytes) { return WaitTurn(bytes, *stream); },
                  [&](v1::CheckpointChunk chunk) { return stream->Write(std::move(chunk)); });
              checkpoint.reset();
              stream->Finish(std::move(sent));
            });
            if (!posted) stream->Finish(Unavailable("this replica is stopping"));
          };
          if (!gate_.With([&](PeerReceiver* receiver) { receiver->OnCheckpointWanted(at_least, from.id, give); })) {
            stream->Finish(Unavailable("the log of this replica is not running"));
          }
        });
  }

 private:
  absl::Status WaitTurn(uint64_t bytes, const rpc::ServerStream<v1::CheckpointChunk>& stream) {
    const auto until = std::chrono::steady_clock::now() + pace_.Book(bytes);
    std::unique_lock lock(wait_mutex_);
    while (open_ && !stream.cancelled()) {
      const auto now = std::chrono::steady_clock::now();
      if (now >= until) return absl::OkStatus();
      closed_.wait_until(lock, std::min(until, now + kWatch));
    }
    return Unavailable("this replica is stopping, or the reader has gone");
  }

  const Identity identity_;
  FileSystem* const file_system_;
  Gate gate_;
  Streams streams_;
  Pace pace_;
  std::mutex wait_mutex_;
  std::condition_variable closed_;
  bool open_ = false;  // under wait_mutex_
  Executor executor_;  // first out: its tasks use the rest
};

// Ends a call when its peer has sent nothing for too long, or nobody wants it any more. For one call, on its thread.
class Watchdog {
 public:
  Watchdog(grpc::ClientContext* context, std::chrono::milliseconds silence, const std::atomic<bool>* cancelled)
      : thread_([this, context, silence, cancelled] {
          std::unique_lock lock(mutex_);
          while (!over_) {
            wake_.wait_for(lock, kWatch);
            silent_ = std::chrono::steady_clock::now() - heard_ > silence;
            if (silent_ || *cancelled) return context->TryCancel();
          }
        }) {}
  ~Watchdog() {
    {
      std::lock_guard lock(mutex_);
      over_ = true;
      wake_.notify_one();
    }
    thread_.join();
  }
  void Heard() {
    std::lock_guard lock(mutex_);
    heard_ = std::chrono::steady_clock::now();
  }
  bool silent() {
    std::lock_guard lock(mutex_);
    return silent_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::chrono::steady_clock::time_point heard_ = std::chrono::steady_clock::now();
  bool silent_ = false;
  bool over_ = false;
  std::thread thread_;
};

class GrpcTransportImpl : public GrpcTransport {
 public:
  explicit GrpcTransportImpl(GrpcTransportOptions options)
      : options_(std::move(options)),
        file_system_(options_.file_system != nullptr ? options_.file_system : FileSystem::System()),
        service_(options_.identity, file_system_, options_.checkpoint_bytes_per_second, options_.clock) {}
  ~GrpcTransportImpl() override { Stop(); }

  grpc::Service* service() override { return &service_; }

  void Start(PeerReceiver* receiver) override {
    service_.Open(receiver);
    std::lock_guard lock(mutex_);
    for (const Member& member : options_.members) Connect(member);
  }

  void SetMember(const Member& member) override {
    Peer replaced;  // ends outside of the lock
    {
      std::lock_guard lock(mutex_);
      if (stopped_) return;
      auto it = peers_.find(member.replica);
      if (it != peers_.end()) {
        if (it->second.address == member.address) return;
        replaced = std::move(it->second);
        peers_.erase(it);
      }
      Connect(member);
    }
    if (replaced.urgent != nullptr) replaced.urgent->Stop();
    if (replaced.bulk != nullptr) replaced.bulk->Stop();
  }

  void Stop() override {
    service_.Close();
    std::map<ReplicaId, Peer> peers;
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
      peers.swap(peers_);
      if (fetch_ != nullptr) fetch_->TryCancel();
    }
    for (auto& [id, peer] : peers) {
      peer.urgent->Stop();
      peer.bulk->Stop();
    }
  }

  void Send(PeerBatch batch, bool urgent) override {
    std::lock_guard lock(mutex_);
    auto it = peers_.find(batch.to);
    if (it == peers_.end()) return;
    (urgent ? it->second.urgent : it->second.bulk)->Send(std::move(batch));
  }

  absl::Status FetchCheckpoint(ReplicaId from, Position at_least, CheckpointSink* sink,
                               const std::atomic<bool>* cancelled) override {
    grpc::ClientContext context;
    std::shared_ptr<v1::RaftTransport::Stub> stub;
    {
      std::lock_guard lock(mutex_);
      if (stopped_) return absl::CancelledError("the log of this replica is stopping");
      auto it = peers_.find(from);
      if (it == peers_.end()) return Unavailable("the address of replica ", from.value(), " is not known");
      stub = it->second.checkpoints;
      fetch_ = &context;
    }
    const CheckpointPlace place = sink->Place();
    v1::FetchCheckpointRequest request;
    request.set_cluster(options_.identity.cluster);
    request.set_group(options_.identity.group);
    request.set_from(options_.identity.replica.value());
    request.set_to(from.value());
    request.set_at_least(at_least.value());
    request.set_resume_id(place.id);
    request.set_resume_file(place.file);
    request.set_resume_offset(place.offset);
    v1::CheckpointChunk chunk;
    absl::Status taken;
    grpc::Status finished;
    bool silent = false;
    {
      Watchdog watchdog(&context, options_.checkpoint_silence, cancelled);
      auto reader = stub->FetchCheckpoint(&context, request);
      while (taken.ok() && !*cancelled && reader->Read(&chunk)) {
        watchdog.Heard();
        taken = sink->Take(chunk);
      }
      if (!taken.ok() || *cancelled) context.TryCancel();
      finished = reader->Finish();
      silent = watchdog.silent();
    }
    {
      std::lock_guard lock(mutex_);
      fetch_ = nullptr;
    }
    TERRANE_RETURN_IF_ERROR(taken);
    if (*cancelled) return absl::CancelledError("the log of this replica is stopping");
    if (silent) return Unavailable("the peer has sent nothing for ", options_.checkpoint_silence.count(), " ms");
    absl::Status status = rpc::FromGrpc(finished);
    // Not a word on whether this replica stops.
    return absl::IsCancelled(status) ? Unavailable(MessageOf(status)) : status;
  }

 private:
  struct Peer {
    std::string address;
    std::unique_ptr<PeerLane> urgent;
    std::unique_ptr<PeerLane> bulk;
    std::shared_ptr<v1::RaftTransport::Stub> checkpoints;
  };

  // Under mutex_.
  void Connect(const Member& member) {
    if (member.replica == options_.identity.replica || member.address.empty()) return;
    Peer& peer = peers_[member.replica];
    peer.address = member.address;
    peer.urgent = std::make_unique<PeerLane>(Channel(member.address), options_.max_urgent_bytes);
    peer.bulk = std::make_unique<PeerLane>(Channel(member.address), options_.max_bulk_bytes);
    peer.checkpoints = v1::RaftTransport::NewStub(Channel(member.address));
  }

  std::shared_ptr<grpc::Channel> Channel(const std::string& address) const {
    rpc::ChannelOptions channel;
    channel.tls = options_.tls;
    channel.own_connection = true;
    return rpc::MakeChannel(address, channel);
  }

  const GrpcTransportOptions options_;
  FileSystem* const file_system_;
  Service service_;
  std::mutex mutex_;
  bool stopped_ = false;
  std::map<ReplicaId, Peer> peers_;
  grpc::ClientContext* fetch_ = nullptr;  // one at a time
};

}  // namespace

std::unique_ptr<GrpcTransport> MakeGrpcTransport(GrpcTransportOptions options) {
  return std::make_unique<GrpcTransportImpl>(std::move(options));
}

}  // namespace terrane::replication
