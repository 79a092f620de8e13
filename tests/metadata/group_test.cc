// Three metadata nodes over gRPC: a move goes on under a new leader.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>

#include "common/clock.h"
#include "fake_shard.h"
#include "metadata/server.h"
#include "rpc/channel.h"
#include "rpc/leader_client.h"
#include "support/temp_directory.h"
#include "terrane/v1/cluster.grpc.pb.h"
#include "terrane/v1/metadata.grpc.pb.h"

namespace terrane::metadata {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Ports that were free a moment ago.
std::vector<int> FreePorts(int n) {
  std::vector<int> ports, sockets;
  for (int i = 0; i < n; ++i) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
    getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
    ports.push_back(ntohs(address.sin_port));
    sockets.push_back(fd);
  }
  for (int fd : sockets) close(fd);
  return ports;
}

class GroupTest : public ::testing::Test {
 protected:
  GroupTest() {
    for (int port : FreePorts(3)) {
      endpoints_.push_back(StrCat("127.0.0.1:", port));
      members_.push_back({ReplicaId(members_.size() + 1), endpoints_.back()});
    }
    servers_.resize(3);
    for (int i = 0; i < 3; ++i) Start(i);
    client_ = std::make_unique<rpc::LeaderClient>(&pool_, endpoints_);
  }
  ~GroupTest() override { servers_.clear(); }

  void Start(int i) {
    auto server = MetadataServer::Start({.directory = directory_ / StrCat("m", i + 1),
                                         .listen = endpoints_[i],
                                         .cluster = "test",
                                         .replica = members_[i].replica,
                                         .members = members_});
    ASSERT_TRUE(server.ok()) << server.status();
    servers_[i] = *std::move(server);
  }

  absl::Status Call(const rpc::LeaderClient::Attempt& attempt) {
    return client_->Call(Clock::System()->Now() + seconds(20), attempt, milliseconds(2000));
  }

  void Register(const std::string& name, const std::string& address) {
    v1::RegisterShardRequest request;
    request.set_shard(name);
    auto* replica = request.add_replicas();
    replica->set_replica_id(1);
    replica->set_endpoint(address);
    v1::RegisterShardResponse response;
    auto status = Call([&](auto& channel, grpc::ClientContext* context) {
      return v1::Metadata::NewStub(channel)->RegisterShard(context, request, &response);
    });
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(response.cluster(), "test");
  }

  v1::Migration Show(uint64_t id) {
    v1::ShowMigrationRequest request;
    v1::ShowMigrationResponse response;
    request.set_id(id);
    auto status = Call([&](auto& channel, grpc::ClientContext* context) {
      return v1::Cluster::NewStub(channel)->ShowMigration(context, request, &response);
    });
    EXPECT_TRUE(status.ok()) << status;
    return response.migration();
  }

  int Leader() {
    for (int i = 0; i < 3; ++i) {
      if (endpoints_[i] == client_->tracker().Current()) return i;
    }
    return 0;
  }

  TempDirectory directory_{"metadata-group"};
  FakeShard s1_, s2_;
  rpc::ChannelPool pool_;
  std::vector<std::string> endpoints_;
  std::vector<replication::Member> members_;
  std::vector<std::unique_ptr<MetadataServer>> servers_;
  std::unique_ptr<rpc::LeaderClient> client_;
};

TEST_F(GroupTest, T43_ANewLeaderGoesOnFromTheRecordAlone) {
  Register("s1", s1_.address());
  Register("s2", s2_.address());
  v1::CreateCollectionRequest create;
  v1::CreateCollectionResponse created;
  create.set_name("shop.orders");
  create.set_request_id("create once");
  auto status = Call([&](auto& channel, grpc::ClientContext* context) {
    return v1::Collections::NewStub(channel)->Create(context, create, &created);
  });
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(created.chunks_size(), 8);
  EXPECT_EQ(created.chunks(0).shard(), "s1");

  // Held in each stage in turn by a step that fails; then the leader goes.
  for (const auto& [step, stage] : {std::pair<std::string, v1::Migration::Stage>{"Import", v1::Migration::COPYING},
                                    {"Verify", v1::Migration::VERIFYING},
                                    {"Own", v1::Migration::COMMITTED}}) {
    const int i = stage == v1::Migration::COPYING ? 0 : stage == v1::Migration::VERIFYING ? 2 : 4;
    s2_.Fail(step, absl::UnavailableError("not now"));
    v1::MoveChunkRequest move;
    v1::MoveChunkResponse moved;
    move.set_collection("shop.orders");
    move.set_key(created.chunks(i).range().min());
    move.set_target("s2");
    move.set_request_id(StrCat("move ", i));
    status = Call([&](auto& channel, grpc::ClientContext* context) {
      return v1::Cluster::NewStub(channel)->MoveChunk(context, move, &moved);
    });
    ASSERT_TRUE(status.ok()) << status;
    const uint64_t id = moved.migration().id();
    while (Show(id).stage() != stage) std::this_thread::sleep_for(milliseconds(5));

    const int leader = Leader();
    servers_[leader].reset();
    s2_.Fail(step, absl::OkStatus());
    v1::Migration record;
    for (int tries = 0; tries < 1000; ++tries) {
      record = Show(id);
      if (record.stage() == v1::Migration::DONE || record.stage() == v1::Migration::ABORTED) break;
      std::this_thread::sleep_for(milliseconds(10));
    }
    EXPECT_EQ(record.stage(), v1::Migration::DONE) << record.DebugString();
    Start(leader);
  }
}

}  // namespace
}  // namespace terrane::metadata
