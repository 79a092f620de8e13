// What goes wrong in the simulated group, and how it ends.
#include <algorithm>

#include "simulation/raft_world.h"

namespace terrane::raft {

void World::NextFault() {
  if (!faults_) return;
  Schedule(EventType::kFault, Between(100ms, 900ms));
  ++faults_done_;
  uint64_t choice = random_.Below(100);
  if (choice < 30) return CrashSomeone();
  if (choice < 60) return Partition();
  if (choice < 70) return TransferSomewhere();
  if (choice < 78) return SlowDisk();
  if (choice < 84) return Pause();
  if (membership_) return ChangeMembership();
  choice % 2 == 0 ? CrashSomeone() : Partition();
}

Replica* World::SomeReplica() {
  return &replicas_[random_.Below(replicas_.size())];
}

Replica* World::SomeLeader() {
  Replica* leader = nullptr;
  for (Replica& replica : replicas_) {
    if (!replica.core || !replica.core->IsLeader()) continue;
    if (leader == nullptr || replica.core->term() > leader->core->term()) leader = &replica;
  }
  return leader;
}

void World::CrashSomeone() {
  Replica* victim = SomeReplica();
  if (Chance(500)) {
    if (Replica* leader = SomeLeader()) victim = leader;
  }
  size_t victims = Chance(120) ? replicas_.size() : 1;  // sometimes the power of all fails
  for (size_t i = 0; i < victims; ++i) {
    if (victims > 1) victim = &replicas_[i];
    if (!victim->core) continue;
    Crash(victim);
    Schedule(EventType::kRestart, Chance(400) ? Between(5ms, 30ms) : Between(30ms, 1500ms), IndexOf(*victim));
  }
}

// A vote or a truncation that is on its way to disk when the power fails, and another view of the network afterwards.
void World::MaybeCrashBeforeSync(Replica* replica) {
  if (!faults_ || vote_crash_permille_ == 0) return;
  const SimulatedDisk::Write& write = replica->disk.OldestPending();
  if (!write.hard_state || write.hard_state->vote == ReplicaId() || !Chance(vote_crash_permille_)) return;
  ReplicaId voted = write.hard_state->vote;
  ++counts_.crashes;
  ++counts_.crashes_with_loss;
  Trace("crash of " + std::to_string(replica->id.value()) + " before its vote for " + std::to_string(voted.value()) +
        " is synced");
  replica->disk.Crash(0);
  replica->core.reset();
  Schedule(EventType::kRestart, Between(1ms, 20ms), IndexOf(*replica));
  if (Chance(600) && voted != replica->id) {
    ++counts_.partitions;
    size_t a = IndexOf(*replica);
    size_t b = voted.value() - 1;
    cut_[a][b] = cut_[b][a] = true;
    Schedule(EventType::kHeal, Between(300ms, 1500ms));
  }
}

void World::Partition() {
  ++counts_.partitions;
  size_t n = replicas_.size();
  Heal();
  std::vector<bool> side(n);
  uint64_t kind = random_.Below(4);
  Replica* leader = SomeLeader();
  size_t alone = leader != nullptr && Chance(700) ? IndexOf(*leader) : random_.Below(n);
  for (size_t i = 0; i < n; ++i) side[i] = kind == 0 ? Chance(500) : i == alone;
  // Half of the time the minority keeps one friend: an old leader with a follower.
  if (kind == 1) side[random_.Below(n)] = true;
  for (size_t a = 0; a < n; ++a) {
    for (size_t b = 0; b < n; ++b) {
      if (side[a] == side[b]) continue;
      bool one_way = kind == 3 && side[a];  // what `alone` says arrives, what it should hear does not
      cut_[a][b] = !one_way;
    }
  }
  Trace("partition of kind " + std::to_string(kind) + " around " + std::to_string(alone + 1));
  Schedule(EventType::kHeal, Between(200ms, 2000ms));
}

void World::Heal() {
  for (std::vector<bool>& row : cut_) std::fill(row.begin(), row.end(), false);
}

void World::TransferSomewhere() {
  Replica* leader = SomeLeader();
  if (leader == nullptr || leader->paused_until > now_) return;
  ++counts_.transfers;
  ++counts_.steps;
  ReplicaId target = Chance(300) ? ReplicaId() : SomeReplica()->id;
  leader->core->TransferLeadership(target, ClockOf(*leader));
  AfterStep(leader);
}

void World::ChangeMembership() {
  Replica* leader = SomeLeader();
  if (leader == nullptr || leader->paused_until > now_) return;
  Configuration next = leader->core->configuration();
  ReplicaId id = SomeReplica()->id;
  auto remove = [id](std::vector<ReplicaId>* list) {
    list->erase(std::remove(list->begin(), list->end(), id), list->end());
  };
  auto add = [id](std::vector<ReplicaId>* list) { list->insert(std::lower_bound(list->begin(), list->end(), id), id); };
  if (next.IsVoter(id)) {
    remove(&next.voters);
    if (Chance(500)) add(&next.learners);
  } else if (next.IsLearner(id)) {
    remove(&next.learners);
    if (Chance(800)) add(&next.voters);
  } else {
    add(&next.learners);
  }
  ++counts_.steps;
  ProposeResult result = leader->core->ProposeConfiguration(leader->core->term(), next, ClockOf(*leader));
  if (result.ok()) {
    ++counts_.configurations;
    Trace(std::to_string(leader->id.value()) + " proposes another standing of " + std::to_string(id.value()));
  }
  AfterStep(leader);
  // Aimed at the edge: the leader is cut off while its change is on its way.
  if (result.ok() && Chance(400)) Partition();
}

void World::SlowDisk() {
  Replica* leader = SomeLeader();
  Replica* victim = leader != nullptr && Chance(600) ? leader : SomeReplica();
  victim->disk_slow_until = now_ + Between(100ms, 1000ms);
}

void World::Pause() {
  Replica* leader = SomeLeader();
  Replica* victim = leader != nullptr && Chance(600) ? leader : SomeReplica();
  victim->paused_until = now_ + Between(50ms, 1200ms);
}

void World::EndFaults() {
  Trace("the faults end");
  faults_ = false;
  Heal();
  for (Replica& replica : replicas_) {
    replica.disk_slow_until = Time(0);
    if (!replica.core) Start(&replica);
  }
}

// True when an update that was acknowledged after the faults is applied by all members.
bool World::Recovered() {
  if (goal_ == Position(0)) {
    uint64_t before = counts_.acknowledged;
    goal_ = acknowledged_ + 1;
    (void)before;
  }
  if (acknowledged_ < goal_) return false;
  Replica* leader = SomeLeader();
  if (leader == nullptr || leader->core->configuration_index() > leader->core->commit()) return false;
  const RegisterState* first = nullptr;
  for (Replica& replica : replicas_) {
    if (!leader->core->configuration().Contains(replica.id)) continue;
    if (replica.state.applied < goal_) return false;
    if (first == nullptr) first = &replica.state;
    if (first->applied == replica.state.applied && first->registers != replica.state.registers) {
      Fail("two replicas applied the same and hold different values");
    }
  }
  return true;
}

}  // namespace terrane::raft
