// The service of routes on a node whose log the test holds in its hands.
#include "metadata/metadata_service.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "metadata/node.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "rpc/status.h"
#include "shard/fake_log.h"
#include "support/temp_directory.h"
#include "terrane/v1/metadata.grpc.pb.h"

namespace terrane::metadata {
namespace {

// The node ceases to lead between the barrier of a Watch and its subscription: whoever watches would go on watching a
// node that hears of nothing.
TEST(MetadataServiceTest, AWatchThatBeginsBesideTheEndOfALeadIsCutOff) {
  TempDirectory directory("metadata-service");
  auto machine = MetadataStateMachine::Open(directory.path());
  ASSERT_TRUE(machine.ok()) << machine.status();
  Node node({}, machine->get());
  shard::FakeLog log;
  log.SetLeader(true, true, Term(1));
  log.SetLease(false);
  node.SetLog(&log);
  MetadataService service(&node);
  auto server = rpc::Server::Start({.address = "127.0.0.1:0"}, {service.service()});
  ASSERT_TRUE(server.ok()) << server.status();
  log.before_read_index = [&] {
    log.SetLeader(false, false, Term(2));
    service.CutOffWatchers();
  };

  const auto stub = v1::Metadata::NewStub(rpc::MakeChannel((*server)->address(), {.own_connection = true}));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  const auto watch = stub->Watch(&context, v1::WatchRequest());
  v1::WatchEvent event;
  while (watch->Read(&event)) {
  }
  const absl::Status status = rpc::FromGrpc(watch->Finish());
  EXPECT_EQ(rpc::ReasonOf(status), v1::ErrorDetail::NOT_LEADER) << status;
  (*server)->Shutdown(std::chrono::milliseconds(0));
  service.Stop();
}

// It leads a group that has gone on without it, and does not know.
TEST(MetadataServiceTest, T51_WhoWasRemovedIsNoLeaderToAnybody) {
  TempDirectory directory("metadata-service");
  auto machine = MetadataStateMachine::Open(directory.path());
  ASSERT_TRUE(machine.ok()) << machine.status();
  v1::MetadataCommand command;
  command.mutable_register_shard()->set_name("s1");
  command.mutable_register_shard()->set_configuration(14);
  v1::ShardReplica* member = command.mutable_register_shard()->add_replicas();
  member->set_replica_id(2);
  member->set_endpoint("b:1");
  const std::string bytes = command.SerializeAsString();
  const replication::CommittedEntry entry{.position = Position(1), .term = Term(1), .data = bytes};
  replication::ApplyResult result;
  ASSERT_TRUE((*machine)->Apply({&entry, 1}, {&result, 1}).ok());
  Node node({}, machine->get());
  shard::FakeLog log;
  log.SetLeader(true, true, Term(1));
  node.SetLog(&log);
  MetadataService service(&node);
  auto server = rpc::Server::Start({.address = "127.0.0.1:0"}, {service.service()});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto stub = v1::Metadata::NewStub(rpc::MakeChannel((*server)->address(), {.own_connection = true}));
  const auto beat = [&](uint64_t id, const std::string& endpoint) {
    v1::ShardHeartbeatRequest request;
    request.set_shard("s1");
    request.set_leader_endpoint(endpoint);
    request.set_configuration(id == 2 ? 14 : 5);
    request.add_replicas()->set_replica_id(id);
    request.mutable_replicas(0)->set_endpoint(endpoint);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
    v1::ShardHeartbeatResponse response;
    return rpc::FromGrpc(stub->ShardHeartbeat(&context, request, &response));
  };
  const absl::Status refused = beat(1, "a:1");
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_FALSE(node.registry().Find("s1").has_value());
  const absl::Status taken = beat(2, "b:1");
  EXPECT_TRUE(taken.ok()) << taken;
  EXPECT_EQ(node.registry().Find("s1")->leader_endpoint, "b:1");
  (*server)->Shutdown(std::chrono::milliseconds(0));
  service.Stop();
}

}  // namespace
}  // namespace terrane::metadata
