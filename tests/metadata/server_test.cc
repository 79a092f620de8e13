// A metadata node as a server, with shards that say yes.
#include "metadata/server.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <thread>

#include "absl/strings/str_join.h"
#include "fake_shard.h"
#include "rpc/channel.h"
#include "support/await.h"
#include "support/temp_directory.h"
#include "terrane/v1/cluster.grpc.pb.h"
#include "terrane/v1/metadata.grpc.pb.h"

namespace terrane::metadata {
namespace {

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() { Start(); }
  ~ServerTest() override { server_.reset(); }

  void Start() {
    auto server = MetadataServer::Start({.directory = directory_.path()});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = rpc::MakeChannel(server_->address(), {.own_connection = true});
    metadata_ = v1::Metadata::NewStub(channel_);
    cluster_ = v1::Cluster::NewStub(channel_);
    collections_ = v1::Collections::NewStub(channel_);
  }

  void Register(const std::string& name, const std::string& address) {
    v1::RegisterShardRequest request;
    v1::RegisterShardResponse response;
    request.set_shard(name);
    auto* replica = request.add_replicas();
    replica->set_replica_id(1);
    replica->set_endpoint(address);
    // A node that has just started leads, and gives the cluster its id, soon.
    absl::Status status;
    for (int i = 0; i < 200; ++i) {
      grpc::ClientContext context;
      status = rpc::FromGrpc(metadata_->RegisterShard(&context, request, &response));
      if (!absl::IsUnavailable(status)) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_FALSE(response.cluster().empty());
  }

  absl::StatusOr<v1::CreateCollectionResponse> Create(const std::string& name) {
    v1::CreateCollectionRequest request;
    v1::CreateCollectionResponse response;
    request.set_name(name);
    absl::Status status;
    for (int i = 0; i < 200; ++i) {
      grpc::ClientContext context;
      status = rpc::FromGrpc(collections_->Create(&context, request, &response));
      if (!absl::IsUnavailable(status)) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    if (!status.ok()) return status;
    return response;
  }

  absl::StatusOr<v1::Migration> Move(const std::string& collection, const std::string& key, const std::string& target,
                                     const std::string& request_id = "") {
    v1::MoveChunkRequest request;
    v1::MoveChunkResponse response;
    request.set_collection(collection);
    request.set_key(key);
    request.set_target(target);
    request.set_request_id(request_id);
    grpc::ClientContext context;
    auto status = rpc::FromGrpc(cluster_->MoveChunk(&context, request, &response));
    if (!status.ok()) return status;
    return response.migration();
  }

  v1::Migration Show(uint64_t id) {
    v1::ShowMigrationRequest request;
    v1::ShowMigrationResponse response;
    request.set_id(id);
    grpc::ClientContext context;
    EXPECT_TRUE(cluster_->ShowMigration(&context, request, &response).ok());
    return response.migration();
  }

  v1::Migration AwaitEnd(uint64_t id) {
    for (int i = 0; i < 1000; ++i) {
      v1::Migration record = Show(id);
      if (record.stage() == v1::Migration::DONE || record.stage() == v1::Migration::ABORTED) return record;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return Show(id);
  }

  std::vector<v1::CheckEvent> Check() {
    std::vector<v1::CheckEvent> events;
    grpc::ClientContext context;
    auto reader = cluster_->Check(&context, v1::CheckRequest());
    v1::CheckEvent event;
    while (reader->Read(&event)) events.push_back(event);
    EXPECT_TRUE(reader->Finish().ok());
    return events;
  }

  TempDirectory directory_{"metadata-server"};
  FakeShard s1_, s2_;
  std::unique_ptr<MetadataServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Metadata::Stub> metadata_;
  std::unique_ptr<v1::Cluster::Stub> cluster_;
  std::unique_ptr<v1::Collections::Stub> collections_;
};

TEST_F(ServerTest, CreatesACollectionOnAllShards) {
  EXPECT_EQ(Create("shop.orders").status().code(), absl::StatusCode::kFailedPrecondition);
  Register("s1", s1_.address());
  Register("s2", s2_.address());
  auto created = Create("shop.orders");
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_EQ(created->chunks_size(), 8);
  EXPECT_EQ(s1_.count("CreateChunk"), 4);
  EXPECT_EQ(s2_.count("CreateChunk"), 4);
  EXPECT_EQ(Create("shop.orders").status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Create("orders").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ServerTest, MovesAChunk) {
  Register("s1", s1_.address());
  Register("s2", s2_.address());
  auto created = Create("shop.orders");
  ASSERT_TRUE(created.ok()) << created.status();
  const v1::Chunk chunk = created->chunks(0);
  const std::string target = chunk.shard() == "s1" ? "s2" : "s1";

  grpc::ClientContext watch_context;
  auto watch = metadata_->Watch(&watch_context, v1::WatchRequest());
  v1::WatchEvent snapshot;
  ASSERT_TRUE(watch->Read(&snapshot));
  EXPECT_TRUE(snapshot.snapshot());
  EXPECT_EQ(snapshot.chunks_size(), 8);
  EXPECT_EQ(snapshot.shards_size(), 2);

  auto moved = Move("shop.orders", chunk.range().min(), target, "once");
  ASSERT_TRUE(moved.ok()) << moved.status();
  v1::Migration record = AwaitEnd(moved->id());
  EXPECT_EQ(record.stage(), v1::Migration::DONE) << record.DebugString();
  EXPECT_GT(record.figures().write_pause_ms(), 0);
  EXPECT_GT(record.figures().read_pause_ms(), 0);
  EXPECT_EQ(record.attempt(), 1u);

  v1::WatchEvent delta;
  ASSERT_TRUE(watch->Read(&delta));
  ASSERT_EQ(delta.chunks_size(), 1);
  EXPECT_FALSE(delta.snapshot());
  EXPECT_EQ(delta.chunks(0).shard(), target);
  EXPECT_EQ(delta.chunks(0).token(), chunk.token() + 1);
  EXPECT_EQ(delta.chunks(0).copy_id(), record.target_copy());
  watch_context.TryCancel();

  // T41: the same request again is the same migration, also when the chunk has moved since.
  auto again = Move("shop.orders", chunk.range().min(), target, "once");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->id(), moved->id());
  EXPECT_EQ(Move("shop.orders", chunk.range().min(), target).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Move("shop.orders", chunk.range().min(), "s9").status().code(), absl::StatusCode::kNotFound);
  auto misspelt = Move("shop.ordrs", "", "s1").status();
  EXPECT_NE(misspelt.ToString().find("Did you mean shop.orders?"), std::string::npos) << misspelt;
}

TEST_F(ServerTest, T43_ARestartedNodeGoesOnFromTheRecord) {
  Register("s1", s1_.address());
  Register("s2", s2_.address());
  auto created = Create("shop.orders");
  ASSERT_TRUE(created.ok()) << created.status();
  const v1::Chunk chunk = created->chunks(0);
  FakeShard& target = chunk.shard() == "s1" ? s2_ : s1_;
  target.Fail("Import", absl::UnavailableError("not now"));
  auto moved = Move("shop.orders", chunk.range().min(), chunk.shard() == "s1" ? "s2" : "s1");
  ASSERT_TRUE(moved.ok()) << moved.status();
  while (Show(moved->id()).stage() != v1::Migration::COPYING) std::this_thread::sleep_for(std::chrono::milliseconds(5));

  server_.reset();
  target.Fail("Import", absl::OkStatus());
  Start();
  Register("s1", s1_.address());
  EXPECT_EQ(AwaitEnd(moved->id()).stage(), v1::Migration::DONE);
}

TEST_F(ServerTest, DropsACollection) {
  Register("s1", s1_.address());
  Register("s2", s2_.address());
  ASSERT_TRUE(Create("shop.orders").ok());
  grpc::ClientContext context;
  v1::DropCollectionRequest request;
  v1::DropCollectionResponse response;
  request.set_name("shop.orders");
  ASSERT_TRUE(collections_->Drop(&context, request, &response).ok());
  EXPECT_EQ(s1_.count("DropCopy"), 4);
  EXPECT_EQ(s2_.count("DropCopy"), 4);
  EXPECT_TRUE(Create("shop.orders").ok());
}

TEST_F(ServerTest, StatusSaysInSentencesWhatIsWrong) {
  auto status = [this] {
    grpc::ClientContext context;
    v1::StatusResponse response;
    EXPECT_TRUE(cluster_->Status(&context, v1::StatusRequest(), &response).ok());
    return response;
  };
  Register("s1", s1_.address());
  // It has just registered: too early to miss it.
  EXPECT_EQ(status().problems_size(), 0) << status().DebugString();

  v1::ShardHeartbeatRequest heartbeat;
  v1::ShardHeartbeatResponse heard;
  heartbeat.set_shard("s1");
  heartbeat.set_leader_endpoint(s1_.address());
  heartbeat.mutable_statistics()->set_documents(12);
  heartbeat.mutable_statistics()->set_disk_total_bytes(1000);
  heartbeat.mutable_statistics()->set_disk_free_bytes(10);
  {
    grpc::ClientContext context;
    ASSERT_TRUE(metadata_->ShardHeartbeat(&context, heartbeat, &heard).ok());
    EXPECT_GT(heard.wall_ms(), 0);
  }
  v1::StatusResponse full = status();
  ASSERT_EQ(full.problems_size(), 1) << full.DebugString();
  EXPECT_NE(full.problems(0).find("of disk left"), std::string::npos) << full.problems(0);
  // A fifth of a small disk is free, and that is below the shard's reserve.
  heartbeat.mutable_statistics()->set_disk_total_bytes(1'000'000'000);
  heartbeat.mutable_statistics()->set_disk_free_bytes(200'000'000);
  {
    grpc::ClientContext context;
    ASSERT_TRUE(metadata_->ShardHeartbeat(&context, heartbeat, &heard).ok());
  }
  full = status();
  ASSERT_EQ(full.problems_size(), 1) << full.DebugString();
  EXPECT_NE(full.problems(0).find("200 MB of disk left, and refuses writes below 250 MB"), std::string::npos)
      << full.problems(0);
  EXPECT_EQ(full.documents(), 12);
  ASSERT_EQ(full.metadata_size(), 1);
  EXPECT_TRUE(full.metadata(0).leader());
  EXPECT_EQ(full.metadata(0).endpoint(), server_->address());
  EXPECT_EQ(full.shards(0).leader_endpoint(), s1_.address());

  // One of its replicas is gone, another one is new.
  heartbeat.mutable_statistics()->set_disk_free_bytes(900'000'000);
  const auto add = [&](uint64_t id, int64_t silent_ms) {
    v1::ReplicaStatus* replica = heartbeat.mutable_statistics()->add_replicas();
    replica->set_replica_id(id);
    replica->set_endpoint(absl::StrCat("host:", id));
    replica->set_silent_ms(silent_ms);
    return replica;
  };
  add(1, 0)->set_leader(true);
  add(2, 40);
  add(3, 12'300);
  add(4, 40)->set_learner(true);
  {
    grpc::ClientContext context;
    ASSERT_TRUE(metadata_->ShardHeartbeat(&context, heartbeat, &heard).ok());
  }
  full = status();
  ASSERT_EQ(full.problems_size(), 2) << full.DebugString();
  EXPECT_EQ(full.problems(0), "replica 3 of shard s1 at host:3 has not been heard of for 12 s");
  EXPECT_EQ(full.problems(1), "no further replica of shard s1 may fail: exactly a majority of its voters answers");

  // Nothing more comes from it.
  std::string problems;
  EXPECT_TRUE(terrane::testing::Await([&] {
    problems = absl::StrJoin(status().problems(), "; ");
    return problems.find("shard s1 has been silent for 3 s") != std::string::npos;
  })) << problems;

  heartbeat.set_shard("s9");
  grpc::ClientContext context;
  EXPECT_EQ(metadata_->ShardHeartbeat(&context, heartbeat, &heard).error_code(), grpc::StatusCode::NOT_FOUND);
}

// One heartbeat with new members and a new leader: whoever is told of the leader is told of the members with it.
TEST_F(ServerTest, AChangeOfLeadersIsToldWithTheMembersOfNow) {
  Register("s1", s1_.address());
  grpc::ClientContext watch_context;
  auto watch = metadata_->Watch(&watch_context, v1::WatchRequest());
  v1::WatchEvent event;
  ASSERT_TRUE(watch->Read(&event));

  v1::ShardHeartbeatRequest heartbeat;
  v1::ShardHeartbeatResponse heard;
  heartbeat.set_shard("s1");
  heartbeat.set_leader_endpoint("b:1");
  heartbeat.set_configuration(7);
  auto* replica = heartbeat.add_replicas();
  replica->set_replica_id(2);
  replica->set_endpoint("b:1");
  grpc::ClientContext context;
  ASSERT_TRUE(metadata_->ShardHeartbeat(&context, heartbeat, &heard).ok());

  ASSERT_TRUE(watch->Read(&event));  // the members: a delta
  ASSERT_TRUE(watch->Read(&event));  // the leader
  watch_context.TryCancel();
  ASSERT_EQ(event.shards_size(), 1);
  EXPECT_EQ(event.shards(0).leader_endpoint(), "b:1");
  EXPECT_EQ(event.shards(0).configuration(), 7u);
  ASSERT_EQ(event.shards(0).replicas_size(), 1) << event.DebugString();
  EXPECT_EQ(event.shards(0).replicas(0).endpoint(), "b:1");
}

// A second one would take the lead from whoever just got it.
TEST_F(ServerTest, AStepDownThatMayHaveHappenedIsNotRepeated) {
  Register("s1", s1_.address());
  s1_.Fail("StepDown", Unavailable("the connection broke"));
  v1::StepDownRequest request;
  v1::StepDownResponse response;
  request.set_shard("s1");
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));
  auto status = rpc::FromGrpc(cluster_->StepDown(&context, request, &response));
  EXPECT_EQ(status.ToString(),
            StrCat("UNAVAILABLE: shard s1: the replica at ", s1_.address(), ": the connection broke"));
  EXPECT_EQ(s1_.count("StepDown"), 1);

  // It does nothing where nobody leads: that is tried again, and whom it asked is no metadata service.
  s1_.Fail("StepDown", rpc::NotLeader(""));
  grpc::ClientContext again;
  again.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(500));
  status = rpc::FromGrpc(cluster_->StepDown(&again, request, &response));
  EXPECT_GT(s1_.count("StepDown"), 2);
  EXPECT_NE(status.ToString().find(StrCat("shard s1: the replica at ", s1_.address())), std::string::npos) << status;
}

TEST_F(ServerTest, SplitsAChunkWhereItIsToldOrInTheMiddle) {
  Register("s1", s1_.address());
  auto created = Create("shop.orders");
  ASSERT_TRUE(created.ok()) << created.status();
  auto split = [this](const std::string& key, const std::string& at) -> absl::StatusOr<v1::SplitChunkResponse> {
    v1::SplitChunkRequest request;
    v1::SplitChunkResponse response;
    request.set_collection("shop.orders");
    request.set_key(key);
    request.set_at(at);
    grpc::ClientContext context;
    auto status = rpc::FromGrpc(cluster_->SplitChunk(&context, request, &response));
    if (!status.ok()) return status;
    return response;
  };
  const std::string min = created->chunks(1).range().min();
  auto middle = split(min, "");
  ASSERT_TRUE(middle.ok()) << middle.status();
  ASSERT_EQ(middle->chunks_size(), 2);
  EXPECT_EQ(middle->chunks(1).range().min(), min + "m");
  auto told = split("", min + "a");
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_EQ(told->chunks(0).range().max(), min + "a");
  EXPECT_EQ(split("", min).status().code(), absl::StatusCode::kInvalidArgument);
  s1_.Fail("SplitChunk", FailedPrecondition("it has no middle"));
  EXPECT_EQ(split(min, "").status().code(), absl::StatusCode::kFailedPrecondition);
}

// Half of a chunk is not the chunk: the shard has split it, the map has not heard of that.
TEST_F(ServerTest, AChunkOfSeveralPartsHasTheSumOfTheirSizes) {
  Register("s1", s1_.address());
  auto created = Create("shop.orders");
  ASSERT_TRUE(created.ok()) << created.status();
  ASSERT_TRUE(created->chunks(3).range().unbounded());
  constexpr uint64_t kHighBit = uint64_t{1} << 63;
  const auto fill = [](v1::OwnedChunk* part, int64_t count) {
    part->mutable_digest()->mutable_documents()->set_high(1);
    part->mutable_digest()->mutable_documents()->set_low(kHighBit);
    part->mutable_digest()->mutable_documents()->set_count(count);
    part->mutable_digest()->mutable_documents()->set_bytes(10 * count);
    part->mutable_digest()->mutable_retries()->set_count(1);
  };
  s1_.Change([&](v1::DescribeResponse* description, v1::AuditResponse*) {
    for (auto& chunk : *description->mutable_ownership()->mutable_chunks()) fill(&chunk, 1);
    // The last one in two parts, and one of which a part is missing.
    auto* chunks = description->mutable_ownership()->mutable_chunks();
    const auto cut = [&](const v1::Chunk& chunk, const std::string& at, int64_t count) {
      for (auto& left : *chunks) {
        if (left.range().min() != chunk.range().min()) continue;
        v1::OwnedChunk right = left;
        left.mutable_range()->set_max(at);
        left.mutable_range()->set_unbounded(false);
        right.mutable_range()->set_min(at);
        fill(&right, count);
        *chunks->Add() = right;
        return;
      }
    };
    cut(created->chunks(3), created->chunks(3).range().min() + "m", 4);
    cut(created->chunks(1), created->chunks(1).range().min() + "m", 1);
    chunks->RemoveLast();
  });
  grpc::ClientContext context;
  v1::ListChunksResponse list;
  ASSERT_TRUE(cluster_->ListChunks(&context, v1::ListChunksRequest(), &list).ok());
  ASSERT_EQ(list.chunks_size(), 4);
  EXPECT_EQ(list.chunks(0).digest().documents().count(), 1);
  EXPECT_FALSE(list.chunks(1).has_digest()) << list.chunks(1).DebugString();
  const v1::ChunkDigest& sum = list.chunks(3).digest();
  EXPECT_EQ(sum.documents().count(), 5);
  EXPECT_EQ(sum.documents().bytes(), 50);
  EXPECT_EQ(sum.documents().high(), 3u) << "1 + 1 and the carry";
  EXPECT_EQ(sum.documents().low(), 0u);
  EXPECT_EQ(sum.retries().count(), 2);
  const auto checked = Check();
  EXPECT_EQ(checked.back().findings(), 1) << "the part that is missing";
}

TEST_F(ServerTest, WhatAShardDoesNotSayIsMissingByName) {
  Register("s1", s1_.address());
  auto silent = std::make_unique<FakeShard>();
  Register("s3", silent->address());
  ASSERT_TRUE(Create("shop.orders").ok());
  const auto fill = [](v1::DescribeResponse* description, v1::AuditResponse*) {
    for (auto& chunk : *description->mutable_ownership()->mutable_chunks()) {
      chunk.mutable_digest()->mutable_documents()->set_count(10);
      chunk.mutable_digest()->mutable_documents()->set_bytes(100);
    }
  };
  s1_.Change(fill);
  silent->Change(fill);
  const auto list = [this] {
    grpc::ClientContext context;
    v1::ListCollectionsResponse response;
    EXPECT_TRUE(collections_->List(&context, v1::ListCollectionsRequest(), &response).ok());
    return response;
  };
  v1::ListCollectionsResponse whole = list();
  ASSERT_EQ(whole.collections_size(), 1);
  EXPECT_EQ(whole.collections(0).documents(), 80);
  EXPECT_EQ(whole.collections(0).unknown_chunks(), 0);
  EXPECT_EQ(whole.collections(0).silent_shards_size(), 0);
  silent.reset();
  v1::ListCollectionsResponse part = list();
  ASSERT_EQ(part.collections_size(), 1);
  EXPECT_EQ(part.collections(0).documents(), 40);
  EXPECT_EQ(part.collections(0).bytes(), 400);
  EXPECT_EQ(part.collections(0).chunks(), 8);
  EXPECT_EQ(part.collections(0).unknown_chunks(), 4);
  EXPECT_EQ(absl::StrJoin(part.collections(0).silent_shards(), " "), "s3");
}

// A split reads the whole chunk: the shard has as long for it as the caller waits. Who asks again meanwhile gets the
// same answer, and no second split.
TEST_F(ServerTest, ASplitHasTheTimeOfItsCallerAndIsJoined) {
  Register("s1", s1_.address());
  auto created = Create("shop.orders");
  ASSERT_TRUE(created.ok()) << created.status();
  const std::string min = created->chunks(1).range().min();
  const auto split = [&](const std::string& at, std::chrono::seconds deadline) {
    return std::async(std::launch::async, [=, this]() -> absl::StatusOr<v1::SplitChunkResponse> {
      v1::SplitChunkRequest request;
      v1::SplitChunkResponse response;
      request.set_collection("shop.orders");
      request.set_key(min);
      request.set_at(at);
      grpc::ClientContext context;
      if (deadline.count() > 0) context.set_deadline(std::chrono::system_clock::now() + deadline);
      auto status = rpc::FromGrpc(cluster_->SplitChunk(&context, request, &response));
      if (!status.ok()) return status;
      return response;
    });
  };
  s1_.Hold("SplitChunk");
  auto first = split("", std::chrono::seconds(1000));
  ASSERT_TRUE(terrane::testing::Await([&] { return s1_.count("SplitChunk") == 1; }));
  EXPECT_GT(s1_.time_left("SplitChunk"), std::chrono::seconds(900));
  EXPECT_LT(s1_.time_left("SplitChunk"), std::chrono::seconds(1030)) << "gRPC rounds it up";
  auto again = split("", std::chrono::seconds(1000));
  auto elsewhere = split(min + "a", std::chrono::seconds(20)).get();
  EXPECT_EQ(elsewhere.status().code(), absl::StatusCode::kFailedPrecondition) << elsewhere.status();
  EXPECT_NE(elsewhere.status().message().find("is being split"), std::string::npos) << elsewhere.status();
  // Whoever waits less is told so, and ends nothing.
  auto impatient = split("", std::chrono::seconds(1)).get();
  EXPECT_EQ(impatient.status().code(), absl::StatusCode::kDeadlineExceeded) << impatient.status();
  s1_.Release();
  auto result = first.get();
  ASSERT_TRUE(result.ok()) << result.status();
  auto same = again.get();
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_EQ(same->SerializeAsString(), result->SerializeAsString());
  EXPECT_EQ(s1_.count("SplitChunk"), 1);

  // Its time is over: it says so, and the next one begins anew.
  s1_.Fail("SplitChunk", absl::DeadlineExceededError("the deadline has passed"));
  auto late = split("", std::chrono::seconds(20)).get();
  EXPECT_EQ(late.status().code(), absl::StatusCode::kDeadlineExceeded) << late.status();
  EXPECT_NE(late.status().message().find("has not split the chunk in time"), std::string::npos) << late.status();
  s1_.Fail("SplitChunk", absl::OkStatus());
  EXPECT_TRUE(split(min + "a", std::chrono::seconds(0)).get().ok());
  EXPECT_GT(s1_.time_left("SplitChunk"), std::chrono::minutes(10)) << "nobody said how long it may take";
}

TEST_F(ServerTest, T64_AMigrationThatIsNotKnownIsAnErrorAndNoAnswer) {
  Register("s1", s1_.address());
  grpc::ClientContext context;
  v1::GetMigrationRequest request;
  v1::GetMigrationResponse response;
  request.set_id(5);
  auto status = rpc::FromGrpc(metadata_->GetMigration(&context, request, &response));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(rpc::ReasonOf(status), v1::ErrorDetail::NO_SUCH_MIGRATION);
}

TEST_F(ServerTest, T11_AMoveIsAbortedOnDemand) {
  Register("s1", s1_.address());
  Register("s2", s2_.address());
  auto created = Create("shop.orders");
  ASSERT_TRUE(created.ok()) << created.status();
  s2_.Fail("Import", absl::UnavailableError("not now"));
  auto moved = Move("shop.orders", created->chunks(0).range().min(), "s2");
  ASSERT_TRUE(moved.ok()) << moved.status();
  grpc::ClientContext context;
  v1::AbortMigrationRequest request;
  v1::AbortMigrationResponse response;
  request.set_id(moved->id());
  ASSERT_TRUE(cluster_->AbortMigration(&context, request, &response).ok());
  EXPECT_EQ(AwaitEnd(moved->id()).stage(), v1::Migration::ABORTED);
  EXPECT_GE(s1_.count("EndAttempt"), 1);
  EXPECT_GE(s2_.count("EndAttempt"), 1);
  EXPECT_GE(s2_.count("DropCopy"), 1);
}

// It is gone for people as soon as nobody finds it any more; its name may be another's by then.
TEST_F(ServerTest, AMoveWhoseCollectionIsBeingDroppedHasNone) {
  Register("s1", s1_.address());
  Register("s2", s2_.address());
  auto created = Create("shop.orders");
  ASSERT_TRUE(created.ok()) << created.status();
  const v1::Chunk chunk = created->chunks(0);
  FakeShard& target = chunk.shard() == "s1" ? s2_ : s1_;
  target.Fail("Import", absl::UnavailableError("not now"));
  auto moved = Move("shop.orders", chunk.range().min(), chunk.shard() == "s1" ? "s2" : "s1");
  ASSERT_TRUE(moved.ok()) << moved.status();
  const auto name = [&] {
    grpc::ClientContext context;
    v1::ShowMigrationRequest request;
    v1::ShowMigrationResponse response;
    request.set_id(moved->id());
    EXPECT_TRUE(cluster_->ShowMigration(&context, request, &response).ok());
    return response.collection();
  };
  EXPECT_EQ(name(), "shop.orders");
  target.Hold("DropCopy");  // the drop lasts
  std::thread drop([&] {
    grpc::ClientContext context;
    v1::DropCollectionRequest request;
    v1::DropCollectionResponse response;
    request.set_name("shop.orders");
    EXPECT_TRUE(collections_->Drop(&context, request, &response).ok());
  });
  EXPECT_TRUE(terrane::testing::Await([&] { return target.count("DropCopy") > 0; }));
  EXPECT_EQ(name(), "");
  target.Release();
  drop.join();
  EXPECT_EQ(AwaitEnd(moved->id()).stage(), v1::Migration::ABORTED);
  EXPECT_EQ(name(), "");
}

// An audit reads a whole chunk, and a shard may never answer. Nobody has called anything off: whoever asked is told to
// ask another node, and that what was sent to the shard may be done.
TEST_F(ServerTest, StoppingWaitsForNoShard) {
  Register("s1", s1_.address());
  auto created = Create("shop.orders");
  ASSERT_TRUE(created.ok()) << created.status();
  const std::vector<std::string> held = {"Audit", "StepDown", "ChangeReplica", "SplitChunk"};
  for (const std::string& name : held) s1_.Hold(name);
  std::vector<v1::CheckEvent> events;
  std::thread check([&] {
    grpc::ClientContext context;
    auto reader = cluster_->Check(&context, v1::CheckRequest());
    v1::CheckEvent event;
    while (reader->Read(&event)) events.push_back(event);
    const absl::Status status = rpc::FromGrpc(reader->Finish());
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  });
  const auto expect_unknown = [](const grpc::Status& answer) {
    const absl::Status status = rpc::FromGrpc(answer);
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_EQ(rpc::ReasonOf(status), v1::ErrorDetail::OUTCOME_UNKNOWN) << status;
  };
  std::thread step([&] {
    grpc::ClientContext context;
    v1::StepDownRequest request;
    v1::StepDownResponse response;
    request.set_shard("s1");
    expect_unknown(cluster_->StepDown(&context, request, &response));
  });
  std::thread change([&] {
    grpc::ClientContext context;
    v1::ChangeReplicaRequest request;
    v1::ChangeReplicaResponse response;
    request.set_shard("s1");
    request.set_change(v1::ADD);
    request.set_replica_id(2);
    request.set_endpoint("127.0.0.1:1");
    expect_unknown(cluster_->ChangeReplica(&context, request, &response));
  });
  std::thread split([&] {
    grpc::ClientContext context;
    v1::SplitChunkRequest request;
    v1::SplitChunkResponse response;
    request.set_collection("shop.orders");
    request.set_key(created->chunks(1).range().min());
    expect_unknown(cluster_->SplitChunk(&context, request, &response));
  });
  for (const std::string& name : held) {
    EXPECT_TRUE(terrane::testing::Await([&] { return s1_.count(name) > 0; })) << name;
  }
  auto stopped = std::async(std::launch::async, [&] { server_->Stop(); });
  EXPECT_EQ(stopped.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  s1_.Release();  // so that this test ends
  check.join();
  step.join();
  change.join();
  split.join();
  // What was not looked at is no damage.
  for (const auto& event : events) EXPECT_NE(event.kind(), v1::CheckEvent::FINDING) << event.text();
}

// Shards that were not heard because this node stops are not silent ones: the next node knows better.
TEST_F(ServerTest, AListThatIsCutOffByTheStopIsAnError) {
  Register("s1", s1_.address());
  ASSERT_TRUE(Create("shop.orders").ok());
  const int before = s1_.described();
  s1_.Hold("Describe");
  auto chunks = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    v1::ListChunksResponse response;
    return rpc::FromGrpc(cluster_->ListChunks(&context, v1::ListChunksRequest(), &response));
  });
  auto collections = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    v1::ListCollectionsResponse response;
    return rpc::FromGrpc(collections_->List(&context, v1::ListCollectionsRequest(), &response));
  });
  EXPECT_TRUE(terrane::testing::Await([&] { return s1_.described() == before + 2; }));
  server_->Stop();
  s1_.Release();
  const absl::Status listed = chunks.get();
  EXPECT_TRUE(absl::IsUnavailable(listed)) << listed;
  const absl::Status known = collections.get();
  EXPECT_TRUE(absl::IsUnavailable(known)) << known;
}

TEST_F(ServerTest, CheckFindsWhatIsWrong) {
  Register("s1", s1_.address());
  Register("s2", s2_.address());
  ASSERT_TRUE(Create("shop.orders").ok());
  auto healthy = Check();
  ASSERT_FALSE(healthy.empty());
  EXPECT_EQ(healthy.back().kind(), v1::CheckEvent::SUMMARY);
  EXPECT_EQ(healthy.back().findings(), 0) << healthy.front().text();
  EXPECT_EQ(healthy.back().chunks_checked(), 8);

  s1_.Change([](v1::DescribeResponse* description, v1::AuditResponse* audit) {
    description->mutable_ownership()->mutable_chunks()->DeleteSubrange(0, 1);
    description->add_copies_on_disk(77);
    audit->mutable_scanned()->mutable_documents()->set_count(1);
  });
  auto damaged = Check();
  // A chunk that its owner lacks, a copy that nobody owns, and four chunks whose documents differ.
  EXPECT_EQ(damaged.back().findings(), 6) << damaged.front().text();
}

}  // namespace
}  // namespace terrane::metadata
