// The simulated system as a whole: who there is, what clients and operators do, what goes wrong, and how it ends.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "simulation/system_ledger.h"
#include "simulation/system_metadata.h"
#include "simulation/system_proxy.h"
#include "simulation/system_shard.h"
#include "simulation/system_world.h"
#include "support/memory_store.h"

namespace terrane::simulation {

// Somebody who is never killed: clients and operators act from here.
class Bystander final : public Process {
 public:
  using Process::Process;
  void OnKill() override {}
  void OnBoot() override {}
};

// One client: an operation at a time, again and again until it is acknowledged.
struct Client {
  size_t number = 0;
  std::string session;
  int64_t statement = 0;
  std::string own_register;  // nobody else writes it
  uint64_t version = 0;      // of it, last written
  uint64_t done = 0;         // operations
  // The one under way.
  bool busy = false;
  uint64_t sequence = 0;  // of tries, of all operations
  Operation operation;
  SystemLedger::Ticket ticket;
};

struct SimulatedSystem {
  explicit SimulatedSystem(const SystemOptions& options);
  ~SimulatedSystem();

  SystemResult Run();

  ShardReplica* FindReplica(const std::string& name);
  MetaNode* FindMeta(const std::string& name);
  RaftGroup* FindGroup(const std::string& shard);

  // ---- what clients and operators do (system_clients.cc) ----
  void SetUp();
  void NextOperation(Client* client);
  void TryOperation(Client* client);
  void Answered(Client* client, uint64_t sequence, absl::StatusOr<OperationAnswer> answer);
  void OperatorActs();
  // A command, asked until it is answered for good.
  void AskMetadata(v1::MetadataCommand command, std::function<void(const v1::CommandResult&)> then);
  // The node that leads, as far as anybody can see; nullptr: none.
  MetaNode* MetaLeader();

  // ---- what goes wrong (system_nemesis.cc) ----
  void ChooseWeather();
  void NextFault();
  void KillSomeone();
  void Restart(Process* process, Time after);
  void Partition();
  void ForgottenPromise(const RaftGroup& group);
  void CutOff(Process* victim);
  std::vector<Process*> Everybody();
  void EndFaults();
  RaftReplica* SomeReplica();
  RaftReplica* LeaderOf(const RaftGroup& group);
  // A step of a move was applied for the first time in the group: faults are aimed at such moments.
  void Aim(const RaftGroup& group);
  // Kills it, or stops it for a while, within so much time.
  void StrikeWithin(RaftReplica* victim, Time most);

  // ---- the end (system.cc) ----
  bool MovesEnded();
  bool ClientsWentOn();
  bool Quiet();

  const SystemOptions options;
  World world;
  SystemLedger ledger;
  storage::MemoryCheckpoints checkpoints;

  RaftGroup meta_group;
  std::vector<std::unique_ptr<RaftGroup>> shard_groups;
  std::vector<std::unique_ptr<MetaNode>> meta_nodes;
  std::vector<std::unique_ptr<ShardReplica>> shard_replicas;
  std::vector<std::unique_ptr<Proxy>> proxies;
  std::unique_ptr<Bystander> bystander;
  std::vector<Client> clients;

  // What the seed chose.
  Time rest_until{0};  // clients and operators do nothing before
  uint64_t slow_proposal_permille = 0;
  uint64_t damage_permille = 0;
  uint64_t aim_permille = 0;
  uint64_t abort_permille = 0;
  uint64_t split_permille = 0;
  Time think_max{30ms};
  Time fault_pause_max{500ms};

  uint32_t collection = 0;
  rpc::LeaderTracker operator_tracker;
  bool ready = false;       // the collection is there
  bool faults = false;      // things go wrong
  bool winding_up = false;  // no new moves
  bool stopping = false;    // no new operations
  uint64_t next_stream = 0;
  uint64_t next_value = 0;
  uint64_t next_request = 0;
  uint64_t faults_done = 0;
  std::vector<uint64_t> done_then;  // operations of each client when the faults ended
  Process* dead = nullptr;          // for ever
};

}  // namespace terrane::simulation
