#include "proxy/shard_links.h"

#include <grpcpp/channel.h>

#include <algorithm>
#include <mutex>

namespace terrane::proxy {
namespace {

rpc::ChannelOptions WithConnections(rpc::ChannelOptions options, int connections) {
  options.connections = connections;
  return options;
}

}  // namespace

ShardLink::Target ShardLink::Leader() {
  Target target;
  target.endpoint = tracker_.Current();
  if (!target.endpoint.empty()) target.stub = StubOf(target.endpoint);
  return target;
}

ShardLink::Target ShardLink::Any(size_t attempt) {
  const std::string leader = tracker_.Current();
  Target target;
  {
    std::shared_lock lock(mutex_);
    std::vector<std::string> others;
    for (const std::string& replica : replicas_) {
      if (replica != leader) others.push_back(replica);
    }
    if (attempt < others.size()) target.endpoint = others[next_any_.fetch_add(1) % others.size()];
  }
  if (target.endpoint.empty()) return Leader();
  target.stub = StubOf(target.endpoint);
  return target;
}

size_t ShardLink::replicas() const {
  std::shared_lock lock(mutex_);
  return replicas_.size();
}

std::string ShardLink::Update(const routing::ShardEndpoints& endpoints) {
  tracker_.SetEndpoints(endpoints.replicas);
  replicated_ = endpoints.replicas.size() > 1;
  std::unique_lock lock(mutex_);
  replicas_ = endpoints.replicas;
  // Only news: what was learned from the replicas themselves is fresher than an old heartbeat.
  if (endpoints.leader.empty() || endpoints.leader == announced_leader_) return "";
  announced_leader_ = endpoints.leader;
  lock.unlock();
  tracker_.Learn(endpoints.leader);
  return endpoints.leader;
}

void ShardLink::Answered(std::string_view endpoint) {
  if (replicated()) tracker_.Learn(endpoint);
}

ShardStub* ShardLink::StubOf(const std::string& endpoint) {
  const auto pick = [](Stubs& stubs) {
    return stubs.stubs[stubs.next.fetch_add(1, std::memory_order_relaxed) % stubs.stubs.size()].get();
  };
  {
    std::shared_lock lock(mutex_);
    auto it = stubs_.find(endpoint);
    if (it != stubs_.end()) return pick(*it->second);
  }
  std::unique_lock lock(mutex_);
  std::unique_ptr<Stubs>& stubs = stubs_[endpoint];
  if (stubs == nullptr) {
    stubs = std::make_unique<Stubs>();
    for (int i = 0; i < connections_; ++i) stubs->stubs.push_back(v1::ShardDocuments::NewStub(pool_->Get(endpoint)));
  }
  return pick(*stubs);
}

ShardLinks::ShardLinks(rpc::ChannelOptions options, int connections)
    : connections_(std::max(1, connections)), pool_(WithConnections(options, connections)) {}

ShardLink* ShardLinks::For(std::string_view shard) {
  {
    std::shared_lock lock(mutex_);
    auto it = links_.find(shard);
    if (it != links_.end()) return it->second.get();
  }
  std::unique_lock lock(mutex_);
  auto it = links_.find(shard);
  if (it == links_.end())
    it = links_.emplace(std::string(shard), std::make_unique<ShardLink>(&pool_, connections_)).first;
  return it->second.get();
}

void ShardLinks::Update(const routing::ChunkMap& map,
                        const std::function<void(const ShardLink*, std::string_view leader)>& on_leader) {
  for (const auto& [name, endpoints] : map.shards()) {
    ShardLink* link = For(name);
    if (const std::string leader = link->Update(endpoints); !leader.empty()) on_leader(link, leader);
  }
}

}  // namespace terrane::proxy
