// What the proxy makes of shards that move, fence, change leaders, break or are silent: slow requests, no errors.
#include <gmock/gmock.h>

#include "proxy_fixture.h"

namespace terrane::proxy {
namespace {

using ::testing::HasSubstr;

TEST_F(ProxyServerTest, ACollectionOfThisMomentIsFound) {
  ASSERT_TRUE(Insert({"a"}).ok());
  metadata_.AddCollection(2, "shop.new", "", /*tell=*/false);
  v1::FindRequest find = FindRequest();
  find.set_collection("shop.new");
  auto context = Context(300ms);
  auto reader = stub_->Find(context.get(), find);
  v1::FindResponse response;
  EXPECT_FALSE(reader->Read(&response));
  // It is known now; what is missing are its chunks.
  EXPECT_NE(reader->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ProxyServerTest, ARejectionWithARouteNeedsNoMetadata) {
  ASSERT_TRUE(Insert({"a"}).ok());
  MoveLeft(/*source_knows=*/true);
  const int refreshes = metadata_.refreshes;  // a first request may come before the first routes
  metadata_server_->Shutdown(0ms);
  EXPECT_EQ(*Find(FindRequest(Id("a"))), "a");
  EXPECT_EQ(Update(Id("a"), Inc())->modified(), 1);
  EXPECT_EQ(metadata_.refreshes, refreshes);
}

TEST_F(ProxyServerTest, ARejectionWithoutARouteAsksTheMetadataService) {
  ASSERT_TRUE(Insert({"a"}).ok());
  MoveLeft(/*source_knows=*/false);
  metadata_.SetChunk(MovedLeft(), /*tell=*/false);
  EXPECT_EQ(*Find(FindRequest(Id("a"))), "a");
  EXPECT_GE(metadata_.refreshes, 1);
}

TEST_F(ProxyServerTest, T03_ACachedRouteWorksWithoutTheMetadataServiceAndTheShardDecides) {
  ASSERT_TRUE(Insert({"a", "x"}).ok());
  metadata_server_->Shutdown(0ms);
  EXPECT_EQ(*Find(FindRequest()), "ax");
  EXPECT_EQ(Update(Id("x"), Inc())->modified(), 1);
}

// The time in which the metadata service may answer is longer than what these requests have.
TEST_F(ProxyServerTest, WhatWaitsForRoutesIsAnsweredBeforeItsDeadline) {
  ASSERT_TRUE(Insert({"a"}).ok());
  MoveLeft(/*source_knows=*/false);
  metadata_server_->Shutdown(0ms);
  const auto began = std::chrono::steady_clock::now();
  const absl::Status moved = Update(Id("a"), Inc(), false, 400ms).status();
  EXPECT_EQ(moved.code(), absl::StatusCode::kUnavailable) << moved;
  EXPECT_THAT(std::string(MessageOf(moved)), HasSubstr("not mine any more"));
  v1::CountRequest unknown;
  unknown.set_collection("shop.unheard");
  v1::CountResponse counted;
  const absl::Status unheard = rpc::FromGrpc(stub_->Count(Context(400ms).get(), unknown, &counted));
  EXPECT_EQ(unheard.code(), absl::StatusCode::kUnavailable) << unheard;
  EXPECT_THAT(std::string(MessageOf(unheard)), HasSubstr("the metadata service does not answer"));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 1500ms);
}

TEST_F(ProxyServerTest, T04_AShardThatKnowsLessIsAskedAgain) {
  ASSERT_TRUE(Insert({"a"}).ok());
  {
    std::lock_guard lock(world_.mutex);
    for (int i = 0; i < 3; ++i) {
      a_.refuse.push_back(rpc::WithReason(Unavailable("asking the metadata service"), ErrorDetail::ROUTE_AHEAD));
    }
    a_.requests = 0;
  }
  v1::UpdateRequest update;
  update.set_collection("shop.orders");
  update.set_filter(Id("a"));
  update.set_update(Inc());
  v1::UpdateResponse response;
  const auto context = Context();
  const absl::Status status = rpc::FromGrpc(stub_->Update(context.get(), update, &response));
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(response.modified(), 1);
  EXPECT_EQ(a_.requests, 4);
  // The client is told how often.
  const auto& trailers = context->GetServerTrailingMetadata();
  ASSERT_TRUE(trailers.contains(rpc::kResentKey));
  EXPECT_EQ(trailers.find(rpc::kResentKey)->second, "3");
}

TEST_F(ProxyServerTest, T05_ATargetBeforeItsCommitSendsTheRequestBack) {
  ASSERT_TRUE(Insert({"a"}).ok());
  // Somebody claims too early that the chunk is b's. b refuses without naming an owner, and nothing happens there.
  v1::ErrorDetail early;
  early.set_reason(ErrorDetail::STALE_ROUTE);
  *early.mutable_route() = MovedLeft();
  {
    std::lock_guard lock(world_.mutex);
    a_.refuse.push_back(rpc::WithDetail(Aborted("moved"), early));
    world_.effects = 0;
  }
  auto update = std::async(std::launch::async, [this] { return Update(Id("a"), Inc()); });
  EXPECT_EQ(update.wait_for(100ms), std::future_status::timeout);
  EXPECT_EQ(world_.effects, 0);
  // The attempt ends: the source goes on under a token that outbids the claim.
  v1::Route kept = left_;
  kept.set_token(3);
  {
    std::lock_guard lock(world_.mutex);
    a_.owned = {{kept}};
  }
  metadata_.SetChunk(kept);
  const auto updated = update.get();
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->modified(), 1);
  EXPECT_EQ(world_.effects, 1);
}

TEST_F(ProxyServerTest, WritesToAFencedChunkWaitForItsRoute) {
  ASSERT_TRUE(Insert({"a"}).ok());
  {
    std::lock_guard lock(world_.mutex);
    a_.owned[0].write_fenced = true;
    a_.owned[0].move.set_migration_id(7);
    a_.owned[0].move.set_attempt(1);
  }
  auto update = std::async(std::launch::async, [this] { return Update(Id("a"), Inc()); });
  EXPECT_EQ(update.wait_for(100ms), std::future_status::timeout);
  EXPECT_EQ(*Find(FindRequest(Id("a"))), "a") << "T10: reads go on";
  MoveLeft(/*source_knows=*/false);
  metadata_.SetChunk(MovedLeft());
  const auto modified = update.get();
  ASSERT_TRUE(modified.ok()) << modified.status();
  EXPECT_EQ(modified->modified(), 1);
  EXPECT_EQ(world_.effects, 2);
}

TEST_F(ProxyServerTest, AnAttemptThatIsGivenUpReleasesToo) {
  ASSERT_TRUE(Insert({"a"}).ok());
  {
    std::lock_guard lock(world_.mutex);
    a_.owned[0].write_fenced = a_.owned[0].read_fenced = true;
  }
  auto update = std::async(std::launch::async, [this] { return Update(Id("a"), Inc()); });
  auto find = std::async(std::launch::async, [this] { return Find(FindRequest(Id("a"))); });
  EXPECT_EQ(update.wait_for(50ms), std::future_status::timeout);
  EXPECT_EQ(find.wait_for(50ms), std::future_status::timeout);
  {
    std::lock_guard lock(world_.mutex);
    a_.owned[0].write_fenced = a_.owned[0].read_fenced = false;
    a_.owned[0].route.set_token(2);
  }
  left_.set_token(2);
  metadata_.SetChunk(left_);
  EXPECT_TRUE(update.get().ok());
  EXPECT_EQ(*find.get(), "a");
}

TEST_F(ProxyServerTest, T12_AHoldEndsAtItsOwnLimit) {
  StartProxy({.max_hold = 100ms});
  ASSERT_TRUE(Insert({"a"}).ok());
  {
    std::lock_guard lock(world_.mutex);
    a_.owned[0].write_fenced = true;
  }
  const auto began = std::chrono::steady_clock::now();
  absl::Status status = Update(Id("a"), Inc()).status();
  EXPECT_EQ(rpc::ReasonOf(status), ErrorDetail::HOLD_EXPIRED) << status;
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_GE(std::chrono::steady_clock::now() - began, 100ms);
  const auto again = std::chrono::steady_clock::now();
  EXPECT_EQ(rpc::ReasonOf(Update(Id("a"), Inc()).status()), ErrorDetail::HOLD_EXPIRED);
  EXPECT_LT(std::chrono::steady_clock::now() - again, 90ms) << "no second window";
}

TEST_F(ProxyServerTest, T35_ALongHoldAsksTheMetadataServiceNowAndThenOnly) {
  StartProxy({.max_hold = 1s});
  ASSERT_TRUE(Insert({"a"}).ok());
  {
    std::lock_guard lock(world_.mutex);
    a_.owned[0].write_fenced = true;
  }
  const int before = metadata_.refreshes;
  EXPECT_EQ(rpc::ReasonOf(Update(Id("a"), Inc()).status()), ErrorDetail::HOLD_EXPIRED);
  EXPECT_GE(metadata_.refreshes, before + 1) << "it might have missed the end of the switch";
  EXPECT_LE(metadata_.refreshes, before + 4) << "between 200 ms and 1 s, one each 250 ms";
}

TEST_F(ProxyServerTest, ALostAnswerHasOneEffect) {
  ASSERT_TRUE(Insert({"a"}).ok());
  {
    std::lock_guard lock(world_.mutex);
    a_.lose_answers = 2;
    world_.effects = 0;
  }
  EXPECT_EQ(Update(Id("a"), Inc())->modified(), 1);
  EXPECT_EQ(world_.effects, 1);
  {
    std::lock_guard lock(world_.mutex);
    a_.lose_answers = 1;
  }
  EXPECT_TRUE(Insert({"b"}).ok()) << "not a duplicate of itself";
}

TEST_F(ProxyServerTest, TheLeaderIsFoundByItsHint) {
  FakeShard follower(&world_, &executor_);
  auto follower_server = *rpc::Server::Start({}, {&follower});
  for (int i = 0; i < 3; ++i) follower.refuse.push_back(rpc::NotLeader(server_a_->address()));
  metadata_.AddShard("a", {follower_server->address(), server_a_->address()});
  StartProxy({});
  ASSERT_TRUE(Insert({"a"}).ok());
  EXPECT_EQ(*Find(FindRequest(Id("a"))), "a");
  EXPECT_EQ(follower.requests, 1);
}

// The old leader is paused: what it was asked is asked of the new one as soon as that is announced, and not only when
// the attempt is over (a second).
TEST_F(ProxyServerTest, ANewLeaderIsAskedWhatTheOldOneHasNotAnswered) {
  FakeShard other(&world_, &executor_);
  other.owned.push_back({left_});
  const auto updated = UpdateWhileTheOfficeChanges(&other, 900ms);
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->modified(), 1);
}

// Nobody answers in time: the last word is not that the proxy has broken off its own request.
TEST_F(ProxyServerTest, ANewLeaderThatIsSilentTooLeavesNoCancellation) {
  FakeShard other(&world_, &executor_);
  for (int i = 0; i < 100; ++i) other.refuse.push_back(absl::CancelledError("it is ending"));
  const absl::Status status = UpdateWhileTheOfficeChanges(&other, 400ms).status();
  EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) << status;
}

// A block that a replica cannot read is on the others too.
TEST_F(ProxyServerTest, AnotherReplicaIsAskedWhatADamagedOneCannotRead) {
  FakeShard other(&world_, &executor_);
  other.owned.push_back({left_});
  auto server = *rpc::Server::Start({}, {&other});
  metadata_.AddShard("a", {server_a_->address(), server->address()}, server_a_->address());
  ASSERT_TRUE(Insert({"a"}).ok());
  {
    std::lock_guard lock(world_.mutex);
    a_.refuse.assign(1000, DataLoss("000012.sst: block checksum mismatch"));
  }
  const auto found = Find(FindRequest(Id("a")));
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(*found, "a");
  const auto updated = Update(Id("a"), Inc());
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->modified(), 1);
  v1::FindRequest follower = FindRequest();
  follower.mutable_read()->set_mode(v1::FOLLOWER);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(*Find(follower), "a");
}

TEST_F(ProxyServerTest, ADamagedReplicaThatIsAloneIsNamedAtOnce) {
  ASSERT_TRUE(Insert({"a"}).ok());
  {
    std::lock_guard lock(world_.mutex);
    a_.refuse = {DataLoss("000012.sst: block checksum mismatch")};
  }
  EXPECT_EQ(Find(FindRequest(Id("a"))).status(), DataLoss("000012.sst: block checksum mismatch"));
}

TEST_F(ProxyServerTest, ASilentShardCostsNoMoreThanTheDeadline) {
  ASSERT_TRUE(Insert({"a"}).ok());
  {
    std::lock_guard lock(world_.mutex);
    a_.silent = true;
  }
  const auto began = std::chrono::steady_clock::now();
  const absl::Status status = Update(Id("a"), Inc(), false, 200ms).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
  EXPECT_EQ(*Find(FindRequest(Builder().Append("_id", Builder().Append("$gte", "m")).Finish())), "")
      << "the other shard answers";
}

TEST_F(ProxyServerTest, T21_AScanOverASplitAndAMoveMeetsEachDocumentOnce) {
  std::vector<std::string> ids;
  std::string all;
  for (char c = 'a'; c <= 'z'; ++c) {
    ids.push_back(std::string(1, c));
    all += c;
  }
  ASSERT_TRUE(Insert(ids).ok());
  int pages = 0;
  a_.after_page = [&] {  // with the world's lock
    if (++pages != 2) return;
    // While the cursor stands behind "d", the chunk is cut at "g" and its left part moves away, then "c" is deleted.
    const v1::Route moved = Route("", IdKey("g"), 30, 2, "b");
    const v1::Route kept = Route(IdKey("g"), middle_, 10, 1, "a");
    b_.owned.push_back({moved});
    FakeShard::Owned gone{Route("", IdKey("g"), 10, 1, "a")};
    gone.moved_to = moved;
    a_.owned = {gone, {kept}};
    world_.documents.erase({IdKey("c"), IdKey("c")});
  };
  EXPECT_EQ(*Find(FindRequest()), all);
}

TEST_F(ProxyServerTest, AGroupOfAnInsertThatWasCutFindsItsNewChunks) {
  ASSERT_TRUE(Insert({"0"}).ok());
  const v1::Route moved = Route("", IdKey("g"), 30, 2, "b");
  {
    std::lock_guard lock(world_.mutex);
    b_.owned.push_back({moved});
    FakeShard::Owned gone{Route("", IdKey("g"), 10, 1, "a")};
    gone.moved_to = moved;
    a_.owned = {gone, {Route(IdKey("g"), middle_, 10, 1, "a")}};
  }
  v1::InsertResponse response;
  ASSERT_TRUE(Insert({"a", "b", "h", "i"}, &response).ok());
  EXPECT_EQ(response.inserted(), 4);
  EXPECT_EQ(*Find(FindRequest()), "0abhi");
}

}  // namespace
}  // namespace terrane::proxy
