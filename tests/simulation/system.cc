#include "simulation/system.h"

#include <algorithm>

namespace terrane::simulation {
namespace {

constexpr Time kPatience = 90s;  // of virtual time, after the faults

}  // namespace

SimulatedSystem::SimulatedSystem(const SystemOptions& given) : options(given), world(given), ledger(this) {
  meta_group.name = "meta";
  auto found = [this](RaftGroup* group, uint64_t replicas) {
    for (uint64_t id = 1; id <= replicas; ++id) group->founders.voters.push_back(raft::ReplicaId(id));
    group->cut_permille = world.Chance(600) ? world.random().Below(1000) : 0;
  };
  found(&meta_group, 3);
  for (uint64_t i = 1; i <= 3; ++i) {
    meta_nodes.push_back(std::make_unique<MetaNode>(this, &meta_group, StrCat("meta-", i)));
    meta_nodes.back()->Format();
  }
  const uint64_t shards = world.Chance(500) ? 2 : 3;
  for (uint64_t shard = 1; shard <= shards; ++shard) {
    shard_groups.push_back(std::make_unique<RaftGroup>());
    RaftGroup* group = shard_groups.back().get();
    group->name = StrCat("s", shard);
    const uint64_t replicas = world.Chance(800) ? 3 : 1;
    found(group, replicas);
    for (uint64_t i = 1; i <= replicas; ++i) {
      shard_replicas.push_back(std::make_unique<ShardReplica>(this, group, StrCat(group->name, "-", i)));
      shard_replicas.back()->Format();
    }
  }
  for (uint64_t i = 1; i <= 2; ++i) proxies.push_back(std::make_unique<Proxy>(this, StrCat("proxy-", i)));
  bystander = std::make_unique<Bystander>(&world, "operator");
  ChooseWeather();
}

SimulatedSystem::~SimulatedSystem() {
  for (const auto& proxy : proxies) proxy->Kill();
  for (const auto& replica : shard_replicas) replica->Kill();
  for (const auto& node : meta_nodes) node->Kill();
}

ShardReplica* SimulatedSystem::FindReplica(const std::string& name) {
  for (const auto& replica : shard_replicas) {
    if (replica->name() == name) return replica.get();
  }
  return nullptr;
}

MetaNode* SimulatedSystem::FindMeta(const std::string& name) {
  for (const auto& node : meta_nodes) {
    if (node->name() == name) return node.get();
  }
  return nullptr;
}

RaftGroup* SimulatedSystem::FindGroup(const std::string& shard) {
  for (const auto& group : shard_groups) {
    if (group->name == shard) return group.get();
  }
  return nullptr;
}

bool SimulatedSystem::MovesEnded() {
  MetaNode* leader = MetaLeader();
  if (leader == nullptr) return false;
  for (const auto& [id, record] : leader->state().migrations()) {
    if (!migration::IsEnded(migration::StageOf(record))) return false;
  }
  return true;
}

bool SimulatedSystem::ClientsWentOn() {
  for (size_t i = 0; i < clients.size(); ++i) {
    if (clients[i].done < done_then[i] + 5) return false;
  }
  return true;
}

// Everybody who lives has applied the same.
bool SimulatedSystem::Quiet() {
  for (const auto& group : shard_groups) {
    RaftReplica* leader = LeaderOf(*group);
    if (leader == nullptr || !leader->Serving()) return false;
    for (RaftReplica* replica : group->replicas) {
      if (replica->alive() && replica->core()->applied() != leader->core()->last_index()) return false;
    }
  }
  return true;
}

SystemResult SimulatedSystem::Run() {
  for (const auto& node : meta_nodes) node->Boot();
  for (const auto& replica : shard_replicas) replica->Boot();
  for (const auto& proxy : proxies) proxy->Boot();
  bystander->Boot();
  SetUp();
  auto run_until = [this](auto condition, Time limit, const char* otherwise) {
    const Time end = world.now() + limit;
    while (!world.failed() && !condition()) {
      for (int i = 0; i < 50 && !world.failed(); ++i) world.Step();
      if (world.now() > end) world.Fail(otherwise);
    }
  };
  run_until([this] { return ready; }, kPatience, "the collection is never made");
  const Time end = world.now() + std::chrono::milliseconds(options.fault_ms);
  faults = options.faults;
  if (faults) world.After(world.Between(50ms, 300ms), [this] { NextFault(); });
  while (!world.failed() && world.now() < end) world.Step();
  EndFaults();
  run_until([this] { return MovesEnded(); }, kPatience, "a move does not end after the faults did");
  if (world.failed() && MetaLeader() != nullptr) world.Trace(MetaLeader()->DescribeMoves());
  run_until([this] { return ClientsWentOn(); }, kPatience, "a client makes no progress after the faults ended");
  stopping = true;
  run_until(
      [this] { return std::all_of(clients.begin(), clients.end(), [](const Client& client) { return !client.busy; }); },
      kPatience, "an operation does not end after the faults did");
  run_until([this] { return Quiet(); }, kPatience, "a replica does not catch up after the faults ended");
  // Everything is read once more.
  size_t answers = 0;
  const std::vector<std::string> keys = ledger.Keys();
  for (const std::string& key : keys) {
    if (world.failed()) break;
    const SystemLedger::Ticket ticket = ledger.Begin(key);
    proxies[0]->Execute({CollectionId(collection), key, std::nullopt}, 20s,
                        [this, key, ticket, &answers](absl::StatusOr<OperationAnswer> answer) {
                          if (!answer.ok())
                            return world.Fail(StrCat("the last read fails: ", answer.status().ToString()));
                          ledger.Read(key, ticket, answer->read.document);
                          ++answers;
                        });
  }
  run_until([&] { return answers == keys.size(); }, kPatience, "the last reads do not end");
  if (!world.failed()) ledger.CheckAtEnd();
  SystemResult result;
  result.failure = world.failure();
  result.probes = world.probes();
  result.trace_hash = world.hash();
  result.events = world.events();
  return result;
}

}  // namespace terrane::simulation
