#include <condition_variable>
#include <mutex>
#include <thread>

#include "common/random.h"
#include "common/status.h"
#include "load.h"
#include "replication/grpc_transport.h"
#include "replication/replicated_log.h"
#include "rpc/server.h"
#include "sections.h"
#include "tools/free_ports.h"

namespace terrane::bench {
namespace {

using BenchClock = std::chrono::steady_clock;
constexpr int kNodes = 3;
constexpr size_t kEntryBytes = 128;

// Counts entries: what is measured is the log, not what is done with it.
class CountingMachine : public replication::StateMachine {
 public:
  Position AppliedPosition() override { return applied_; }
  absl::Status Apply(std::span<const replication::CommittedEntry> batch, std::span<replication::ApplyResult>) override {
    applied_ = batch.back().position;
    return absl::OkStatus();
  }
  // Nothing survives this process, so the log must be kept whole.
  absl::StatusOr<Position> MakeDurable() override { return Position(0); }
  absl::Status TakeCheckpoint(const std::filesystem::path&) override { return Internal("not asked for in the bench"); }
  absl::Status InstallCheckpoint(const std::filesystem::path&) override {
    return Internal("not asked for in the bench");
  }

 private:
  Position applied_{0};
};

struct Node {
  CountingMachine machine;
  std::unique_ptr<replication::GrpcTransport> transport;
  std::unique_ptr<rpc::Server> server;
  std::unique_ptr<replication::ReplicatedLog> log;  // ends first
};

class Group {
 public:
  static absl::StatusOr<std::unique_ptr<Group>> Start(const std::filesystem::path& directory) {
    auto group = std::make_unique<Group>();
    Random random(Random::SystemSeed());
    TERRANE_ASSIGN_OR_RETURN(const std::vector<uint16_t> ports, tools::ChooseFreePorts(kNodes, random));
    std::vector<replication::Member> members;
    for (int i = 0; i < kNodes; ++i) {
      members.push_back({ReplicaId(static_cast<uint64_t>(i + 1)), StrCat("127.0.0.1:", ports[static_cast<size_t>(i)])});
    }
    for (const replication::Member& member : members) {
      auto node = std::make_unique<Node>();
      replication::ReplicatedLog::Options options;
      options.directory = directory / StrCat("node-", member.replica.value());
      options.identity = {"bench", "raft-host", member.replica};
      options.members = members;
      node->transport = replication::MakeGrpcTransport({.identity = options.identity, .members = members});
      options.transport = node->transport.get();
      TERRANE_ASSIGN_OR_RETURN(node->server,
                               rpc::Server::Start({.address = member.address}, {node->transport->service()}));
      TERRANE_ASSIGN_OR_RETURN(node->log, replication::ReplicatedLog::Open(std::move(options), &node->machine));
      group->nodes_.push_back(std::move(node));
    }
    return group;
  }
  ~Group() {
    for (auto& node : nodes_) node->log->Stop();
    for (auto& node : nodes_) node->server->Shutdown(std::chrono::milliseconds(100));
  }

  absl::StatusOr<replication::ReplicatedLog*> AwaitLeader() {
    const auto end = BenchClock::now() + std::chrono::seconds(20);
    while (BenchClock::now() < end) {
      for (auto& node : nodes_) {
        if (node->log->Leader().ready_to_serve) return node->log.get();
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));  // between two looks
    }
    return absl::DeadlineExceededError("no leader within 20 s");
  }

 private:
  std::vector<std::unique_ptr<Node>> nodes_;
};

// Entries per second with up to `window` proposals on their way.
absl::StatusOr<double> Rate(replication::ReplicatedLog* log, int window, std::chrono::milliseconds length,
                            size_t entry_bytes = kEntryBytes) {
  std::mutex mutex;
  std::condition_variable room;
  int in_flight = 0;
  int64_t applied = 0;
  absl::Status failure;
  const std::string entry(entry_bytes, 'e');
  const Term term = log->Leader().term;
  const auto start = BenchClock::now();
  const auto end = start + length;
  std::unique_lock lock(mutex);
  while (BenchClock::now() < end && failure.ok()) {
    room.wait(lock, [&] { return in_flight < window; });
    ++in_flight;
    lock.unlock();
    log->Propose(term, entry, [&](replication::ProposeResult result) {
      std::lock_guard guard(mutex);
      --in_flight;
      if (result.outcome == replication::ProposeOutcome::kApplied) {
        ++applied;
      } else {
        failure.Update(result.status);
      }
      room.notify_one();
    });
    lock.lock();
  }
  room.wait(lock, [&] { return in_flight == 0; });
  if (!failure.ok()) return failure;
  return static_cast<double>(applied) / std::chrono::duration<double>(BenchClock::now() - start).count();
}

}  // namespace

absl::StatusOr<double> RaftHostRate(const BenchOptions& options, int window, size_t entry_bytes) {
  TERRANE_ASSIGN_OR_RETURN(const auto group, Group::Start(options.directory / StrCat("raft-host-", window)));
  TERRANE_ASSIGN_OR_RETURN(replication::ReplicatedLog* const leader, group->AwaitLeader());
  return Rate(leader, window, options.Length(), entry_bytes);
}

absl::Status BenchRaftHost(const BenchOptions& options, Table* table) {
  TERRANE_ASSIGN_OR_RETURN(const auto group, Group::Start(options.directory / "raft-host"));
  TERRANE_ASSIGN_OR_RETURN(replication::ReplicatedLog* const leader, group->AwaitLeader());
  for (const int window : {1, 64, 4096}) {
    TERRANE_ASSIGN_OR_RETURN(const double rate, Rate(leader, window, options.Length()));
    table->Add({"Raft host, 3 nodes in one process", StrCat("entries, ", window, " on their way"), rate, "entries/s",
                std::nullopt, "", StrCat(kEntryBytes, " bytes each, over loopback gRPC, each synced by a majority")});
  }
  return absl::OkStatus();
}

}  // namespace terrane::bench
