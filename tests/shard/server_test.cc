// A whole shard server on loopback, with a metadata service that a test controls.
#include "shard/server.h"

#include <grpcpp/grpcpp.h>

#include <condition_variable>

#include "common/status.h"
#include "document/builder.h"
#include "document/key_encoding.h"
#include "document/shard_key.h"
#include "gtest/gtest.h"
#include "ownership_support.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "rpc/status.h"
#include "shard/import_source.h"
#include "support/temp_directory.h"
#include "terrane/v1/metadata.grpc.pb.h"
#include "terrane/v1/shard.grpc.pb.h"

namespace terrane::shard {
namespace {

namespace v1 = terrane::v1;

class FakeMetadataService final : public v1::Metadata::Service {
 public:
  grpc::Status RegisterShard(grpc::ServerContext*, const v1::RegisterShardRequest* request,
                             v1::RegisterShardResponse* response) override {
    std::lock_guard lock(mutex_);
    registrations_.push_back(*request);
    response->set_cluster("c1");
    changed_.notify_all();
    return grpc::Status::OK;
  }
  grpc::Status ShardHeartbeat(grpc::ServerContext*, const v1::ShardHeartbeatRequest* request,
                              v1::ShardHeartbeatResponse* response) override {
    std::lock_guard lock(mutex_);
    heartbeats_.push_back(*request);
    response->set_wall_ms(Clock::System()->Wall().count());
    changed_.notify_all();
    return grpc::Status::OK;
  }
  v1::RegisterShardRequest WaitForRegistration() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !registrations_.empty(); });
    return registrations_.back();
  }
  v1::ShardHeartbeatRequest WaitForHeartbeat() {
    std::unique_lock lock(mutex_);
    const size_t before = heartbeats_.size();
    changed_.wait(lock, [&] { return heartbeats_.size() > before; });
    return heartbeats_.back();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<v1::RegisterShardRequest> registrations_;
  std::vector<v1::ShardHeartbeatRequest> heartbeats_;
};

class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto server = rpc::Server::Start({}, {&metadata_});
    ASSERT_TRUE(server.ok());
    metadata_server_ = *std::move(server);
  }
  void TearDown() override {
    server_.reset();
    metadata_server_.reset();
  }
  ShardServerOptions Options() {
    ShardServerOptions options;
    options.directory = directory_.path();
    options.shard = "s1";
    options.metadata = {metadata_server_->address()};
    return options;
  }
  void Start() {
    auto server = ShardServer::Start(Options());
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    metadata_.WaitForHeartbeat();  // it leads
    channel_ = rpc::MakeChannel(server_->address());
  }
  template <typename Service, typename Request, typename Response>
  absl::Status Call(grpc::Status (Service::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    return rpc::FromGrpc((Service::NewStub(channel_).get()->*method)(&context, request, response));
  }
  void CreateChunk() {
    v1::CreateChunkStep step;
    *step.mutable_entry() = Create({"", std::nullopt});
    step.mutable_entry()->set_shard_key(document::Builder().Append("k", 1).Finish());
    v1::StepResponse response;
    const absl::Status created = Call<v1::ShardMove>(&v1::ShardMove::Stub::CreateChunk, step, &response);
    ASSERT_TRUE(created.ok()) << created;
    EXPECT_GT(response.position(), 0u);
  }
  static v1::Route RouteToAll() {
    v1::Route route;
    route.set_collection_id(kCollection.value());
    *route.mutable_range() = ToProto(KeyRange{"", std::nullopt});
    route.set_copy_id(kSourceCopy.value());
    route.set_token(kToken.value());
    return route;
  }
  absl::Status Insert(int id) {
    const std::string bson = document::Builder().Append("_id", id).Append("k", "a").Finish();
    v1::ShardInsertRequest request;
    *request.mutable_route() = RouteToAll();
    v1::Change* change = request.add_documents();
    change->set_shard_key(document::EncodeKey(document::Value::String("a")));
    change->set_id(*document::EncodeIdFromDocument(bson));
    change->set_document(bson);
    v1::ShardInsertResponse response;
    return Call<v1::ShardDocuments>(&v1::ShardDocuments::Stub::Insert, request, &response);
  }
  int64_t Count() {
    v1::ShardCountRequest request;
    *request.mutable_route() = RouteToAll();
    v1::ShardCountResponse response;
    const absl::Status counted = Call<v1::ShardDocuments>(&v1::ShardDocuments::Stub::Count, request, &response);
    EXPECT_TRUE(counted.ok()) << counted;
    return response.count();
  }

  TempDirectory directory_{"shard-server"};
  FakeMetadataService metadata_;
  std::unique_ptr<rpc::Server> metadata_server_;
  std::unique_ptr<ShardServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(ServerTest, RegistersServesAndComesBack) {
  Start();
  EXPECT_EQ(metadata_.WaitForRegistration().shard(), "s1");
  EXPECT_EQ(metadata_.WaitForRegistration().replicas(0).endpoint(), server_->address());
  CreateChunk();
  ASSERT_TRUE(Insert(1).ok());
  ASSERT_TRUE(Insert(2).ok());
  EXPECT_EQ(Count(), 2);
  server_->Stop();
  server_.reset();
  Start();
  EXPECT_EQ(Count(), 2);
  const v1::ShardHeartbeatRequest heartbeat = metadata_.WaitForHeartbeat();
  EXPECT_EQ(heartbeat.statistics().documents(), 2);
  EXPECT_EQ(heartbeat.statistics().chunks(), 1);
  EXPECT_EQ(heartbeat.leader_endpoint(), server_->address());
}

// Its cluster is only told by the first answer, and the log made after it: that registration named no directory.
TEST_F(ServerTest, T51_ANewDirectoryServesOnlyWhenItsOwnNameIsRegistered) {
  Start();
  const v1::RegisterShardRequest last = metadata_.WaitForRegistration();
  EXPECT_NE(last.start().incarnation(), 0u);
  EXPECT_NE(last.start().start(), 0u);
}

TEST_F(ServerTest, DescribesAndAuditsItself) {
  Start();
  CreateChunk();
  ASSERT_TRUE(Insert(1).ok());
  v1::DescribeResponse described;
  ASSERT_TRUE(Call<v1::ShardAdmin>(&v1::ShardAdmin::Stub::Describe, v1::DescribeRequest(), &described).ok());
  EXPECT_TRUE(described.leader());
  ASSERT_EQ(described.ownership().chunks_size(), 1);
  EXPECT_EQ(described.ownership().chunks(0).digest().documents().count(), 1);
  v1::AuditRequest audit;
  audit.set_copy_id(kSourceCopy.value());
  *audit.mutable_range() = ToProto(KeyRange{"", std::nullopt});
  v1::AuditResponse audited;
  ASSERT_TRUE(Call<v1::ShardAdmin>(&v1::ShardAdmin::Stub::Audit, audit, &audited).ok());
  EXPECT_EQ(audited.detail(), "");
  EXPECT_EQ(audited.misplaced(), 0);
}

// A target that wanted a follower asks somebody else then, or this one again: no word on the move itself, which an
// answer that is not worth another try would be.
TEST_F(ServerTest, ALeaderThatIsAskedAsAFollowerIsAskedAgain) {
  Start();
  CreateChunk();
  v1::HashRangeRequest request;
  *request.mutable_move() = ToProto(kMove);
  request.set_copy_id(kSourceCopy.value());
  *request.mutable_range() = ToProto(KeyRange{"", std::nullopt});
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  context.AddMetadata(kFromFollowerKey, "1");
  const auto stub = v1::ShardExport::NewStub(channel_);
  const auto reader = stub->HashRange(&context, request);
  v1::RangeDigest digest;
  EXPECT_FALSE(reader->Read(&digest));
  const absl::Status refused = rpc::FromGrpc(reader->Finish());
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
}

TEST_F(ServerTest, RefusesADirectoryInUseAndSomebodyElses) {
  Start();
  auto second = ShardServer::Start(Options());
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  server_.reset();
  ShardServerOptions other = Options();
  other.shard = "s2";
  auto wrong = ShardServer::Start(other);
  EXPECT_TRUE(absl::IsFailedPrecondition(wrong.status())) << wrong.status();
}

TEST_F(ServerTest, RefusesAPortInUse) {
  ShardServerOptions options = Options();
  options.listen = metadata_server_->address();
  auto refused = ShardServer::Start(options);
  EXPECT_TRUE(absl::IsUnavailable(refused.status())) << refused.status();
}

TEST_F(ServerTest, StaleStepsAndRoutesCarryTheirReasons) {
  Start();
  CreateChunk();
  v1::EndAttemptStep end;
  *end.mutable_entry() = End();
  *end.mutable_entry()->mutable_range() = ToProto(KeyRange{"", std::nullopt});
  v1::StepResponse response;
  ASSERT_TRUE(Call<v1::ShardMove>(&v1::ShardMove::Stub::EndAttempt, end, &response).ok());
  v1::FenceStep fence;
  *fence.mutable_entry() = Fence();
  *fence.mutable_entry()->mutable_range() = ToProto(KeyRange{"", std::nullopt});
  const absl::Status refused = Call<v1::ShardMove>(&v1::ShardMove::Stub::Fence, fence, &response);
  EXPECT_EQ(rpc::ReasonOf(refused), v1::ErrorDetail::STALE_ATTEMPT) << refused;
  v1::ShardCountRequest count;
  *count.mutable_route() = RouteToAll();
  count.mutable_route()->set_token(4);
  v1::ShardCountResponse counted;
  const absl::Status stale = Call<v1::ShardDocuments>(&v1::ShardDocuments::Stub::Count, count, &counted);
  ASSERT_EQ(rpc::ReasonOf(stale), v1::ErrorDetail::STALE_ROUTE) << stale;
  EXPECT_EQ(rpc::DetailOf(stale)->route().shard(), "s1");
  EXPECT_EQ(rpc::DetailOf(stale)->route().token(), kToken.value());
}

}  // namespace
}  // namespace terrane::shard
