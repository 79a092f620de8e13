// Calls of the admin API on their way through a proxy.
#include "proxy/cluster_forwarder.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>

#include "common/status.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "rpc/status.h"
#include "terrane/v1/cluster.grpc.pb.h"

namespace terrane::proxy {
namespace {

using std::chrono::seconds;
using std::chrono::system_clock;

// Remembers how long its callers were ready to wait.
class FakeCluster final : public v1::Cluster::Service {
 public:
  grpc::Status SplitChunk(grpc::ServerContext* context, const v1::SplitChunkRequest*,
                          v1::SplitChunkResponse*) override {
    return Note(context);
  }
  grpc::Status StepDown(grpc::ServerContext* context, const v1::StepDownRequest*, v1::StepDownResponse*) override {
    return Note(context);
  }
  grpc::Status MoveChunk(grpc::ServerContext* context, const v1::MoveChunkRequest*, v1::MoveChunkResponse*) override {
    return Note(context);
  }

  std::atomic<system_clock::duration> left{};
  std::atomic<int> calls = 0;
  std::atomic<bool> broken = false;

 private:
  grpc::Status Note(grpc::ServerContext* context) {
    left = context->deadline() - system_clock::now();
    ++calls;
    return broken ? rpc::ToGrpc(Unavailable("the connection broke")) : grpc::Status::OK;
  }
};

class ClusterForwarderTest : public ::testing::Test {
 protected:
  ClusterForwarderTest() {
    metadata_server_ = *rpc::Server::Start({}, {&cluster_});
    metadata_ = std::make_unique<rpc::LeaderClient>(&pool_, std::vector<std::string>{metadata_server_->address()});
    forwarders_ = MakeClusterForwarders(metadata_.get(), &executor_, &slow_);
    std::vector<grpc::Service*> services;
    for (const auto& service : forwarders_) services.push_back(service.get());
    proxy_ = *rpc::Server::Start({}, services);
    stub_ = v1::Cluster::NewStub(rpc::MakeChannel(proxy_->address()));
  }
  ~ClusterForwarderTest() override {
    proxy_->Shutdown(seconds(1));
    metadata_server_->Shutdown(seconds(1));
  }

  template <typename Request, typename Response>
  absl::Status Call(grpc::Status (v1::Cluster::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    std::chrono::nanoseconds deadline) {
    grpc::ClientContext context;
    if (deadline.count() > 0) context.set_deadline(system_clock::now() + deadline);
    Response response;
    return rpc::FromGrpc((stub_.get()->*method)(&context, Request(), &response));
  }

  FakeCluster cluster_;
  rpc::ChannelPool pool_;
  Executor executor_{"admin", 2};
  Executor slow_{"admin-slow", 2};
  std::unique_ptr<rpc::Server> metadata_server_, proxy_;
  std::unique_ptr<rpc::LeaderClient> metadata_;
  std::vector<std::unique_ptr<grpc::Service>> forwarders_;
  std::unique_ptr<v1::Cluster::Stub> stub_;
};

TEST_F(ClusterForwarderTest, WhatCannotBeRepeatedGetsAllTheTimeOfItsCaller) {
  using Stub = v1::Cluster::Stub;
  ASSERT_TRUE(Call(&Stub::SplitChunk, std::chrono::minutes(2)).ok());
  EXPECT_GT(cluster_.left.load(), seconds(110));
  EXPECT_LT(cluster_.left.load(), seconds(125));  // gRPC rounds it up
  ASSERT_TRUE(Call(&Stub::SplitChunk, std::chrono::hours(3)).ok());
  EXPECT_GT(cluster_.left.load(), std::chrono::minutes(175));
  ASSERT_TRUE(Call(&Stub::StepDown, std::chrono::minutes(2)).ok());
  EXPECT_GT(cluster_.left.load(), seconds(110));
  ASSERT_TRUE(Call(&Stub::MoveChunk, std::chrono::minutes(2)).ok());  // without a request_id
  EXPECT_GT(cluster_.left.load(), seconds(110));
  // Nobody said how long a chunk may be read.
  ASSERT_TRUE(Call(&Stub::SplitChunk, seconds(0)).ok());
  EXPECT_GT(cluster_.left.load(), std::chrono::minutes(10));
  EXPECT_EQ(cluster_.calls, 5);
  cluster_.broken = true;
  EXPECT_TRUE(absl::IsUnavailable(Call(&Stub::SplitChunk, std::chrono::minutes(2))));
  EXPECT_EQ(cluster_.calls, 6);
}

}  // namespace
}  // namespace terrane::proxy
