// Links to the shards: who leads each, and stubs to talk to it. Includes gRPC.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "routing/chunk_map.h"
#include "rpc/channel.h"
#include "rpc/leader_tracker.h"
#include "terrane/v1/shard.grpc.pb.h"

namespace terrane::proxy {

using ShardStub = v1::ShardDocuments::StubInterface;

// To one shard. Thread-safe; lives as long as its ShardLinks.
class ShardLink {
 public:
  struct Target {
    std::string endpoint;  // empty: nobody is known
    ShardStub* stub = nullptr;
  };
  ShardLink(rpc::ChannelPool* pool, int connections) : pool_(pool), connections_(connections) {}
  // Whom to send the next request to.
  Target Leader();
  // Whom to send a read to that any replica may answer: another one with each `attempt`, the leader last. Target of the
  // leader if it is alone.
  Target Any(size_t attempt);
  // How many there are to try.
  size_t replicas() const;
  // The endpoint of another leader than the one that was announced before; else empty.
  std::string Update(const routing::ShardEndpoints& endpoints);
  // True: somebody else was named as the leader, send again at once.
  bool Failed(std::string_view endpoint, const absl::Status& status) { return tracker_.Failed(endpoint, status); }
  void Answered(std::string_view endpoint);
  // Whether there is anybody else to ask.
  bool replicated() const { return replicated_.load(std::memory_order_relaxed); }

 private:
  ShardStub* StubOf(const std::string& endpoint);

  rpc::ChannelPool* const pool_;
  const int connections_;
  rpc::LeaderTracker tracker_;
  std::atomic<bool> replicated_{false};
  mutable std::shared_mutex mutex_;
  std::string announced_leader_;
  std::vector<std::string> replicas_;
  std::atomic<size_t> next_any_{0};  // spreads reads over followers
  struct Stubs {
    std::vector<std::unique_ptr<ShardStub>> stubs;
    std::atomic<size_t> next{0};
  };
  std::map<std::string, std::unique_ptr<Stubs>, std::less<>> stubs_;
};

// Thread-safe.
class ShardLinks {
 public:
  // `connections` to each endpoint: a single one is served by a single thread at the other end.
  ShardLinks(rpc::ChannelOptions options, int connections);
  // Never null.
  ShardLink* For(std::string_view shard);
  // `on_leader` is called for each shard of which another leader is announced than before.
  void Update(const routing::ChunkMap& map,
              const std::function<void(const ShardLink*, std::string_view leader)>& on_leader);

 private:
  const int connections_;
  rpc::ChannelPool pool_;
  std::shared_mutex mutex_;
  std::map<std::string, std::unique_ptr<ShardLink>, std::less<>> links_;
};

}  // namespace terrane::proxy
