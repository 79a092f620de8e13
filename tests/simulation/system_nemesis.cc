// What goes wrong in the simulated system, and how it ends.
#include <algorithm>

#include "simulation/system.h"

namespace terrane::simulation {

// Each seed has weather of its own.
void SimulatedSystem::ChooseWeather() {
  slow_proposal_permille = world.Chance(400) ? world.random().Below(60) : 0;
  damage_permille = world.Chance(300) ? world.random().Below(300) : 0;
  aim_permille = world.Chance(600) ? world.random().Below(120) : 0;
  abort_permille = world.Chance(300) ? world.random().Below(60) : 0;
  split_permille = world.Chance(500) ? world.random().Below(200) : 0;
  if (world.Chance(100)) {
    // Much is copied again, and slowly.
    damage_permille = 300;
    slow_proposal_permille = 150;
  }
  think_max = world.Chance(700) ? 60ms : 10ms;
  fault_pause_max = world.Chance(500) ? 700ms : 250ms;
}

RaftReplica* SimulatedSystem::SomeReplica() {
  const size_t n = meta_nodes.size() + shard_replicas.size();
  const size_t i = world.random().Below(n);
  if (i < meta_nodes.size()) return meta_nodes[i].get();
  return shard_replicas[i - meta_nodes.size()].get();
}

RaftReplica* SimulatedSystem::LeaderOf(const RaftGroup& group) {
  RaftReplica* leader = nullptr;
  for (RaftReplica* replica : group.replicas) {
    if (!replica->alive() || !replica->core()->IsLeader()) continue;
    if (leader == nullptr || replica->term() > leader->term()) leader = replica;
  }
  return leader;
}

void SimulatedSystem::NextFault() {
  if (!faults) return;
  world.After(world.Between(20ms, fault_pause_max), [this] { NextFault(); });
  ++faults_done;
  RaftReplica* victim = SomeReplica();
  if (world.Chance(600)) {
    if (RaftReplica* leader = LeaderOf(victim->group())) victim = leader;
  }
  const uint64_t choice = world.random().Below(100);
  if (choice < 30) return KillSomeone();
  if (choice < 55) return Partition();
  if (choice < 65) {
    world.Probe("process stopped for a while");
    if (victim->alive()) victim->Pause(world.now() + world.Between(20ms, 1200ms));
    return;
  }
  if (choice < 75) {
    if (victim->alive() && !victim->paused() && victim->core()->IsLeader()) victim->Transfer();
    return;
  }
  if (choice < 85) return victim->SlowDisk(world.now() + world.Between(100ms, 900ms));
  if (choice < 88) {
    world.Probe("wall clock jumped");
    return victim->JumpWall(world.random().Between(-3000, 3000));
  }
  if (choice < 91) return ForgottenPromise(victim->group());
  // The weather changes.
  Weather& weather = world.weather();
  weather.loss_permille = world.Chance(500) ? world.random().Below(80) : 0;
  weather.duplicate_permille = world.Chance(500) ? world.random().Below(60) : 0;
  weather.late_permille = world.Chance(400) ? world.random().Below(50) : 0;
  weather.delay_max = world.Chance(700) ? 2ms : 40ms;
}

void SimulatedSystem::Restart(Process* process, Time after) {
  world.After(after, [this, process] {
    if (process != dead) process->Boot();
  });
}

void SimulatedSystem::KillSomeone() {
  if (world.Chance(80)) {
    // A proxy.
    Proxy* proxy = proxies[world.random().Below(proxies.size())].get();
    proxy->Kill();
    return Restart(proxy, world.Between(10ms, 500ms));
  }
  RaftReplica* victim = SomeReplica();
  if (world.Chance(500)) {
    if (RaftReplica* leader = LeaderOf(victim->group())) victim = leader;
  }
  const bool all = world.Chance(100);  // sometimes the power of a whole group fails
  for (RaftReplica* replica : victim->group().replicas) {
    if (!all && replica != victim) continue;
    if (!replica->alive()) continue;
    world.Probe("replica killed");
    replica->Kill();
    Restart(replica, world.Chance(400) ? world.Between(5ms, 30ms) : world.Between(30ms, 1500ms));
  }
}

void SimulatedSystem::Partition() {
  world.HealNetwork();
  const std::vector<Process*> everybody = Everybody();
  RaftReplica* victim = SomeReplica();
  if (world.Chance(600)) {
    if (RaftReplica* leader = LeaderOf(victim->group())) victim = leader;
  }
  const uint64_t kind = world.random().Below(4);
  world.Probe("partition");
  for (Process* other : everybody) {
    if (other == victim) continue;
    switch (kind) {
      case 0:  // it is cut off
        world.Cut(*victim, *other, true);
        world.Cut(*other, *victim, true);
        break;
      case 1:  // what it says arrives, what it should hear does not
        world.Cut(*other, *victim, true);
        break;
      case 2:  // only its own group does not reach it
        if (std::find(victim->group().replicas.begin(), victim->group().replicas.end(), other) ==
            victim->group().replicas.end()) {
          break;
        }
        world.Cut(*victim, *other, true);
        world.Cut(*other, *victim, true);
        break;
      default:  // two halves
        if (world.Chance(500)) break;
        for (Process* third : everybody) {
          if (world.Chance(500)) continue;
          world.Cut(*third, *other, true);
          world.Cut(*other, *third, true);
        }
    }
  }
  world.After(world.Between(100ms, 1500ms), [this] {
    if (world.Chance(800)) world.HealNetwork();
  });
}

// One follower has long been waiting for another leader; the other one has just promised the leader a lease, dies, and
// starts at once (trap T52). Then the leader hears nobody, and would not learn that another one leads.
void SimulatedSystem::ForgottenPromise(const RaftGroup& group) {
  RaftReplica* leader = LeaderOf(group);
  if (leader == nullptr || group.replicas.size() != 3) return;
  world.Probe("a promise to a leader is forgotten");
  std::vector<RaftReplica*> others;
  for (RaftReplica* replica : group.replicas) {
    if (replica != leader) others.push_back(replica);
  }
  if (world.Chance(500)) std::swap(others[0], others[1]);
  const auto cut = [this, leader](RaftReplica* other) {
    world.Cut(*leader, *other, true);
    world.Cut(*other, *leader, true);
  };
  cut(others[0]);
  // Nobody writes: the one that waits has all that there is, and may be elected.
  const Time wait = world.Between(600ms, 1300ms);
  rest_until = world.now() + wait;
  world.After(wait, [this, others, cut] {
    cut(others[0]);
    cut(others[1]);
    if (others[1]->alive()) others[1]->Kill();
    Restart(others[1], world.Between(1ms, 20ms));
  });
  world.After(world.Between(1300ms, 2200ms), [this] { world.HealNetwork(); });
}

void SimulatedSystem::Aim(const RaftGroup& group) {
  if (!faults || !world.Chance(aim_permille)) return;
  world.Probe("fault aimed at a step of a move");
  // Of its own group, the coordinator, or another shard: the other side of the move, perhaps.
  const RaftGroup* struck = &group;
  const uint64_t choice = world.random().Below(4);
  if (choice == 0) struck = &meta_group;
  if (choice == 1) struck = shard_groups[world.random().Below(shard_groups.size())].get();
  RaftReplica* victim =
      world.Chance(800) ? LeaderOf(*struck) : struck->replicas[world.random().Below(struck->replicas.size())];
  if (victim != nullptr) StrikeWithin(victim, 6ms);
}

void SimulatedSystem::StrikeWithin(RaftReplica* victim, Time most) {
  world.After(world.Between(0ms, most), [this, victim, choice = world.random().Below(10)] {
    if (!faults || !victim->alive() || victim->paused()) return;
    if (choice < 2) return victim->Pause(world.now() + world.Between(100ms, 900ms));
    if (choice < 4) return victim->Transfer();
    if (choice < 5) return CutOff(victim);
    world.Probe("replica killed");
    victim->Kill();
    Restart(victim, world.Chance(400) ? world.Between(5ms, 30ms) : world.Between(30ms, 1500ms));
  });
}

std::vector<Process*> SimulatedSystem::Everybody() {
  std::vector<Process*> everybody;
  for (const auto& node : meta_nodes) everybody.push_back(node.get());
  for (const auto& replica : shard_replicas) everybody.push_back(replica.get());
  for (const auto& proxy : proxies) everybody.push_back(proxy.get());
  return everybody;
}

void SimulatedSystem::CutOff(Process* victim) {
  for (Process* other : Everybody()) {
    if (other == victim) continue;
    world.Cut(*victim, *other, true);
    world.Cut(*other, *victim, true);
  }
  world.After(world.Between(100ms, 1500ms), [this] { world.HealNetwork(); });
}

// Everything heals, but for one replica of a group that can do without it.
void SimulatedSystem::EndFaults() {
  world.Trace("the faults end");
  faults = false;
  winding_up = true;
  world.HealNetwork();
  world.weather() = Weather();
  if (options.faults && world.Chance(300)) {
    RaftReplica* victim = SomeReplica();
    if (victim->group().replicas.size() == 3) {
      world.Probe("a replica is dead for ever");
      dead = victim;
      victim->Kill();
    }
  }
  for (const auto& node : meta_nodes) node->SlowDisk(Time(0));
  for (const auto& replica : shard_replicas) replica->SlowDisk(Time(0));
  auto heal = [this](Process* process) {
    process->Pause(Time(0));
    if (process != dead) process->Boot();
  };
  for (const auto& node : meta_nodes) heal(node.get());
  for (const auto& replica : shard_replicas) heal(replica.get());
  for (const auto& proxy : proxies) heal(proxy.get());
  for (const Client& client : clients) done_then.push_back(client.done);
}

}  // namespace terrane::simulation
