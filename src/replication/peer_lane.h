// One stream to one peer, with a bounded queue and a thread. Includes gRPC: for grpc_transport.cc only.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "replication/transport.h"
#include "terrane/v1/raft.grpc.pb.h"

namespace terrane::replication {

// Thread-safe.
class PeerLane {
 public:
  PeerLane(std::shared_ptr<grpc::Channel> channel, uint64_t max_queued_bytes);
  ~PeerLane();
  // Never blocks; drops the batch if the queue is full.
  void Send(PeerBatch batch);
  // Ends the stream, drops what waits, joins the thread. Idempotent.
  void Stop();

 private:
  struct Queued {
    PeerBatch batch;
    uint64_t bytes;
  };
  void Run();
  // Writes batches until the stream breaks or the lane stops.
  void Stream();

  const std::unique_ptr<v1::RaftTransport::Stub> stub_;
  const uint64_t max_queued_bytes_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Queued> queue_;
  uint64_t queued_bytes_ = 0;
  bool stop_ = false;
  grpc::ClientContext* context_ = nullptr;  // of the stream under way
  std::thread thread_;
};

}  // namespace terrane::replication
