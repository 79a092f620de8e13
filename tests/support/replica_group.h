// Several replicas of a group in one process, each with a disk and a state machine that outlive it.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "replication/replicated_log.h"
#include "support/await.h"
#include "support/fault_file_system.h"
#include "support/list_machine.h"
#include "support/memory_transport.h"

namespace terrane::testing {

// Replicas 1..n. One thread drives it.
class ReplicaGroup {
 public:
  using Options = replication::ReplicatedLog::Options;
  explicit ReplicaGroup(uint64_t n, std::function<void(Options*)> change = nullptr)
      : n_(n), change_(std::move(change)) {
    for (uint64_t i = 1; i <= n; ++i) {
      nodes_[ReplicaId(i)] = std::make_unique<Node>();
      ids_.insert(ReplicaId(i));
    }
  }
  ~ReplicaGroup() { StopAll(); }

  struct Node {
    Node() : machine(&disk) {}
    FaultFileSystem disk;
    ListMachine machine;
    std::unique_ptr<replication::Transport> transport;
    std::unique_ptr<replication::ReplicatedLog> log;
    std::mutex mutex;
    absl::Status fatal;
    absl::Status Fatal() {
      std::lock_guard lock(mutex);
      return fatal;
    }
  };
  Node& operator[](uint64_t id) { return *nodes_.at(ReplicaId(id)); }
  const std::set<ReplicaId>& ids() const { return ids_; }
  MemoryNetwork& network() { return network_; }

  absl::Status Start(uint64_t id) {
    Node& node = (*this)[id];
    node.fatal = absl::OkStatus();
    Options options;
    options.directory = "/replica";
    options.identity = {"c1", "g", ReplicaId(id)};
    for (ReplicaId member : ids_) options.members.push_back({member, ""});
    options.timeouts.heartbeat *= kSlowness;
    options.timeouts.election_min *= kSlowness;
    options.timeouts.election_max *= kSlowness;
    options.timeouts.slow_disk *= kSlowness;
    options.segment_bytes = 64 << 10;
    options.file_system = &node.disk;
    options.on_fatal = [&node](const absl::Status& status) {
      std::lock_guard lock(node.mutex);
      node.fatal = status;
    };
    if (change_) change_(&options);
    node.transport = network_.MakeTransport(ReplicaId(id), &node.disk);
    options.transport = node.transport.get();
    auto log = replication::ReplicatedLog::Open(options, &node.machine);
    if (!log.ok()) return log.status();
    node.log = *std::move(log);
    return absl::OkStatus();
  }
  // As kill -9 to the outside: nobody is told. What was written stays written.
  void Stop(uint64_t id) {
    Node& node = (*this)[id];
    if (node.log != nullptr) node.log->Stop();
    node.log.reset();
    node.transport.reset();
  }
  void PowerCut(uint64_t id, std::mt19937_64* random) {
    Node& node = (*this)[id];
    node.disk.PowerCut(random);
    Stop(id);
    node.machine.PowerCut(random);
  }
  absl::Status StartAll() {
    for (ReplicaId id : ids_) {
      if (absl::Status status = Start(id.value()); !status.ok()) return status;
    }
    return absl::OkStatus();
  }
  void StopAll() {
    for (ReplicaId id : ids_) Stop(id.value());
  }

  // The replica that is ready to serve in the greatest term; waits for it. 0: none came.
  uint64_t Leader(std::optional<uint64_t> other_than = std::nullopt) {
    uint64_t leader = 0;
    Await([&] {
      Term best;
      leader = 0;
      for (ReplicaId id : ids_) {
        if (other_than && id.value() == *other_than) continue;
        auto& log = (*this)[id.value()].log;
        if (log == nullptr) continue;
        const replication::LeaderState state = log->Leader();
        if (state.ready_to_serve && state.term > best) {
          best = state.term;
          leader = id.value();
        }
      }
      return leader != 0;
    });
    return leader;
  }

  // Proposes at a replica in its present term and waits.
  replication::ProposeResult Propose(uint64_t id, std::string data) {
    return Propose(id, (*this)[id].log->Leader().term, std::move(data));
  }
  replication::ProposeResult Propose(uint64_t id, Term term, std::string data) {
    std::mutex mutex;
    std::condition_variable wake;
    std::optional<replication::ProposeResult> result;
    (*this)[id].log->Propose(term, std::move(data), [&](replication::ProposeResult r) {
      std::lock_guard lock(mutex);
      result = std::move(r);
      wake.notify_one();
    });
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] { return result.has_value(); });
    return *std::move(result);
  }
  // Until it is applied somewhere; at whoever leads.
  bool ProposeSomewhere(const std::string& data) {
    return Await([&] {
      const uint64_t leader = Leader();
      return leader != 0 && Propose(leader, data).outcome == replication::ProposeOutcome::kApplied;
    });
  }
  // All running replicas have applied the same, and at least `entries` of them.
  bool AwaitEqual(size_t entries) {
    return Await([&] {
      std::optional<std::vector<std::string>> first;
      for (ReplicaId id : ids_) {
        Node& node = (*this)[id.value()];
        if (node.log == nullptr) continue;
        std::vector<std::string> data = node.machine.Data();
        if (data.size() < entries || (first && *first != data)) return false;
        first = std::move(data);
      }
      return true;
    });
  }

 private:
  const uint64_t n_;
  const std::function<void(Options*)> change_;
  MemoryNetwork network_;
  std::set<ReplicaId> ids_;
  std::map<ReplicaId, std::unique_ptr<Node>> nodes_;
};

}  // namespace terrane::testing
