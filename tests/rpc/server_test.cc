#include "rpc/server.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <future>

#include "common/executor.h"
#include "rpc/address_map.h"
#include "rpc/leader_client.h"
#include "rpc/stream.h"
#include "terrane/v1/metadata.grpc.pb.h"

namespace terrane::rpc {
namespace {

using namespace std::chrono_literals;

// Answers GetRoutes with min_revision + 1, or with `refuse`; Watch streams `from_revision` events of 64 KiB.
class FakeMetadata : public v1::Metadata::CallbackService {
 public:
  explicit FakeMetadata(Executor* executor) : executor_(executor) {}
  grpc::ServerUnaryReactor* GetRoutes(grpc::CallbackServerContext* context, const v1::GetRoutesRequest* request,
                                      v1::WatchEvent* response) override {
    return RunUnary(context, executor_, [=, this](const Call& call, Done done) {
      had_deadline = call.deadline().has_value();
      if (!refuse.ok()) return done(refuse);
      response->set_revision(request->min_revision() + 1);
      done(absl::OkStatus());
    });
  }
  grpc::ServerWriteReactor<v1::WatchEvent>* Watch(grpc::CallbackServerContext* context,
                                                  const v1::WatchRequest* request) override {
    return RunStream<v1::WatchEvent>(
        context, executor_, [n = request->from_revision(), this](std::shared_ptr<ServerStream<v1::WatchEvent>> stream) {
          for (uint64_t i = 1; i <= n; ++i) {
            v1::WatchEvent event;
            event.set_revision(i);
            event.add_chunks()->set_shard(std::string(65536, 's'));
            if (!stream->Write(std::move(event))) {
              cut.set_value(i);
              stream->Finish(absl::CancelledError());
              return;
            }
          }
          stream->Finish(WithReason(Aborted("end"), v1::ErrorDetail::STALE_ROUTE));
        });
  }
  absl::Status refuse;
  std::atomic<bool> had_deadline = false;
  std::promise<uint64_t> cut;

 private:
  Executor* const executor_;
};

class ServerTest : public testing::Test {
 protected:
  Executor executor_{"test", 2};
  FakeMetadata service_{&executor_};
  std::unique_ptr<Server> server_ = *Server::Start({}, {&service_});
  std::unique_ptr<v1::Metadata::Stub> stub_ = v1::Metadata::NewStub(MakeChannel(server_->address()));
};

TEST_F(ServerTest, UnaryRoundTripWithDeadlineAndDetail) {
  v1::GetRoutesRequest request;
  request.set_min_revision(6);
  v1::WatchEvent response;
  {
    grpc::ClientContext context;
    EXPECT_TRUE(stub_->GetRoutes(&context, request, &response).ok());
    EXPECT_EQ(response.revision(), 7u);
    EXPECT_FALSE(service_.had_deadline);
  }
  service_.refuse = NotLeader("127.0.0.1:1");
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + 5s);
  const absl::Status status = FromGrpc(stub_->GetRoutes(&context, request, &response));
  EXPECT_EQ(ReasonOf(status), v1::ErrorDetail::NOT_LEADER);
  EXPECT_TRUE(service_.had_deadline);
}

TEST_F(ServerTest, StreamDeliversAllThenTheStatus) {
  v1::WatchRequest request;
  request.set_from_revision(200);
  grpc::ClientContext context;
  auto reader = stub_->Watch(&context, request);
  v1::WatchEvent event;
  uint64_t seen = 0;
  while (reader->Read(&event)) EXPECT_EQ(event.revision(), ++seen);
  EXPECT_EQ(seen, 200u);
  EXPECT_EQ(ReasonOf(FromGrpc(reader->Finish())), v1::ErrorDetail::STALE_ROUTE);
}

TEST_F(ServerTest, AStreamThatNobodyReadsIsBoundedAndEndsWithItsClient) {
  v1::WatchRequest request;
  request.set_from_revision(1'000'000);
  grpc::ClientContext context;
  auto reader = stub_->Watch(&context, request);
  v1::WatchEvent event;
  ASSERT_TRUE(reader->Read(&event));
  context.TryCancel();
  EXPECT_LT(service_.cut.get_future().get(), 1000u);
  while (reader->Read(&event)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(ServerTest, APortInUseIsRefusedByName) {
  auto second = Server::Start({.address = server_->address()}, {});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(MessageOf(second.status()).find(server_->address()), std::string_view::npos);
}

TEST_F(ServerTest, LeaderClientFollowsTheHint) {
  FakeMetadata follower(&executor_);
  follower.refuse = NotLeader(server_->address());
  auto other = *Server::Start({}, {&follower});
  ChannelPool pool;
  LeaderClient client(&pool, {other->address(), server_->address()});
  v1::WatchEvent response;
  const absl::Status status =
      client.Call(Clock::System()->Now() + 5s, [&](const auto& channel, grpc::ClientContext* context) {
        return v1::Metadata::NewStub(channel)->GetRoutes(context, v1::GetRoutesRequest(), &response);
      });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(client.tracker().Current(), server_->address());
}

// What it never got cannot have been done.
TEST_F(ServerTest, WhoCannotBeReachedIsPassedOverAlsoByACallThatGoesOutOnce) {
  ChannelPool pool;
  LeaderClient client(&pool, {"127.0.0.1:1", server_->address()});
  v1::WatchEvent response;
  int attempts = 0;
  const absl::Status status = client.Call(
      Clock::System()->Now() + 5s,
      [&](const auto& channel, grpc::ClientContext* context) {
        ++attempts;
        return v1::Metadata::NewStub(channel)->GetRoutes(context, v1::GetRoutesRequest(), &response);
      },
      5s, /*repeatable=*/false);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(attempts, 2);
}

TEST(LeaderClientTest, GivesUpAtTheDeadlineWithTheLastError) {
  ChannelPool pool;
  LeaderClient client(&pool, {"127.0.0.1:1"});
  const absl::Status status =
      client.Call(Clock::System()->Now() + 100ms, [&](const auto& channel, grpc::ClientContext* context) {
        v1::WatchEvent response;
        return v1::Metadata::NewStub(channel)->GetRoutes(context, v1::GetRoutesRequest(), &response);
      });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_NE(MessageOf(status).find("127.0.0.1:1"), std::string_view::npos);
}

TEST_F(ServerTest, AMappedAddressLeadsElsewhere) {
  ASSERT_TRUE(SetAddressMap({"127.0.0.1:1=" + server_->address(), "127.0.0.1:2=127.0.0.1:3"}).ok());
  auto stub = v1::Metadata::NewStub(MakeChannel("127.0.0.1:1"));
  EXPECT_TRUE(SetAddressMap({}).ok());
  grpc::ClientContext context;
  v1::WatchEvent response;
  EXPECT_TRUE(stub->GetRoutes(&context, v1::GetRoutesRequest(), &response).ok());
  for (const char* wrong : {"127.0.0.1:1", "=127.0.0.1:1", "127.0.0.1:1=", "host=127.0.0.1:1"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(SetAddressMap({wrong}))) << wrong;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(SetAddressMap({"a:1=b:1", "a:1=c:1"})));
}

TEST(ChannelTest, UnreadableCredentialsFailEveryCallByName) {
  grpc::ClientContext context;
  v1::WatchEvent response;
  auto stub = v1::Metadata::NewStub(MakeChannel("127.0.0.1:1", {.tls = {.ca = "/nonexistent/ca.pem"}}));
  const grpc::Status status = stub->GetRoutes(&context, v1::GetRoutesRequest(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_NE(status.error_message().find("/nonexistent/ca.pem"), std::string::npos);
}

}  // namespace
}  // namespace terrane::rpc
