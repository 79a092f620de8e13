// Three replicas that talk over real sockets.
#include "replication/grpc_transport.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "replication/checkpoint_stream.h"
#include "rpc/server.h"
#include "support/await.h"
#include "support/fault_file_system.h"
#include "support/list_machine.h"

namespace terrane::replication {
namespace {

using testing::Await;
using testing::FaultFileSystem;
using testing::ListMachine;

class GrpcGroup {
 public:
  GrpcGroup() {
    for (uint64_t id = 1; id <= 3; ++id) nodes_.push_back(std::make_unique<Node>());
    // Ports first: members name each other's.
    for (uint64_t id = 1; id <= 3; ++id) {
      auto server = rpc::Server::Start({.address = "127.0.0.1:0"}, {});
      EXPECT_TRUE(server.ok()) << server.status();
      members_.push_back({ReplicaId(id), (*server)->address()});
    }
    for (uint64_t id = 1; id <= 3; ++id) Start(id);
  }
  ~GrpcGroup() {
    for (uint64_t id = 1; id <= 3; ++id) Stop(id);
  }
  struct Node {
    Node() : machine(&disk) {}
    FaultFileSystem disk;
    ListMachine machine;
    std::unique_ptr<GrpcTransport> transport;
    std::unique_ptr<rpc::Server> server;
    std::unique_ptr<ReplicatedLog> log;
  };
  Node& operator[](uint64_t id) { return *nodes_[id - 1]; }

  void Start(uint64_t id) {
    Node& node = (*this)[id];
    ReplicatedLog::Options options;
    options.directory = "/replica";
    options.identity = {"c1", "g", ReplicaId(id)};
    options.members = members_;
    options.file_system = &node.disk;
    options.segment_bytes = 64 << 10;
    options.keep_bytes = 128 << 10;
    options.timeouts.heartbeat *= testing::kSlowness;
    options.timeouts.election_min *= testing::kSlowness;
    options.timeouts.election_max *= testing::kSlowness;
    options.on_fatal = [](const absl::Status&) {};
    node.transport =
        MakeGrpcTransport({.identity = options.identity, .members = members_, .tls = {}, .file_system = &node.disk});
    options.transport = node.transport.get();
    auto server = rpc::Server::Start({.address = members_[id - 1].address}, {node.transport->service()});
    ASSERT_TRUE(server.ok()) << server.status();
    node.server = *std::move(server);
    auto log = ReplicatedLog::Open(options, &node.machine);
    ASSERT_TRUE(log.ok()) << log.status();
    node.log = *std::move(log);
  }
  void Stop(uint64_t id) {
    Node& node = (*this)[id];
    if (node.log != nullptr) node.log->Stop();
    node.log.reset();
    if (node.server != nullptr) node.server->Shutdown(std::chrono::seconds(5));
    node.server.reset();
    node.transport.reset();
  }
  uint64_t Leader() {
    uint64_t leader = 0;
    Await([&] {
      for (uint64_t id = 1; id <= 3; ++id) {
        if ((*this)[id].log != nullptr && (*this)[id].log->Leader().ready_to_serve) leader = id;
      }
      return leader != 0;
    });
    return leader;
  }
  bool Propose(const std::string& data) {
    return Await([&] {
      const uint64_t leader = Leader();
      if (leader == 0) return false;
      std::atomic<int> outcome{0};
      (*this)[leader].log->Propose((*this)[leader].log->Leader().term, data, [&](ProposeResult result) {
        outcome = result.outcome == ProposeOutcome::kApplied ? 1 : 2;
      });
      while (outcome == 0) std::this_thread::yield();
      return outcome == 1;
    });
  }
  bool AwaitCount(size_t count) {
    return Await([&] {
      for (uint64_t id = 1; id <= 3; ++id) {
        if ((*this)[id].log != nullptr && (*this)[id].machine.Data().size() < count) return false;
      }
      return true;
    });
  }

 private:
  std::vector<Member> members_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

TEST(GrpcTransportTest, ElectsReplicatesAndFailsOver) {
  GrpcGroup group;
  ASSERT_TRUE(group.Propose("a"));
  ASSERT_TRUE(group.Propose(std::string(17 << 20, 'x')));
  ASSERT_TRUE(group.AwaitCount(2));
  const uint64_t first = group.Leader();
  const auto began = std::chrono::steady_clock::now();
  group.Stop(first);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(2) * testing::kSlowness);
  ASSERT_TRUE(group.Propose("b"));
  group.Start(first);
  EXPECT_TRUE(group.AwaitCount(3));
}

TEST(GrpcTransportTest, AFollowerBehindTheCutFetchesACheckpoint) {
  GrpcGroup group;
  ASSERT_TRUE(group.Propose("a"));
  ASSERT_TRUE(group.AwaitCount(1));
  const uint64_t follower = group.Leader() % 3 + 1;
  group.Stop(follower);
  size_t count = 1;
  ASSERT_TRUE(Await([&] {
    if (!group.Propose(std::string(20'000, 'x'))) return false;
    ++count;
    return group[group.Leader()].log->Statistics().first > Position(10);
  }));
  group.Start(follower);
  EXPECT_TRUE(group.AwaitCount(count));
  EXPECT_EQ(group[follower].machine.installs(), 1);
}

// A replica that has a checkpoint and nothing else.
class HasCheckpoint : public PeerReceiver {
 public:
  explicit HasCheckpoint(std::shared_ptr<const Checkpoint> checkpoint) : checkpoint_(std::move(checkpoint)) {}
  void OnBatch(PeerBatch) override {}
  void OnCheckpointWanted(Position at_least, const std::string& id,
                          std::function<void(absl::StatusOr<std::shared_ptr<const Checkpoint>>)> done) override {
    asked.push_back(id);
    if (checkpoint_ == nullptr || checkpoint_->point.position < at_least) return done(absl::UnavailableError("none"));
    done(checkpoint_);
  }
  std::vector<std::string> asked;

 private:
  const std::shared_ptr<const Checkpoint> checkpoint_;
};

TEST(GrpcTransportTest, AFetchGoesOnWhereItWas) {
  FaultFileSystem there, here;
  const std::string content(3'000'000, 'x');
  there.SetContent("/out/a", content);
  there.SetContent("/out/b", "b");
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->id = "c";
  checkpoint->directory = "/out";
  checkpoint->point = {Position(7), Term(2)};
  HasCheckpoint sender(checkpoint), receiver(nullptr);
  const auto transport_of = [&](uint64_t replica, const std::string& address, FileSystem* disk) {
    GrpcTransportOptions options;
    options.identity = {"c1", "g", ReplicaId(replica)};
    options.members = {{ReplicaId(2), address}};
    options.file_system = disk;
    options.checkpoint_bytes_per_second = 0;
    return MakeGrpcTransport(options);
  };
  auto from = transport_of(2, "", &there);
  auto server = rpc::Server::Start({.address = "127.0.0.1:0"}, {from->service()});
  ASSERT_TRUE(server.ok()) << server.status();
  from->Start(&sender);
  auto to = transport_of(1, (*server)->address(), &here);
  to->Start(&receiver);
  EXPECT_TRUE(absl::IsUnavailable([&] {
    std::atomic<bool> cancelled{false};
    CheckpointSink sink(&here, "/in");
    return to->FetchCheckpoint(ReplicaId(3), Position(7), &sink, &cancelled);
  }()))
      << "nobody knows where that is";

  std::atomic<bool> cancelled{false};
  std::atomic<int> changes{0};
  CheckpointSink sink(&here, "/in");
  here.SetOperationHook([&] {
    if (++changes == 6) cancelled = true;
  });
  EXPECT_TRUE(absl::IsCancelled(to->FetchCheckpoint(ReplicaId(2), Position(7), &sink, &cancelled)));
  const uint64_t before = sink.received();
  EXPECT_GT(before, 0u);
  EXPECT_LT(before, content.size());
  cancelled = false;
  sink.BeginStream();
  const absl::Status went_on = to->FetchCheckpoint(ReplicaId(2), Position(7), &sink, &cancelled);
  EXPECT_TRUE(went_on.ok()) << went_on;
  EXPECT_TRUE(sink.Finish().ok());
  // Nothing came two times.
  EXPECT_EQ(sink.received(), content.size() + 1);
  EXPECT_EQ(here.Content("/in/a"), content);
  EXPECT_EQ(here.Content("/in/b"), "b");
  EXPECT_EQ(sender.asked, (std::vector<std::string>{"", "c"}));
  to->Stop();
  from->Stop();
  (*server)->Shutdown(std::chrono::seconds(5));
}

}  // namespace
}  // namespace terrane::replication
