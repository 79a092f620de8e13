// Damage that a replica of three meets while it runs: it begins again from its peers, in the same process and on the
// same address. (A group of one: tests/storage, OnDamage*.)
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "common/status.h"
#include "document/builder.h"
#include "document/key_encoding.h"
#include "document/shard_key.h"
#include "gtest/gtest.h"
#include "ownership_support.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "rpc/status.h"
#include "shard/server.h"
#include "support/await.h"
#include "support/temp_directory.h"
#include "terrane/v1/metadata.grpc.pb.h"
#include "terrane/v1/shard.grpc.pb.h"

namespace terrane::shard {
namespace {

namespace fs = std::filesystem;
namespace v1 = terrane::v1;
using testing::Await;

class Metadata final : public v1::Metadata::Service {
 public:
  grpc::Status RegisterShard(grpc::ServerContext*, const v1::RegisterShardRequest*,
                             v1::RegisterShardResponse* response) override {
    response->set_cluster("c1");
    return grpc::Status::OK;
  }
  grpc::Status ShardHeartbeat(grpc::ServerContext*, const v1::ShardHeartbeatRequest*,
                              v1::ShardHeartbeatResponse* response) override {
    response->set_wall_ms(Clock::System()->Wall().count());
    return grpc::Status::OK;
  }
};

class DamagedReplicaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto metadata = rpc::Server::Start({}, {&metadata_});
    ASSERT_TRUE(metadata.ok()) << metadata.status();
    metadata_server_ = *std::move(metadata);
    std::vector<std::unique_ptr<rpc::Server>> held;  // all at once, so that they differ
    for (uint64_t id = 1; id <= 3; ++id) {
      auto port = rpc::Server::Start({}, {});
      ASSERT_TRUE(port.ok()) << port.status();
      members_.push_back({ReplicaId(id), (*port)->address()});
      held.push_back(*std::move(port));
    }
    held.clear();
    for (uint64_t id = 1; id <= 3; ++id) ASSERT_NO_FATAL_FAILURE(Start(id));
    ASSERT_TRUE(Await([&] {
      v1::CreateChunkStep step;
      *step.mutable_entry() = Create({"", std::nullopt});
      step.mutable_entry()->set_shard_key(document::Builder().Append("k", 1).Finish());
      v1::StepResponse response;
      return Anywhere(&v1::ShardMove::Stub::CreateChunk, step, &response);
    }));
  }
  void TearDown() override {
    for (auto& server : servers_) server.reset();
    metadata_server_.reset();
  }

  fs::path Data(uint64_t id) const { return directory_ / std::to_string(id); }
  void Start(uint64_t id) {
    ShardServerOptions options;
    options.directory = Data(id);
    options.listen = members_[id - 1].address;
    options.cluster = "c1";
    options.shard = "s1";
    options.replica = ReplicaId(id);
    options.members = members_;
    options.metadata = {metadata_server_->address()};
    options.timeouts.heartbeat *= testing::kSlowness;
    options.timeouts.election_min *= testing::kSlowness;
    options.timeouts.election_max *= testing::kSlowness;
    options.timeouts.slow_disk = std::chrono::seconds(5);
    auto server = ShardServer::Start(options);
    ASSERT_TRUE(server.ok()) << server.status();
    servers_[id - 1] = *std::move(server);
  }

  template <typename Method, typename Request, typename Response>
  bool Anywhere(Method method, const Request& request, Response* response) {
    for (uint64_t id = 1; id <= 3; ++id) {
      if (servers_[id - 1] != nullptr && Call(id, method, request, response).ok()) return true;
    }
    return false;
  }
  template <typename Stub, typename Request, typename Response>
  absl::Status Call(uint64_t id, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    std::shared_ptr<grpc::Channel>& channel = channels_[id - 1];
    if (channel == nullptr) channel = rpc::MakeChannel(members_[id - 1].address);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
    Stub stub(channel);
    return rpc::FromGrpc((stub.*method)(&context, request, response));
  }

  static v1::Route RouteToAll() {
    v1::Route route;
    route.set_collection_id(kCollection.value());
    *route.mutable_range() = ToProto(KeyRange{"", std::nullopt});
    route.set_copy_id(kSourceCopy.value());
    route.set_token(kToken.value());
    return route;
  }
  // `count` more documents.
  void Insert(int count) {
    for (int i = 0; i < count; ++i) {
      // Always between those before, so that a merge of tables has to read them.
      const int id = inserted_ % 2 == 0 ? inserted_ : 1'000'000 - inserted_;
      ++inserted_;
      const std::string bson =
          document::Builder().Append("_id", id).Append("k", "a").Append("text", std::string(1000, 'x')).Finish();
      v1::ShardInsertRequest request;
      *request.mutable_route() = RouteToAll();
      v1::Change* change = request.add_documents();
      change->set_shard_key(document::EncodeKey(document::Value::String("a")));
      change->set_id(*document::EncodeIdFromDocument(bson));
      change->set_document(bson);
      v1::ShardInsertResponse response;
      ASSERT_TRUE(Await([&] { return Anywhere(&v1::ShardDocuments::Stub::Insert, request, &response); }));
    }
  }
  absl::Status Count(uint64_t id, v1::ReadMode mode, int64_t* count) {
    v1::ShardCountRequest request;
    *request.mutable_route() = RouteToAll();
    request.mutable_read()->set_mode(mode);
    request.set_filter(document::Builder().Append("text", std::string(1000, 'x')).Finish());  // looks at documents
    v1::ShardCountResponse response;
    absl::Status status = Call(id, &v1::ShardDocuments::Stub::Count, request, &response);
    *count = response.count();
    return status;
  }
  bool HoldsAll(uint64_t id) {
    int64_t count = 0;
    return Count(id, v1::FOLLOWER, &count).ok() && count == inserted_;
  }
  uint64_t AFollower() {
    uint64_t follower = 0;
    EXPECT_TRUE(Await([&] {
      for (uint64_t id = 1; id <= 3; ++id) {
        v1::DescribeResponse described;
        if (!Call(id, &v1::ShardAdmin::Stub::Describe, v1::DescribeRequest(), &described).ok()) return false;
        if (!described.leader()) follower = id;
      }
      return follower != 0 && HoldsAll(follower);
    }));
    return follower;
  }
  // A start flushes what it finds in the write-ahead log.
  void Restart(uint64_t id) {
    servers_[id - 1].reset();
    ASSERT_NO_FATAL_FAILURE(Start(id));
  }
  std::set<fs::path> TablesOfDocuments(uint64_t id) const {
    std::set<fs::path> tables;
    for (const auto& entry : fs::directory_iterator(Data(id) / "store/db-1")) {
      if (entry.path().extension() != ".sst") continue;
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
      // Its properties: name and value of the family, behind the prefix of the name.
      if (content.find("namedocuments") != std::string::npos) tables.insert(entry.path());
    }
    return tables;
  }
  static void FlipBit(const fs::path& path, uint64_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const char byte = static_cast<char>(file.get() ^ 0x10);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte);
  }
  void ExpectBegunAgain(uint64_t id) {
    ASSERT_TRUE(Await([&] { return fs::exists(Data(id) / "store.damaged"); }, std::chrono::seconds(20)));
    EXPECT_TRUE(fs::exists(Data(id) / "raft.damaged"));
    // All of it, and what is written from now on.
    EXPECT_TRUE(Await([&] { return HoldsAll(id); }, std::chrono::seconds(20)));
    ASSERT_NO_FATAL_FAILURE(Insert(1));
    EXPECT_TRUE(Await([&] { return HoldsAll(id); }));
  }
  uint64_t Leader() {
    for (uint64_t id = 1; id <= 3; ++id) {
      v1::DescribeResponse described;
      if (Call(id, &v1::ShardAdmin::Stub::Describe, v1::DescribeRequest(), &described).ok() && described.leader()) {
        return id;
      }
    }
    return 0;
  }

  TempDirectory directory_{"replica"};
  Metadata metadata_;
  std::unique_ptr<rpc::Server> metadata_server_;
  std::vector<replication::Member> members_;
  std::array<std::unique_ptr<ShardServer>, 3> servers_;
  std::array<std::shared_ptr<grpc::Channel>, 3> channels_;
  int inserted_ = 0;
};

TEST_F(DamagedReplicaTest, ADamagedBlockThatAReadMeetsComesFromThePeers) {
  ASSERT_NO_FATAL_FAILURE(Insert(50));
  const uint64_t victim = AFollower();
  ASSERT_NO_FATAL_FAILURE(Restart(victim));
  servers_[victim - 1].reset();
  const std::set<fs::path> tables = TablesOfDocuments(victim);
  ASSERT_FALSE(tables.empty());
  for (const fs::path& table : tables) FlipBit(table, 20);
  ASSERT_NO_FATAL_FAILURE(Start(victim));
  ASSERT_FALSE(fs::exists(Data(victim) / "store.damaged")) << "the start has not met it";
  // The read that meets it says so.
  absl::Status read;
  ASSERT_TRUE(Await([&] {
    int64_t count = 0;
    read = Count(victim, v1::FOLLOWER, &count);
    return absl::IsDataLoss(read) || fs::exists(Data(victim) / "store.damaged");
  })) << read;
  ExpectBegunAgain(victim);
}

// Four tables of level 0 are merged: a job in the background meets it.
TEST_F(DamagedReplicaTest, ADamagedBlockThatACompactionMeetsComesFromThePeers) {
  ASSERT_NO_FATAL_FAILURE(Insert(10));
  const uint64_t victim = AFollower();
  const uint64_t third = 6 - victim - Leader();
  // So that the victim is needed for each write, and its next start has something to flush.
  servers_[third - 1].reset();
  for (int i = 0; i < 3; ++i) {
    ASSERT_NO_FATAL_FAILURE(Insert(2));
    ASSERT_NO_FATAL_FAILURE(Restart(victim));
  }
  servers_[victim - 1].reset();
  const std::set<fs::path> tables = TablesOfDocuments(victim);
  ASSERT_EQ(tables.size(), 3u);
  FlipBit(*tables.begin(), 20);
  ASSERT_NO_FATAL_FAILURE(Start(victim));
  ASSERT_NO_FATAL_FAILURE(Insert(2));
  ASSERT_FALSE(fs::exists(Data(victim) / "store.damaged")) << "neither the start nor a write has met it";
  ASSERT_NO_FATAL_FAILURE(Restart(victim));
  // The job has met it; now there are others to begin again from.
  ASSERT_TRUE(Await([&] { return fs::exists(Data(victim) / "store.damaged"); }, std::chrono::seconds(20)));
  ASSERT_NO_FATAL_FAILURE(Start(third));
  ExpectBegunAgain(victim);
}

}  // namespace
}  // namespace terrane::shard
