// Event loop, network, disks, state machines of the Raft simulation.
#include "simulation/raft_world.h"

#include <cstdio>
#include <cstring>

namespace terrane::raft {

World::World(const SimulationOptions& options) : options_(options), random_(options.seed * 0x9e3779b97f4a7c15 + 1) {
  uint64_t nodes = options.nodes != 0 ? static_cast<uint64_t>(options.nodes) : (Chance(500) ? 3 : 5);
  membership_ = Chance(450);
  uint64_t spare = membership_ ? 2 : 0;
  // Each seed has weather of its own.
  loss_permille_ = Chance(600) ? random_.Below(100) : 0;
  duplicate_permille_ = Chance(500) ? random_.Below(60) : 0;
  late_permille_ = Chance(500) ? random_.Below(80) : 0;
  vote_crash_permille_ = Chance(500) ? random_.Below(400) : 0;
  edge_permille_ = Chance(500) ? random_.Below(900) : 0;
  compact_permille_ = Chance(600) ? random_.Below(1000) : 0;
  quiet_permille_ = Chance(600) ? random_.Below(150) : 0;
  delay_max_ = Chance(700) ? 5ms : 60ms;
  apply_max_ = Chance(600) ? 2ms : 150ms;
  core_options_.max_message_bytes = Chance(600) ? random_.Below(100) : 1 << 20;
  core_options_.max_inflight_bytes = Chance(500) ? random_.Below(1000) : 1 << 20;
  core_options_.max_apply_bytes = Chance(500) ? random_.Below(300) : 1 << 20;
  core_options_.promotion_lag = 20;

  Configuration founders;
  for (uint64_t id = 1; id <= nodes; ++id) founders.voters.push_back(ReplicaId(id));
  replicas_.resize(nodes + spare);
  cut_.assign(replicas_.size(), std::vector<bool>(replicas_.size(), false));
  for (uint64_t i = 0; i < replicas_.size(); ++i) {
    Replica& replica = replicas_[i];
    replica.id = ReplicaId(i + 1);
    replica.clock_offset = Time(static_cast<int64_t>(random_.Below(1'000'000'000)));
    replica.clock_drift = static_cast<int64_t>(random_.Below(61)) - 30;
    replica.disk.Format(i < nodes ? NewGroup(founders) : RestoredState());
    if (i == 0) ledger_.Appended(Term(), NewGroup(founders).entries.front());
    Start(&replica);
    Schedule(EventType::kSyncData, Between(50ms, 400ms), i);
  }
  Schedule(EventType::kUpdate, 10ms);
  Schedule(EventType::kRead, 15ms);
  Schedule(EventType::kFault, Between(300ms, 1000ms));
}

SimulationResult World::Run() {
  while (failure_.empty() && (counts_.steps < options_.steps_min || faults_done_ < 4)) {
    if (now_ > 600s) Fail("the simulated time runs away");
    RunUntilQuiet();
  }
  if (failure_.empty()) {
    EndFaults();
    Time deadline = now_ + 30s;
    while (failure_.empty() && !Recovered()) {
      if (now_ > deadline) Fail("the group does not commit again after the faults ended");
      RunUntilQuiet();
    }
  }
  counts_.seeds = 1;
  counts_.leader_changes = ledger_.leaders() > 0 ? ledger_.leaders() - 1 : 0;
  return {failure_, counts_};
}

// The next event and all that happens at the same time.
void World::RunUntilQuiet() {
  now_ = events_.top().at;
  while (failure_.empty() && events_.top().at == now_) {
    Event event = events_.top();
    events_.pop();
    Handle(event);
  }
}

void World::Schedule(EventType type, Time after, uint32_t replica, uint64_t slot) {
  uint64_t life = replica < replicas_.size() ? replicas_[replica].life : 0;
  events_.push({now_ + after, order_++, type, replica, life, slot});
}

void World::Handle(const Event& event) {
  Replica& replica = replicas_[event.replica];
  bool alive = replica.core.has_value() && replica.life == event.life;
  bool of_replica = event.type == EventType::kDeliver || event.type == EventType::kTick ||
                    event.type == EventType::kDiskDone || event.type == EventType::kApply ||
                    event.type == EventType::kPropose || event.type == EventType::kFetched ||
                    event.type == EventType::kDiskStalls;
  if (of_replica && alive && replica.paused_until > now_) {
    // The process is stopped: all that concerns it waits.
    events_.push({replica.paused_until, order_++, event.type, event.replica, event.life, event.slot});
    return;
  }
  switch (event.type) {
    case EventType::kDeliver: {
      // A message finds whoever lives at the address now.
      UnderWay under_way = std::move(messages_[event.slot]);
      free_messages_.push_back(event.slot);
      // What was on its way when the network was cut is mostly lost.
      if (cut_[under_way.message.from.value() - 1][event.replica] && Chance(800)) break;
      if (replica.core) Deliver(&replica, std::move(under_way));
      break;
    }
    case EventType::kTick:
      if (!alive || replica.tick_at != event.at) {
        // Overtaken by an earlier one, unless a pause delayed it.
        if (!alive || replica.tick_at > event.at) break;
      }
      replica.tick_at = Time::max();
      ++counts_.steps;
      replica.core->Tick(ClockOf(replica));
      AfterStep(&replica);
      break;
    case EventType::kDiskDone:
      if (alive) DiskDone(&replica, event.slot);
      break;
    case EventType::kDiskStalls:
      if (!alive || !replica.disk_busy) break;
      ++counts_.stalls;
      ++counts_.steps;
      replica.core->PersistStalled(true, ClockOf(replica));
      AfterStep(&replica);
      break;
    case EventType::kApply:
      if (alive) ApplySome(&replica);
      break;
    case EventType::kSyncData:
      if (replica.core) SyncData(&replica);
      Schedule(EventType::kSyncData, Between(50ms, 400ms), event.replica);
      break;
    case EventType::kUpdate:
      ClientUpdates(event.slot != 0);
      break;
    case EventType::kPropose: {
      Update update = updates_[event.slot];
      free_updates_.push_back(event.slot);
      if (alive) ClientProposes(&replica, update);
      break;
    }
    case EventType::kRead:
      ClientReads();
      break;
    case EventType::kFault:
      NextFault();
      break;
    case EventType::kRestart:
      if (!replica.core) Start(&replica);
      break;
    case EventType::kHeal:
      if (event.slot == cuts_) Heal();
      break;
    case EventType::kFetched: {
      Message message = std::move(messages_[event.slot].message);
      free_messages_.push_back(event.slot);
      if (alive) Fetched(&replica, std::move(message));
      break;
    }
  }
}

Time World::ClockOf(const Replica& replica) const {
  return replica.clock_offset + now_ + Time(now_.count() / 1000 * replica.clock_drift);
}

Time World::WorldTimeOf(const Replica& replica, Time local) const {
  int64_t ran = (local - replica.clock_offset).count();
  return Time(ran / (1000 + replica.clock_drift) * 1000 + 2000);
}

Replica* World::Find(ReplicaId id) {
  return id.value() >= 1 && id.value() <= replicas_.size() ? &replicas_[id.value() - 1] : nullptr;
}

void World::Start(Replica* replica) {
  // Sometimes its machine was started anew, and its clock with it.
  if (++replica->life > 1 && Chance(300)) {
    replica->clock_offset = Time(static_cast<int64_t>(random_.Below(1'000'000'000))) - now_;
  }
  replica->checker = InvariantChecker();
  replica->state = replica->durable;
  replica->to_apply.clear();
  replica->apply_scheduled = replica->disk_busy = replica->fetching = false;
  replica->disk_slow_until = replica->paused_until = Time(0);
  replica->tick_at = Time::max();
  replica->in_flight.clear();
  replica->latched.fill(false);
  replica->led_term = Term();
  Options options = core_options_;
  options.id = replica->id;
  options.seed = random_.Next();
  replica->core.emplace(options, replica->disk.Restore(replica->durable.applied), ClockOf(*replica));
  replica->seen_commit = replica->core->commit();
  replica->seen_configuration = replica->core->configuration_index();
  AfterStep(replica);
}

void World::Crash(Replica* replica) {
  ++counts_.crashes;
  size_t pending = replica->disk.pending();
  size_t kept = pending == 0 ? 0 : random_.Below(pending + 1);
  if (kept < pending) ++counts_.crashes_with_loss;
  Trace("crash of " + std::to_string(replica->id.value()) + ", " + std::to_string(pending - kept) + " writes lost");
  // A snapshot's data is durable before the log is cut behind it.
  for (size_t i = 0; i < kept; ++i) {
    if (replica->disk.OldestPending().snapshot) replica->durable = *replica->fetched;
    replica->disk.SyncOldest();
  }
  replica->disk.Crash(0);
  replica->core.reset();
}

void World::AfterStep(Replica* replica) {
  Core& core = *replica->core;
  Check(replica->checker.Check(core), *replica);
  if (core.commit() > replica->seen_commit) {
    Check(ledger_.Committed(core, replica->seen_commit + 1), *replica);
    replica->seen_commit = core.commit();
  }
  if (core.IsLeader() && core.term() != replica->led_term) {
    replica->led_term = core.term();
    Trace(std::to_string(replica->id.value()) + " leads term " + std::to_string(core.term().value()));
    Check(ledger_.BecameLeader(core), *replica);
    replica->no_op = core.last_index();
    replica->inherited = ledger_.committed();
    NewLeaderElected(replica);
  }
  while (failure_.empty() && replica->core && replica->core->HasReady()) TakeReady(replica);
  if (!failure_.empty() || !replica->core) return;
  if (replica->edge != Replica::Edge::kNone) {
    MaybeStopNewLeader(replica);
    if (!replica->core) return;
  }
  Time next = core.NextTick();
  if (next == Time::max()) return;
  Time at = std::max(WorldTimeOf(*replica, next), now_);
  if (at < replica->tick_at) {
    replica->tick_at = at;
    Schedule(EventType::kTick, at - now_, IndexOf(*replica));
  }
}

void World::TakeReady(Replica* replica) {
  Core& core = *replica->core;
  Ready ready = core.TakeReady(ClockOf(*replica));
  if (ready.role) LeaderStateChanged(replica);
  bool led = core.IsLeader() && core.term() == replica->led_term;
  if (led && (ready.truncate_from || ready.snapshot)) Fail("leader append-only: a leader removes entries of its log");
  if (ready.truncate_from) ++counts_.truncations;
  if (core.configuration_index() < replica->seen_configuration) ++counts_.configurations_undone;
  replica->seen_configuration = core.configuration_index();
  for (const Entry& entry : ready.entries) {
    Check(ledger_.Appended(*core.log().TermAt(entry.index - 1), entry), *replica);
  }
  for (const Message& message : ready.messages) Post(message);
  if (ready.snapshot) {
    ++counts_.snapshots_installed;
    replica->state = *replica->fetched;
    replica->to_apply.clear();
  }
  bool snapshot = ready.snapshot.has_value();
  if (ready.sequence != 0) replica->disk.Submit(&ready);
  for (Entry& entry : ready.committed) replica->to_apply.push_back(std::move(entry));
  if (snapshot) {
    ++counts_.steps;
    core.Applied(replica->state.applied);
  }
  ReadsAnswered(replica, ready.reads);
  if (!replica->to_apply.empty() && !replica->apply_scheduled) {
    replica->apply_scheduled = true;
    Schedule(EventType::kApply, Between(50us, apply_max_), IndexOf(*replica));
  }
  if (ready.sequence != 0) {
    StartDisk(replica);
    MaybeCrashBeforeSync(replica);
  }
}

void World::Post(const Message& message) {
  Replica* to = Find(message.to);
  if (to == nullptr || cut_[message.from.value() - 1][message.to.value() - 1]) return;
  if (faults_ && Chance(loss_permille_)) return;
  Replica* from = Find(message.from);
  const UnderWay under_way{message, from->life, from->heard_life[message.to]};
  int copies = faults_ && Chance(duplicate_permille_) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    uint64_t slot = messages_.size();
    if (free_messages_.empty()) {
      messages_.push_back(under_way);
    } else {
      slot = free_messages_.back();
      free_messages_.pop_back();
      messages_[slot] = under_way;
    }
    Time delay = Between(200us, delay_max_);
    if (faults_ && Chance(late_permille_)) delay = Between(delay_max_, 900ms);
    Schedule(EventType::kDeliver, delay, IndexOf(*to), slot);
  }
}

void World::Deliver(Replica* replica, UnderWay under_way) {
  auto& [message, life, known_life] = under_way;
  if (options_.trace) Trace(ToString(message));
  uint64_t& heard = replica->heard_life[message.from];
  if (life > heard) {
    heard = life;
    replica->core->PeerStarted(message.from);
  } else if (life < heard && message.type == MessageType::kHeartbeatAnswer) {
    message.echo = 0;  // hosts refuse what an earlier start has said; what it says of the log is true for ever
  }
  if (known_life != replica->life && message.type == MessageType::kHeartbeat) message.echo = 0;  // as hosts do
  ++counts_.steps;
  if (message.type == MessageType::kInstallSnapshot && message.term >= replica->core->term()) {
    if (replica->core->WantsSnapshot(message, ClockOf(*replica))) {
      if (!replica->fetching) Fetch(replica, message);
      AfterStep(replica);
      return;
    }
  }
  replica->core->Step(message, ClockOf(*replica));
  AfterStep(replica);
}

// Fetches the data for a snapshot message, from whoever has enough.
void World::Fetch(Replica* replica, const Message& message) {
  replica->fetching = true;
  uint64_t slot = messages_.size();
  messages_.push_back({.message = message});
  Schedule(EventType::kFetched, Between(1ms, 200ms), IndexOf(*replica), slot);
}

void World::Fetched(Replica* replica, Message message) {
  replica->fetching = false;
  Replica* source = SomeReplica();
  bool usable = source != replica && source->core && source->state.applied >= message.snapshot->index &&
                source->core->log().TermAt(source->state.applied).has_value();
  ++counts_.steps;
  if (!usable) {
    replica->core->SnapshotFailed(message);
    AfterStep(replica);
    return;
  }
  // Nothing is installed over a state that is newer, so the data is looked at once more by the core.
  auto reference = std::make_shared<SnapshotReference>();
  reference->index = source->state.applied;
  reference->term = *source->core->log().TermAt(reference->index);
  reference->configuration = source->core->ConfigurationAt(reference->index);
  message.snapshot = reference;
  // A write that bears an earlier snapshot must be through before `fetched` changes.
  while (replica->disk.HasPending() && replica->fetched) {
    SimulatedDisk::Write write = replica->disk.SyncOldest();
    if (write.snapshot) replica->durable = *replica->fetched;
    for (const Message& after : write.messages) Post(after);
    replica->core->Persisted(write.sequence, ClockOf(*replica));
  }
  replica->fetched = source->state;
  replica->core->Step(message, ClockOf(*replica));
  AfterStep(replica);
}

// One write and one sync for all that waits.
void World::StartDisk(Replica* replica) {
  if (replica->disk_busy || !replica->disk.HasPending()) return;
  replica->disk_busy = true;
  Time latency = Between(100us, Chance(900) ? 2ms : 15ms);
  if (replica->disk_slow_until > now_) latency = Between(20ms, 500ms);
  Schedule(EventType::kDiskDone, latency, IndexOf(*replica), replica->disk.pending());
  if (latency > 300ms) Schedule(EventType::kDiskStalls, 300ms, IndexOf(*replica));
}

void World::DiskDone(Replica* replica, uint64_t writes) {
  uint64_t sequence = 0;
  for (uint64_t i = 0; i < writes && replica->disk.HasPending(); ++i) {
    SimulatedDisk::Write write = replica->disk.SyncOldest();
    if (write.snapshot) replica->durable = *replica->fetched;
    for (const Message& message : write.messages) Post(message);
    sequence = write.sequence;
  }
  replica->disk_busy = false;
  counts_.steps += 2;
  replica->core->PersistStalled(false, ClockOf(*replica));
  if (sequence != 0) replica->core->Persisted(sequence, ClockOf(*replica));
  AfterStep(replica);
  if (replica->core) StartDisk(replica);
}

void World::ApplySome(Replica* replica) {
  replica->apply_scheduled = false;
  size_t count = 1 + random_.Below(20);
  for (; count > 0 && !replica->to_apply.empty() && failure_.empty(); --count) {
    Entry entry = std::move(replica->to_apply.front());
    replica->to_apply.pop_front();
    if (entry.index != replica->state.applied + 1) Fail("entries are applied without a gap");
    Check(ledger_.Applied(entry), *replica);
    ApplyToRegisters(replica, entry);
    Acknowledge(replica, entry);
  }
  ++counts_.steps;
  replica->core->Applied(replica->state.applied);
  AfterStep(replica);
  if (replica->core && !replica->to_apply.empty() && !replica->apply_scheduled) {
    replica->apply_scheduled = true;
    Schedule(EventType::kApply, Between(50us, apply_max_), IndexOf(*replica));
  }
}

// Makes the state machine durable, then maybe cuts the log.
void World::SyncData(Replica* replica) {
  // While a snapshot is on its way to disk the state is ahead of the log.
  if (replica->state.applied > replica->disk.last()) return;
  replica->durable = replica->state;
  if (!Chance(compact_permille_)) return;
  Core& core = *replica->core;
  uint64_t slack = Chance(500) ? 0 : random_.Below(30);
  if (replica->durable.applied.value() <= core.log().base().value() + slack) return;
  Position index = replica->durable.applied - slack;
  if (index <= replica->disk.base() || index > core.applied()) return;
  std::optional<Term> term = core.log().TermAt(index);
  if (!term) return;
  replica->disk.Cut({index, *term, core.ConfigurationAt(index), ""});
  ++counts_.steps;
  core.Compact(index);
  AfterStep(replica);
}

void World::Fail(const std::string& sentence) {
  if (!failure_.empty()) return;
  failure_ = sentence;
  Trace("FAILED: " + sentence);
}

void World::Check(const char* broken, const Replica& replica) {
  if (broken != nullptr) Fail(std::string(broken) + " (replica " + std::to_string(replica.id.value()) + ")");
}

void World::Trace(const std::string& line) {
  if (options_.trace) std::fprintf(stderr, "%10.3f ms  %s\n", static_cast<double>(now_.count()) / 1e6, line.c_str());
}

}  // namespace terrane::raft
