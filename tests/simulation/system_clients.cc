// What clients and operators of the simulated system do.
#include <utility>

#include "common/status.h"
#include "rpc/status.h"
#include "simulation/system.h"

namespace terrane::simulation {
namespace {

constexpr size_t kClients = 5;
constexpr Time kOperationTimeout = 3s;
constexpr const char* kLists[] = {"b", "d", "f", "h", "k"};
constexpr const char* kSplitPoints[] = {"c", "e", "g", "i", "k"};

}  // namespace

MetaNode* SimulatedSystem::MetaLeader() {
  for (const auto& node : meta_nodes) {
    if (node->Serving()) return node.get();
  }
  return nullptr;
}

void SimulatedSystem::AskMetadata(v1::MetadataCommand command, std::function<void(const v1::CommandResult&)> then) {
  if (command.request_id().empty()) command.set_request_id(StrCat("r", ++next_request));
  const std::string endpoint = operator_tracker.Current();
  MetaNode* node = FindMeta(endpoint);
  world.Call<v1::CommandResult>(
      bystander.get(), node, "command", 1s, [node, command](auto reply) { node->Commit(command, std::move(reply)); },
      [this, endpoint, command, then = std::move(then)](absl::StatusOr<v1::CommandResult> result) {
        if (result.ok()) {
          operator_tracker.Learn(endpoint);
          return then(*result);
        }
        operator_tracker.Failed(endpoint, result.status());
        bystander->After(20ms, [this, command, then] { AskMetadata(command, then); });
      });
}

// As the backend of collections does: the record, then each shard its chunks, then everybody may know.
void SimulatedSystem::SetUp() {
  std::vector<std::string> endpoints;
  for (const auto& node : meta_nodes) endpoints.push_back(node->name());
  operator_tracker.SetEndpoints(endpoints);
  auto make_chunk = std::make_shared<std::function<void(size_t)>>();
  *make_chunk = [this, weak = std::weak_ptr(make_chunk)](size_t number) {
    auto self = weak.lock();
    const auto& chunks = MetaLeader()->state().FindCollection(CollectionId(collection))->chunks;
    if (number == chunks.size()) {
      v1::MetadataCommand command;
      command.mutable_collection_ready()->set_collection_id(collection);
      return AskMetadata(command, [this](const v1::CommandResult&) {
        ready = true;
        for (Client& client : clients) NextOperation(&client);
        if (options.moves) bystander->After(100ms, [this] { OperatorActs(); });
      });
    }
    const v1::Chunk chunk = std::next(chunks.begin(), static_cast<int64_t>(number))->second;
    v1::CreateChunkStep step;
    step.mutable_entry()->set_collection_id(collection);
    *step.mutable_entry()->mutable_range() = chunk.range();
    step.mutable_entry()->set_copy_id(chunk.copy_id());
    step.mutable_entry()->set_token(chunk.token());
    step.mutable_entry()->set_collection("db.c");
    auto* replica = static_cast<ShardReplica*>(LeaderOf(*FindGroup(chunk.shard())));
    auto again = [this, self, number](size_t next) { bystander->After(10ms, [self, next] { (*self)(next); }); };
    if (replica == nullptr) return again(number);
    world.Call<migration::StepAnswer>(
        bystander.get(), replica, "create chunk", 1s,
        [replica, step](auto reply) { replica->HandleStep(step, std::move(reply)); },
        [number, again](const absl::StatusOr<migration::StepAnswer>& answer) {
          again(answer.ok() ? number + 1 : number);
        });
  };
  auto register_shard = std::make_shared<std::function<void(size_t)>>();
  *register_shard = [this, make_chunk, weak = std::weak_ptr(register_shard)](size_t number) {
    auto self = weak.lock();
    v1::MetadataCommand command;
    if (number < shard_groups.size()) {
      command.mutable_register_shard()->set_name(shard_groups[number]->name);
      for (size_t i = 0; i < shard_groups[number]->replicas.size(); ++i) {
        auto* replica = command.mutable_register_shard()->add_replicas();
        replica->set_replica_id(i + 1);
        replica->set_endpoint(shard_groups[number]->replicas[i]->name());
      }
      return AskMetadata(command, [self, number](const v1::CommandResult&) { (*self)(number + 1); });
    }
    command.mutable_create_collection()->set_name("db.c");
    command.mutable_create_collection()->add_split_points("e");
    if (world.Chance(500)) command.mutable_create_collection()->add_split_points("i");
    for (const auto& group : shard_groups) command.mutable_create_collection()->add_shards(group->name);
    AskMetadata(command, [this, make_chunk](const v1::CommandResult& result) {
      collection = result.collection().id();
      (*make_chunk)(0);
    });
  };
  for (const char* key : kLists) ledger.AddList(key);
  for (size_t i = 0; i < kClients; ++i) {
    Client client;
    client.number = i;
    client.session = StrCat("client-", i);
    // Between the lists, so that they lie in all chunks.
    client.own_register = std::string(1, static_cast<char>('a' + 2 * i));
    if (ledger.Keys().size() < 100) ledger.AddRegister(client.own_register);
    clients.push_back(std::move(client));
  }
  (*register_shard)(0);
}

void SimulatedSystem::NextOperation(Client* client) {
  client->busy = false;
  if (stopping) return;
  bystander->After(world.Between(0ms, think_max), [this, client] {
    if (stopping || client->busy) return;
    if (world.now() < rest_until) return NextOperation(client);
    client->busy = true;
    Operation& operation = client->operation;
    operation = Operation{CollectionId(collection), "", std::nullopt};
    const uint64_t choice = world.random().Below(100);
    const std::vector<std::string> keys = ledger.Keys();
    if (choice < 40) {
      operation.key = keys[world.random().Below(keys.size())];
    } else {
      WriteRequest write;
      write.collection = operation.collection;
      write.session = client->session;
      write.statement = ++client->statement;
      if (choice < 75) {
        operation.key = kLists[world.random().Below(std::size(kLists))];
        write.kind = WriteRequest::Kind::kAppend;
        write.value = ++next_value;
      } else {
        operation.key = client->own_register;
        write.value = ++client->version;
        write.kind = SystemLedger::IsDeletion(write.value) ? WriteRequest::Kind::kDelete : WriteRequest::Kind::kPut;
        ledger.WritesVersion(operation.key, write.value);
      }
      write.key = operation.key;
      operation.write = std::move(write);
    }
    client->ticket = ledger.Begin(operation.key);
    TryOperation(client);
  });
}

void SimulatedSystem::TryOperation(Client* client) {
  const uint64_t sequence = ++client->sequence;
  Proxy* proxy = proxies[world.random().Below(proxies.size())].get();
  // A read that is asked again is a new one.
  if (!client->operation.write) client->ticket = ledger.Begin(client->operation.key);
  // The proxy may die with it.
  bystander->After(kOperationTimeout + 1s, [this, client, sequence] {
    if (client->busy && client->sequence == sequence) TryOperation(client);
  });
  if (!proxy->alive()) {
    bystander->After(20ms, [this, client, sequence] {
      if (client->busy && client->sequence == sequence) TryOperation(client);
    });
    return;
  }
  proxy->After(world.Between(50us, 500us), [this, proxy, client, sequence] {
    if (!client->busy || client->sequence != sequence) return;
    proxy->Execute(client->operation, kOperationTimeout,
                   [this, client, sequence](absl::StatusOr<OperationAnswer> answer) {
                     Answered(client, sequence, std::move(answer));
                   });
  });
}

void SimulatedSystem::Answered(Client* client, uint64_t sequence, absl::StatusOr<OperationAnswer> answer) {
  if (!client->busy || client->sequence != sequence) return;
  const Operation& operation = client->operation;
  if (!answer.ok()) {
    if (absl::IsDataLoss(answer.status()) || absl::IsInternal(answer.status()) || absl::IsNotFound(answer.status())) {
      world.Fail(StrCat("a client is told: ", answer.status().ToString()));
    }
    world.Probe("client tries again");
    bystander->After(10ms, [this, client, sequence] {
      if (client->busy && client->sequence == sequence) TryOperation(client);
    });
    return;
  }
  if (!operation.write) {
    ledger.Read(operation.key, client->ticket, answer->read.document);
  } else if (operation.write->kind == WriteRequest::Kind::kAppend) {
    ledger.Appended(operation.key, client->ticket, operation.write->value, answer->write.repeated,
                    answer->write.document);
  } else {
    ledger.WroteVersion(operation.key, operation.write->value);
  }
  world.Probe(operation.write ? "write acknowledged" : "read answered");
  ++client->done;
  NextOperation(client);
}

// Moves back and forth, one or two at a time; splits; aborts.
void SimulatedSystem::OperatorActs() {
  if (winding_up) return;
  if (world.now() < rest_until) return bystander->After(rest_until - world.now(), [this] { OperatorActs(); });
  auto later = [this] { bystander->After(world.Between(20ms, 150ms), [this] { OperatorActs(); }); };
  MetaNode* leader = MetaLeader();
  if (leader == nullptr) return later();
  const metadata::State& state = leader->state();
  std::vector<uint64_t> active;
  for (const auto& [id, record] : state.migrations()) {
    if (!migration::IsEnded(migration::StageOf(record))) active.push_back(id);
  }
  if (!active.empty() && world.Chance(abort_permille)) {
    v1::MetadataCommand command;
    command.mutable_request_abort()->set_id(active[world.random().Below(active.size())]);
    world.Probe("abort asked for");
    return AskMetadata(command, [later](const v1::CommandResult&) { later(); });
  }
  const auto& chunks = state.FindCollection(CollectionId(collection))->chunks;
  if (chunks.size() < 5 && world.Chance(split_permille)) {
    const std::string at = kSplitPoints[world.random().Below(std::size(kSplitPoints))];
    world.Call<v1::CommandResult>(
        bystander.get(), leader, "split", 6s,
        [this, leader, at](auto reply) { leader->Split(collection, at, std::move(reply)); },
        [later](const absl::StatusOr<v1::CommandResult>&) { later(); });
    return;
  }
  if (active.empty() && !state.migrations().empty() && world.Chance(100)) {
    v1::MetadataCommand command;
    command.mutable_forget_migrations()->set_below(state.migrations().rbegin()->first);
    world.Probe("ended moves forgotten");
    return AskMetadata(command, [later](const v1::CommandResult&) { later(); });
  }
  if (active.size() >= 2) return later();
  const v1::Chunk& chunk = std::next(chunks.begin(), static_cast<int64_t>(world.random().Below(chunks.size())))->second;
  const std::string target = shard_groups[world.random().Below(shard_groups.size())]->name;
  if (target == chunk.shard() || chunk.migration_id() != 0) return later();
  v1::MetadataCommand command;
  auto* start = command.mutable_start_migration();
  start->set_collection_id(collection);
  *start->mutable_range() = chunk.range();
  start->set_expected_token(chunk.token());
  start->set_target(target);
  start->set_max_pause_ms(static_cast<int64_t>(world.Chance(700) ? 2000 : 300));
  AskMetadata(command, [this, later](const v1::CommandResult& result) {
    if (result.code() == 0) world.Probe("move begun");
    later();
  });
}

}  // namespace terrane::simulation
