// Clients of the simulated group, and what they may expect.
#include <cstring>

#include "simulation/raft_world.h"

namespace terrane::raft {

std::string EncodeUpdate(const Update& update) {
  std::string bytes(20, '\0');
  std::memcpy(bytes.data(), &update.key, 4);
  std::memcpy(bytes.data() + 4, &update.expected, 8);
  std::memcpy(bytes.data() + 12, &update.value, 8);
  return bytes;
}

Update DecodeUpdate(std::string_view bytes) {
  Update update;
  std::memcpy(&update.key, bytes.data(), 4);
  std::memcpy(&update.expected, bytes.data() + 4, 8);
  std::memcpy(&update.value, bytes.data() + 12, 8);
  return update;
}

// Whoever says that it may serve is asked; after a partition that may be more than one.
void World::ClientUpdates(bool once) {
  if (!once) {
    Time pause = faults_ && Chance(quiet_permille_) ? Between(300ms, 1500ms) : Between(5ms, 35ms);
    Schedule(EventType::kUpdate, Chance(100) ? 500us : pause);
  }
  for (Replica& replica : replicas_) {
    if (!replica.core || replica.paused_until > now_ || !replica.core->ReadyToServe()) continue;
    uint32_t key = static_cast<uint32_t>(random_.Below(kRegisters));
    if (replica.latched[key]) continue;
    replica.latched[key] = true;
    uint64_t slot = updates_.size();
    if (free_updates_.empty()) {
      updates_.emplace_back();
    } else {
      slot = free_updates_.back();
      free_updates_.pop_back();
    }
    updates_[slot] = {replica.core->term(), key, replica.state.registers[key], ++next_value_};
    // The proposal waits in a queue, sometimes for long.
    Time wait = faults_ && Chance(120) ? Between(5ms, 2500ms) : Between(10us, 2ms);
    Schedule(EventType::kPropose, wait, IndexOf(replica), slot);
  }
}

void World::ClientProposes(Replica* replica, const Update& update) {
  ++counts_.steps;
  ProposeResult result = replica->core->Propose(update.term, EncodeUpdate(update));
  if (result.ok()) {
    replica->in_flight.push_back({result.first, update});
  } else {
    if (result.refusal == Refusal::kOtherTerm) ++counts_.stale_proposals_refused;
    // The latches of an older term are gone with it.
    if (replica->core->term() == update.term) replica->latched[update.key] = false;
  }
  AfterStep(replica);
}

// Latches belong to a leader's term.
void World::LeaderStateChanged(Replica* replica) {
  replica->in_flight.clear();
  replica->latched.fill(false);
}

void World::ApplyToRegisters(Replica* replica, const Entry& entry) {
  replica->state.applied = entry.index;
  if (entry.type != EntryType::kNormal) return;
  Update update = DecodeUpdate(entry.data.view());
  uint64_t& value = replica->state.registers[update.key];
  if (value != update.expected) Fail("lost update: an entry was computed from a value that is no longer there");
  value = update.value;
}

void World::Acknowledge(Replica* replica, const Entry& entry) {
  while (!replica->in_flight.empty() && replica->in_flight.front().index <= entry.index) {
    const Replica::InFlight& mine = replica->in_flight.front();
    replica->latched[mine.update.key] = false;
    if (mine.index == entry.index && mine.update.term == entry.term) {
      ++counts_.acknowledged;
      if (entry.index > acknowledged_) acknowledged_at_.emplace_back(now_, acknowledged_ = entry.index);
      ReadUnderLeases();
    }
    replica->in_flight.pop_front();
  }
}

void World::ClientReads() {
  Schedule(EventType::kRead, Between(10ms, 60ms));
  Replica* asked = SomeReplica();
  if (asked->core && asked->paused_until <= now_) {
    ++counts_.steps;
    uint64_t context = ++next_context_;
    if (asked->core->ReadIndex(context) == Refusal::kNone) reads_[context] = acknowledged_;
    AfterStep(asked);
  }
  ReadUnderLeases();
  ReadAtFollowers();
}

// Whoever may serve a read without asking anybody shows all that was acknowledged.
void World::ReadUnderLeases() {
  for (Replica& replica : replicas_) {
    if (!replica.core || replica.paused_until > now_) continue;
    std::optional<Time> lease = replica.core->LeaseUntil();
    if (!lease || ClockOf(replica) >= *lease) continue;
    ++counts_.lease_reads;
    if (replica.state.applied < acknowledged_) Fail("a read under a lease misses an acknowledged write");
  }
}

// Whoever has applied what a leader spoke of shows all that was acknowledged before the time of that word.
void World::ReadAtFollowers() {
  for (Replica& replica : replicas_) {
    if (!replica.core || replica.paused_until > now_) continue;
    const std::optional<LeaderWord> word = replica.core->Word(ClockOf(replica));
    if (!word || replica.state.applied < word->committed) continue;
    ++counts_.follower_reads;
    const Time at = WorldTimeOf(replica, word->at) - 5us;  // the conversion is good to so much
    const auto later = std::lower_bound(acknowledged_at_.begin(), acknowledged_at_.end(), at,
                                        [](const auto& one, Time time) { return one.first < time; });
    if (later == acknowledged_at_.begin() || std::prev(later)->second <= replica.state.applied) continue;
    Fail("a follower that says how fresh it is misses what was acknowledged before that time");
  }
}

void World::ReadsAnswered(Replica*, const std::vector<ReadState>& reads) {
  for (const ReadState& read : reads) {
    auto asked = reads_.find(read.context);
    if (asked == reads_.end()) continue;
    if (read.confirmed) {
      ++counts_.index_reads;
      if (read.index < asked->second) Fail("a read index misses a write that was acknowledged before the read began");
    }
    reads_.erase(asked);
  }
}

}  // namespace terrane::raft
