// A few cores in one test, with a network, disks and state machines that do what the test says. Nothing happens by
// itself: messages wait until they are delivered, and time stands still until it is moved.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "raft/core.h"
#include "raft/invariants.h"
#include "simulation/raft_disk.h"

namespace terrane::raft {

using namespace std::chrono_literals;  // NOLINT(google-build-using-namespace): literals only

class Group {
 public:
  // Voters 1..voters as founders. Their clocks begin at 1000 s, and their silence after the start is over.
  explicit Group(uint64_t voters);

  // Starts a replica that belongs to nobody's configuration yet, with an empty log.
  void AddEmpty(uint64_t id);

  Core& operator[](uint64_t id) { return *nodes_.at(id).core; }
  MonotonicTime now() const { return now_; }

  // --- Time ---
  void Pass(MonotonicTime time) { now_ += time; }  // nobody looks at the clock
  void Tick(uint64_t id);                          // this one looks
  // Time passes in steps of 10 ms, all look at the clock, all messages arrive.
  void Run(MonotonicTime time);

  // --- Messages ---
  const std::deque<Message>& network() const { return network_; }
  // Delivers what is on its way, and what that causes, until nothing is.
  void Settle();
  // Delivers only what `wanted` says, once; the rest waits.
  void DeliverOnly(const std::function<bool(const Message&)>& wanted);
  void DropAll() { network_.clear(); }
  void Drop(const std::function<bool(const Message&)>& unwanted);
  void Deliver(const Message& message);
  void Cut(uint64_t a, uint64_t b);  // both ways; what is sent is lost
  void Isolate(uint64_t id);
  void Heal() { cut_.clear(); }

  // --- Hosts ---
  void HoldDisk(uint64_t id) { nodes_.at(id).disk_held = true; }
  void ReleaseDisk(uint64_t id);
  void HoldApply(uint64_t id) { nodes_.at(id).apply_held = true; }
  void ReleaseApply(uint64_t id);
  // Power cut; what the disk holds back is lost. The state machine starts from nothing, or from the last snapshot.
  void Crash(uint64_t id);
  void Restart(uint64_t id);
  bool IsUp(uint64_t id) const { return nodes_.at(id).core.has_value(); }
  // Cuts the log of a replica up to here.
  void Compact(uint64_t id, uint64_t index);
  // Takes what the core has to say. After each direct call of a core.
  void Collect(uint64_t id);

  // --- Shorthands ---
  // This one campaigns, after a time in which nobody heard a leader; all messages arrive. EXPECTs that it leads.
  void Elect(uint64_t id);
  // Proposes at a leader and collects; nothing is delivered.
  ProposeResult Propose(uint64_t id, std::string data);
  ProposeResult Change(uint64_t id, std::vector<uint64_t> voters, std::vector<uint64_t> learners);
  // "1 2 2": the terms of the log from its first entry on.
  std::string Terms(uint64_t id);
  // "a b": the data of the normal entries that it applied since its start.
  std::string AppliedData(uint64_t id);
  std::vector<ReadState> TakeReads(uint64_t id) { return std::exchange(nodes_.at(id).reads, {}); }

  // What happened since the last call, a line each.
  std::string TakeTrace() { return std::exchange(trace_, ""); }

 private:
  struct Node {
    std::optional<Core> core;
    InvariantChecker checker;
    SimulatedDisk disk;
    bool disk_held = false;
    bool apply_held = false;
    std::deque<Entry> to_apply;
    std::vector<Entry> applied;
    std::vector<ReadState> reads;
    Position durable;  // of the state machine
  };

  void Start(uint64_t id);
  void Note(const std::string& line) { trace_ += line + "\n"; }
  void Persist(uint64_t id);
  void Apply(uint64_t id);

  MonotonicTime now_{1000s};
  std::map<uint64_t, Node> nodes_;
  std::deque<Message> network_;
  std::set<std::pair<uint64_t, uint64_t>> cut_;
  std::string trace_;
};

// A configuration from plain numbers.
Configuration MakeConfiguration(std::vector<uint64_t> voters, std::vector<uint64_t> learners = {});

}  // namespace terrane::raft
