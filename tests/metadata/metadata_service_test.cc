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

}  // namespace
}  // namespace terrane::metadata
