#include "raft/group.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace terrane::raft {
namespace {

std::string Name(uint64_t id) {
  return std::to_string(id);
}
std::string Place(const Entry& entry) {
  return std::to_string(entry.index.value()) + "/" + std::to_string(entry.term.value());
}

}  // namespace

Configuration MakeConfiguration(std::vector<uint64_t> voters, std::vector<uint64_t> learners) {
  Configuration configuration;
  for (uint64_t id : voters) configuration.voters.emplace_back(id);
  for (uint64_t id : learners) configuration.learners.emplace_back(id);
  return configuration;
}

Group::Group(uint64_t voters) {
  std::vector<uint64_t> ids;
  for (uint64_t id = 1; id <= voters; ++id) ids.push_back(id);
  for (uint64_t id : ids) {
    nodes_[id].disk.Format(NewGroup(MakeConfiguration(ids)));
    Start(id);
  }
  Pass(300ms);
  TakeTrace();
}

void Group::AddEmpty(uint64_t id) {
  nodes_[id].disk.Format(RestoredState());
  Start(id);
}

void Group::Start(uint64_t id) {
  Node& node = nodes_.at(id);
  Options options;
  options.id = ReplicaId(id);
  options.seed = id;
  node.core.emplace(options, node.disk.Restore(node.durable), now_);
  node.checker = InvariantChecker();
  node.applied.clear();
  node.to_apply.clear();
  node.disk_held = node.apply_held = false;
  Collect(id);
}

void Group::Collect(uint64_t id) {
  Node& node = nodes_.at(id);
  const char* broken = node.checker.Check(*node.core);
  EXPECT_EQ(broken, nullptr) << "replica " << id << ": " << broken;
  while (node.core->HasReady()) {
    Ready ready = node.core->TakeReady(now_);
    if (ready.role) {
      Note(Name(id) + " is " + std::string(ToString(ready.role->role)) + " in term " +
           std::to_string(ready.role->term.value()) +
           (ready.role->leader == ReplicaId() || ready.role->leader == ReplicaId(id)
                ? ""
                : " of " + Name(ready.role->leader.value())));
    }
    if (ready.snapshot) {
      Note(Name(id) + " installs the state at " + Name(ready.snapshot->index.value()));
      node.to_apply.clear();
      node.applied.clear();
      node.core->Applied(ready.snapshot->index);
    }
    for (const Message& message : ready.messages) network_.push_back(message);
    for (Entry& entry : ready.committed) node.to_apply.push_back(std::move(entry));
    for (const ReadState& read : ready.reads) {
      Note(Name(id) + " reads " + std::to_string(read.context) +
           (read.confirmed ? " at " + Name(read.index.value()) : " not"));
      node.reads.push_back(read);
    }
    if (ready.sequence != 0) node.disk.Submit(&ready);
    if (!node.disk_held) Persist(id);
    if (!node.apply_held) Apply(id);
  }
}

void Group::Persist(uint64_t id) {
  Node& node = nodes_.at(id);
  while (node.disk.HasPending()) {
    SimulatedDisk::Write write = node.disk.SyncOldest();
    std::string what;
    if (write.snapshot) node.durable = write.snapshot->index;
    if (write.truncate_from) what += " truncates from " + Name(write.truncate_from->value());
    if (!write.entries.empty()) what += " syncs";
    for (const Entry& entry : write.entries) what += " " + Place(entry);
    if (write.hard_state) {
      what +=
          " term " + std::to_string(write.hard_state->term.value()) + " vote " + Name(write.hard_state->vote.value());
    }
    if (!what.empty()) Note(Name(id) + what);
    for (const Message& message : write.messages) network_.push_back(message);
    node.core->Persisted(write.sequence, now_);
  }
}

void Group::Apply(uint64_t id) {
  Node& node = nodes_.at(id);
  if (node.to_apply.empty()) return;
  std::string what;
  while (!node.to_apply.empty()) {
    what += " " + Place(node.to_apply.front());
    node.applied.push_back(std::move(node.to_apply.front()));
    node.to_apply.pop_front();
  }
  Note(Name(id) + " applies" + what);
  node.core->Applied(node.applied.back().index);
}

void Group::ReleaseDisk(uint64_t id) {
  nodes_.at(id).disk_held = false;
  Persist(id);
  Collect(id);
}

void Group::ReleaseApply(uint64_t id) {
  nodes_.at(id).apply_held = false;
  Apply(id);
  Collect(id);
}

void Group::Crash(uint64_t id) {
  nodes_.at(id).disk.Crash(0);
  nodes_.at(id).core.reset();
  Note(Name(id) + " crashes");
}

void Group::Restart(uint64_t id) {
  Start(id);
}

void Group::Compact(uint64_t id, uint64_t index) {
  Node& node = nodes_.at(id);
  Position at(index);
  node.durable = node.core->applied();
  node.disk.Cut({at, *node.core->log().TermAt(at), node.core->ConfigurationAt(at), ""});
  node.core->Compact(at);
  Collect(id);
}

void Group::Tick(uint64_t id) {
  (*this)[id].Tick(now_);
  Collect(id);
}

void Group::Run(MonotonicTime time) {
  for (MonotonicTime end = now_ + time; now_ < end;) {
    Pass(10ms);
    for (auto& [id, node] : nodes_) {
      if (node.core) Tick(id);
    }
    Settle();
  }
}

void Group::Deliver(const Message& message) {
  uint64_t from = message.from.value();
  uint64_t to = message.to.value();
  auto node = nodes_.find(to);
  bool lost = cut_.count({from, to}) != 0 || node == nodes_.end() || !node->second.core;
  Note(ToString(message) + (lost ? "  (lost)" : ""));
  if (lost) return;
  if (message.type == MessageType::kInstallSnapshot && node->second.core->WantsSnapshot(message, now_)) {
    // The data is there before the reference.
    Message with_data = message;
    auto reference = std::make_shared<SnapshotReference>(*message.snapshot);
    reference->address = "fetched";
    with_data.snapshot = reference;
    node->second.core->Step(with_data, now_);
  } else {
    node->second.core->Step(message, now_);
  }
  Collect(to);
}

void Group::Settle() {
  for (int i = 0; !network_.empty(); ++i) {
    ASSERT_LT(i, 100000) << "the group does not come to rest";
    Message message = std::move(network_.front());
    network_.pop_front();
    Deliver(message);
  }
}

void Group::DeliverOnly(const std::function<bool(const Message&)>& wanted) {
  std::deque<Message> before = std::exchange(network_, {});
  std::deque<Message> rest;
  for (const Message& message : before) {
    if (wanted(message)) {
      Deliver(message);
    } else {
      rest.push_back(message);
    }
  }
  network_.insert(network_.begin(), rest.begin(), rest.end());
}

void Group::Drop(const std::function<bool(const Message&)>& unwanted) {
  network_.erase(std::remove_if(network_.begin(), network_.end(), unwanted), network_.end());
}

void Group::Cut(uint64_t a, uint64_t b) {
  cut_.insert({a, b});
  cut_.insert({b, a});
}

void Group::Isolate(uint64_t id) {
  for (const auto& [other, node] : nodes_) {
    if (other != id) Cut(id, other);
  }
}

void Group::Elect(uint64_t id) {
  // It may learn of a newer term first, or step down.
  for (int i = 0; i < 3 && !(*this)[id].IsLeader(); ++i) {
    Pass(700ms);
    Tick(id);
    Settle();
  }
  EXPECT_TRUE((*this)[id].IsLeader()) << TakeTrace();
}

ProposeResult Group::Propose(uint64_t id, std::string data) {
  ProposeResult result = (*this)[id].Propose((*this)[id].term(), std::move(data));
  Collect(id);
  return result;
}

ProposeResult Group::Change(uint64_t id, std::vector<uint64_t> voters, std::vector<uint64_t> learners) {
  Core& core = (*this)[id];
  ProposeResult result =
      core.ProposeConfiguration(core.term(), MakeConfiguration(std::move(voters), std::move(learners)), now_);
  Collect(id);
  return result;
}

std::string Group::Terms(uint64_t id) {
  const LogView& log = (*this)[id].log();
  std::string out;
  for (Position i = log.first(); i <= log.last(); i = i + 1) {
    out += (out.empty() ? "" : " ") + std::to_string(log.At(i).term.value());
  }
  return out;
}

std::string Group::AppliedData(uint64_t id) {
  std::string out;
  for (const Entry& entry : nodes_.at(id).applied) {
    if (entry.type == EntryType::kNormal) out += (out.empty() ? "" : " ") + std::string(entry.data.view());
  }
  return out;
}

}  // namespace terrane::raft
