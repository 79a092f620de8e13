// A proxy of the simulated system, with the real route table, hold queue and decisions on retries; the call around them
// is written as src/proxy/routed_call.cc.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "proxy/hold_queue.h"
#include "routing/route_table.h"
#include "rpc/leader_tracker.h"
#include "simulation/system_shard.h"

namespace terrane::simulation {

struct SimulatedSystem;

// A read (`write` unset) or a write; the route is filled in.
struct Operation {
  CollectionId collection;
  std::string key;
  std::optional<WriteRequest> write;
};
struct OperationAnswer {
  WriteAnswer write;
  ReadAnswer read;
};

class Proxy final : public Process {
 public:
  using Done = std::function<void(absl::StatusOr<OperationAnswer>)>;

  Proxy(SimulatedSystem* system, std::string name);

  // `done` once, unless the proxy dies.
  void Execute(Operation operation, Time timeout, Done done);
  void OnWatchEvent(uint64_t stream, uint64_t number, const v1::WatchEvent& event);

  void OnKill() override;
  void OnBoot() override;

 private:
  class Call;

  void Subscribe();
  void Refresh(std::function<void()> then);
  void RoutesChanged();
  void Tick();
  void Run(std::vector<proxy::HoldQueue::Resumed> resumed);

  SimulatedSystem& system_;
  // Of this life.
  std::unique_ptr<routing::RouteTable> table_;
  std::unique_ptr<proxy::HoldQueue> holds_;
  std::map<std::string, rpc::LeaderTracker> trackers_;  // of shards
  rpc::LeaderTracker metadata_;
  uint64_t stream_ = 0;
  uint64_t expected_ = 0;  // number of the stream's next event
  bool ticking_ = false;
};

}  // namespace terrane::simulation
