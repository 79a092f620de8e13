// What goes wrong in the simulated group, and how it ends.
#include <algorithm>

#include "simulation/raft_world.h"

namespace terrane::raft {

void World::NextFault() {
  if (!faults_) return;
  Schedule(EventType::kFault, Between(100ms, 900ms));
  // Figure 8 takes its time.
  if (figure_eight_ != FigureEight::kNone && Chance(700)) return;
  ++faults_done_;
  uint64_t choice = random_.Below(100);
  if (choice < 15) return BeginFigureEight();
  if (choice < 35) return CrashSomeone();
  if (choice < 62) return Partition();
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
    HealAfter(Between(300ms, 1500ms));
  }
}

// Figure 8 of the Raft paper is made of two such moments: a leader that stops with its no-op on its own disk only, and
// one that stops when entries of older terms are on a majority and its no-op is not.
void World::MaybeStopNewLeader(Replica* leader) {
  const Core& core = *leader->core;
  if (!faults_ || !core.IsLeader() || core.commit() >= leader->no_op) {
    leader->edge = Replica::Edge::kNone;
    return;
  }
  std::vector<Position> matches{core.synced()};
  for (const PeerStatus& peer : core.peers()) {
    if (peer.voter) matches.push_back(peer.match);
  }
  std::sort(matches.begin(), matches.end(), std::greater<>());
  Position reached = matches[matches.size() / 2];
  bool stop = leader->edge == Replica::Edge::kNoOpAlone ? core.synced() >= leader->no_op
                                                        : reached > leader->inherited && reached < leader->no_op;
  if (!stop) return;
  ++(leader->edge == Replica::Edge::kNoOpAlone ? counts_.stopped_with_no_op_alone
                                               : counts_.stopped_with_older_on_majority);
  leader->edge = Replica::Edge::kNone;
  Trace("the new leader " + std::to_string(leader->id.value()) + " stops");
  StopForAWhile(leader);
}

// The first half begins with a leader that is cut off and goes on appending.
void World::BeginFigureEight() {
  Replica* leader = SomeLeader();
  if (leader == nullptr || !leader->core->ReadyToServe()) return;
  Heal();
  CutOff(leader);
  figure_eight_ = FigureEight::kFirstCutOff;
}

void World::NewLeaderElected(Replica* leader) {
  leader->edge = Replica::Edge::kNone;
  if (!faults_) return;
  // Clients have waited for it.
  for (Time wait : {5ms, 15ms, 40ms, 90ms}) Schedule(EventType::kUpdate, wait, 0, 1);
  if (Chance(300)) {
    // The leader before it does not learn of it, but still has the answers of those that voted now.
    for (Replica& other : replicas_) {
      if (&other != leader && other.core && other.core->IsLeader()) return CutOff(&other);
    }
  }
  if (figure_eight_ == FigureEight::kFirstCutOff) {
    leader->edge = Replica::Edge::kNoOpAlone;
    figure_eight_ = FigureEight::kSecondStopped;
  } else if (figure_eight_ == FigureEight::kSecondStopped) {
    leader->edge = Replica::Edge::kOlderOnMajority;
    figure_eight_ = FigureEight::kNone;
  } else if (Chance(edge_permille_)) {
    leader->edge = Chance(500) ? Replica::Edge::kNoOpAlone : Replica::Edge::kOlderOnMajority;
  }
}

void World::CutOff(Replica* replica) {
  ++counts_.partitions;
  size_t alone = IndexOf(*replica);
  for (size_t i = 0; i < replicas_.size(); ++i) cut_[alone][i] = cut_[i][alone] = i != alone;
  Trace(std::to_string(replica->id.value()) + " is cut off");
  HealAfter(Between(200ms, 2000ms));
}

void World::StopForAWhile(Replica* replica) {
  if (Chance(800)) Heal();  // those that were away come back
  if (Chance(300)) {
    Crash(replica);
    Schedule(EventType::kRestart, Between(5ms, 1500ms), IndexOf(*replica));
    return;
  }
  CutOff(replica);
}

void World::Partition() {
  ++counts_.partitions;
  size_t n = replicas_.size();
  Heal();
  std::vector<bool> side(n);
  uint64_t kind = Chance(250) ? 4 : random_.Below(4);
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
  if (kind == 4) {
    // Only two do not hear each other.
    Heal();
    size_t other = random_.Below(n);
    cut_[alone][other] = cut_[other][alone] = other != alone;
  }
  Trace("partition of kind " + std::to_string(kind) + " around " + std::to_string(alone + 1));
  HealAfter(Between(200ms, 2000ms));
}

// Only the latest cut heals by itself.
void World::HealAfter(Time wait) {
  Schedule(EventType::kHeal, wait, 0, ++cuts_);
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
  if (result.ok() && Chance(500)) CutOff(leader);
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
