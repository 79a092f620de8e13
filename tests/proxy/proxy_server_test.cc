// The proxy as applications see it, over real gRPC, with a fake metadata service and fake shards.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "common/status.h"
#include "document/builder.h"
#include "document/limits.h"
#include "document/shard_key.h"
#include "fakes.h"
#include "proxy/server.h"
#include "rpc/channel.h"
#include "rpc/unary.h"
#include "support/await.h"
#include "terrane/v1/documents.grpc.pb.h"

namespace terrane::proxy {
namespace {

using namespace std::chrono_literals;
using document::Builder;
using testing::FakeMetadata;
using testing::FakeShard;
using ::testing::HasSubstr;
using testing::World;
using v1::ErrorDetail;

constexpr uint32_t kOrders = 1;

class ProxyServerTest : public ::testing::Test {
 protected:
  ProxyServerTest() {
    metadata_server_ = *rpc::Server::Start({}, {&metadata_});
    server_a_ = *rpc::Server::Start({}, {&a_});
    server_b_ = *rpc::Server::Start({}, {&b_});
    metadata_.AddShard("a", {server_a_->address()});
    metadata_.AddShard("b", {server_b_->address()});
    // Keys are _id in their order: strings below "m" are at a, the others at b.
    metadata_.AddCollection(kOrders, "shop.orders", Builder().Append("_id", 1).Finish());
    middle_ = IdKey("m");
    left_ = Route("", middle_, 10, 1, "a");
    right_ = Route(middle_, std::nullopt, 20, 1, "b");
    metadata_.SetChunk(left_);
    metadata_.SetChunk(right_);
    a_.owned.push_back({left_});
    b_.owned.push_back({right_});
    StartProxy({});
  }
  ~ProxyServerTest() override {
    a_.EndSilence();
    b_.EndSilence();
    proxy_.reset();
  }

  void StartProxy(ProxyServerOptions options) {
    proxy_.reset();
    options.metadata = {metadata_server_->address()};
    proxy_ = *ProxyServer::Start(options);
    channel_ = rpc::MakeChannel(proxy_->address());
    stub_ = v1::Documents::NewStub(channel_);
  }

  static std::string IdKey(const std::string& id) { return document::EncodeId(document::Value::String(id)); }
  static v1::Route Route(std::string min, std::optional<std::string> max, uint32_t copy, uint64_t token,
                         const std::string& shard) {
    v1::Route route;
    route.set_collection_id(kOrders);
    routing::ToProto({std::move(min), std::move(max)}, route.mutable_range());
    route.set_copy_id(copy);
    route.set_token(token);
    route.set_shard(shard);
    return route;
  }

  std::unique_ptr<grpc::ClientContext> Context(std::chrono::milliseconds deadline = 5s) {
    auto context = std::make_unique<grpc::ClientContext>();
    context->set_deadline(std::chrono::system_clock::now() + deadline);
    return context;
  }
  absl::Status Insert(const std::vector<std::string>& ids, v1::InsertResponse* response = nullptr) {
    v1::InsertRequest request;
    request.set_collection("shop.orders");
    for (const std::string& id : ids) request.add_documents(Builder().Append("_id", id).Append("n", 0).Finish());
    v1::InsertResponse ignored;
    return rpc::FromGrpc(stub_->Insert(Context().get(), request, response == nullptr ? &ignored : response));
  }
  v1::FindRequest FindRequest(const std::string& filter = "") {
    v1::FindRequest request;
    request.set_collection("shop.orders");
    request.set_filter(filter);
    return request;
  }
  // The _ids in the order in which they came.
  absl::StatusOr<std::string> Find(const v1::FindRequest& request, std::vector<std::string>* tokens = nullptr) {
    auto context = Context(30s);
    auto reader = stub_->Find(context.get(), request);
    v1::FindResponse response;
    std::string ids;
    while (reader->Read(&response)) {
      for (const std::string& document : response.documents()) ids += document::FindDirect(document, "_id")->AsString();
      if (tokens != nullptr) tokens->push_back(response.resume_token());
    }
    TERRANE_RETURN_IF_ERROR(rpc::FromGrpc(reader->Finish()));
    return ids;
  }
  absl::StatusOr<v1::UpdateResponse> Update(const std::string& filter, const std::string& update, bool multi = false,
                                            std::chrono::milliseconds deadline = 5s) {
    v1::UpdateRequest request;
    request.set_collection("shop.orders");
    request.set_filter(filter);
    request.set_update(update);
    request.set_multi(multi);
    v1::UpdateResponse response;
    TERRANE_RETURN_IF_ERROR(rpc::FromGrpc(stub_->Update(Context(deadline).get(), request, &response)));
    return response;
  }
  static std::string Id(const std::string& id) { return Builder().Append("_id", id).Finish(); }
  static std::string Inc() { return Builder().Append("$inc", Builder().Append("n", 1)).Finish(); }
  // An update that a has not answered when `other`, another replica of its shard, is announced as the leader.
  absl::StatusOr<v1::UpdateResponse> UpdateWhileTheOfficeChanges(FakeShard* other, std::chrono::milliseconds deadline) {
    auto server = *rpc::Server::Start({}, {other});
    metadata_.AddShard("a", {server_a_->address(), server->address()}, server_a_->address());
    EXPECT_TRUE(Insert({"a"}).ok());
    {
      std::lock_guard lock(world_.mutex);
      a_.silent = true;
      a_.requests = 0;
    }
    auto update = std::async(std::launch::async, [&] { return Update(Id("a"), Inc(), false, deadline); });
    EXPECT_TRUE(::terrane::testing::Await([&] {
      std::lock_guard lock(world_.mutex);
      return a_.requests > 0;
    }));
    metadata_.AnnounceLeader("a", server->address());
    return update.get();
  }
  // The left chunk is b's from now on, under copy 30.
  v1::Route MovedLeft() { return Route("", middle_, 30, 2, "b"); }
  void MoveLeft(bool source_knows) {
    std::lock_guard lock(world_.mutex);
    b_.owned.push_back({MovedLeft()});
    a_.owned[0].moved_to = source_knows ? MovedLeft() : v1::Route();
  }

  Executor executor_{"fakes", 8};
  World world_;
  FakeMetadata metadata_{&executor_};
  FakeShard a_{&world_, &executor_};
  FakeShard b_{&world_, &executor_};
  std::unique_ptr<rpc::Server> metadata_server_, server_a_, server_b_;
  std::string middle_;
  v1::Route left_, right_;
  std::unique_ptr<ProxyServer> proxy_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Documents::Stub> stub_;
};

TEST_F(ProxyServerTest, InsertsGoToTheirChunksAndAreFoundAgain) {
  v1::InsertResponse response;
  ASSERT_TRUE(Insert({"d", "x", "a", "m"}, &response).ok());
  EXPECT_EQ(response.inserted(), 4);
  EXPECT_EQ(response.ids(1), Id("x"));
  EXPECT_EQ(a_.requests, 1);
  EXPECT_EQ(b_.requests, 1);
  EXPECT_EQ(*Find(FindRequest(Id("m"))), "m");
  EXPECT_EQ(*Find(FindRequest(Id("never"))), "");
  EXPECT_EQ(*Find(FindRequest()), "admx");
}

TEST_F(ProxyServerTest, ErrorsOfDocumentsAreListedByIndex) {
  ASSERT_TRUE(Insert({"a"}).ok());
  v1::InsertRequest request;
  request.set_collection("shop.orders");
  request.add_documents(Id("a"));
  request.add_documents("no bson");
  request.add_documents(Id("z"));
  request.add_documents(Builder().Append("n", 1).Finish());
  v1::InsertResponse response;
  ASSERT_TRUE(stub_->Insert(Context().get(), request, &response).ok());
  EXPECT_EQ(response.inserted(), 2) << "the last one gets an ObjectId";
  ASSERT_EQ(response.errors_size(), 2);
  EXPECT_EQ(response.errors(0).index(), 0);
  EXPECT_EQ(response.errors(0).detail().reason(), ErrorDetail::DUPLICATE_KEY);
  EXPECT_EQ(response.errors(1).index(), 1);
  EXPECT_EQ(response.errors(1).detail().reason(), ErrorDetail::BAD_DOCUMENT);
}

TEST_F(ProxyServerTest, AResentStatementMakesTheSameObjectId) {
  v1::InsertRequest request;
  request.set_collection("shop.orders");
  request.add_documents(Builder().Append("n", 1).Finish());
  request.mutable_retry()->set_session(std::string(16, 's'));
  request.mutable_retry()->set_statement(4);
  v1::InsertResponse first, second;
  ASSERT_TRUE(stub_->Insert(Context().get(), request, &first).ok());
  ASSERT_TRUE(stub_->Insert(Context().get(), request, &second).ok());
  EXPECT_EQ(first.ids(0), second.ids(0));
  EXPECT_EQ(second.inserted(), 1);
  EXPECT_EQ(world_.documents.size(), 1u);
}

// Whatever became of the other groups: without its answer nobody knows of this one.
TEST_F(ProxyServerTest, AGroupOfUnknownOutcomeMakesTheClientSendTheInsertAgain) {
  ASSERT_TRUE(Insert({"0"}).ok());
  {
    std::lock_guard lock(world_.mutex);
    a_.refuse = {absl::ResourceExhaustedError("the disk is full")};
    b_.silent = true;
  }
  v1::InsertRequest request;
  request.set_collection("shop.orders");
  for (const char* id : {"a", "x"}) request.add_documents(Id(id));
  request.mutable_retry()->set_session(std::string(16, 's'));
  v1::InsertResponse response;
  const absl::Status status = rpc::FromGrpc(stub_->Insert(Context(400ms).get(), request, &response));
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
}

TEST_F(ProxyServerTest, LimitSkipAndResumeTokens) {
  ASSERT_TRUE(Insert({"a", "b", "c", "n", "o", "p"}).ok());
  v1::FindRequest request = FindRequest();
  request.set_skip(1);
  request.set_limit(4);
  EXPECT_EQ(*Find(request), "bcno");
  request.set_skip(4);
  EXPECT_EQ(*Find(request), "op");
  std::vector<std::string> tokens;
  EXPECT_EQ(*Find(FindRequest(), &tokens), "abcnop");
  const std::vector<std::string> rest = {"cnop", "nop", "p", ""};
  ASSERT_EQ(tokens.size(), rest.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    request = FindRequest();
    request.set_resume_token(tokens[i]);
    EXPECT_EQ(*Find(request), rest[i]);
  }
  request.set_resume_token("nonsense");
  EXPECT_EQ(Find(request).status().code(), absl::StatusCode::kInvalidArgument);
  request = FindRequest();
  request.set_limit(-1);
  EXPECT_EQ(Find(request).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ProxyServerTest, ALongSearchGivesSignsOfLife) {
  ASSERT_TRUE(Insert({"a", "b", "n", "o"}).ok());
  a_.after_page = [] { std::promise<void>().get_future().wait_for(1100ms); };  // where nothing matches
  std::vector<std::string> tokens;
  v1::FindRequest request = FindRequest(Builder().Append("_id", Builder().Append("$regex", "[no]")).Finish());
  EXPECT_EQ(*Find(request, &tokens), "no");
  ASSERT_EQ(tokens.size(), 2u) << "one message without documents, and the one with both";
  a_.after_page = [] { ADD_FAILURE() << "a resumed search begins behind what was searched"; };
  request.set_resume_token(tokens[0]);
  EXPECT_EQ(*Find(request), "no");
  // A token does not tell how much was skipped, so there is none.
  a_.after_page = [] { std::promise<void>().get_future().wait_for(1100ms); };
  request = FindRequest();
  request.set_skip(3);
  tokens.clear();
  EXPECT_EQ(*Find(request, &tokens), "o");
  EXPECT_EQ(tokens.size(), 1u);
}

TEST_F(ProxyServerTest, AFindWithAStepOfForEverIsNotOverAtOnce) {
  ASSERT_TRUE(Insert({"a"}).ok());
  grpc::ClientContext context;
  context.AddMetadata(rpc::kStepTimeoutKey, std::to_string(std::numeric_limits<int64_t>::max()));
  auto reader = stub_->Find(&context, FindRequest());
  v1::FindResponse response;
  EXPECT_TRUE(reader->Read(&response));
  EXPECT_EQ(rpc::FromGrpc(reader->Finish()), absl::OkStatus());
}

TEST_F(ProxyServerTest, UpdatesDeletesAndCounts) {
  ASSERT_TRUE(Insert({"a", "b", "c", "n", "o", "p"}).ok());
  EXPECT_EQ(Update(Id("b"), Inc())->modified(), 1);
  EXPECT_EQ(Update("", Inc(), /*multi=*/true)->matched(), 6);
  EXPECT_EQ(Update(Builder().Append("n", 2).Finish(), Inc())->matched(), 1) << "found by a filter without a key";
  EXPECT_EQ(Update(Builder().Append("n", 17).Finish(), Inc())->matched(), 0);
  v1::CountRequest count;
  count.set_collection("shop.orders");
  v1::CountResponse counted;
  ASSERT_TRUE(stub_->Count(Context().get(), count, &counted).ok());
  EXPECT_EQ(counted.count(), 6);
  v1::DeleteRequest erase;
  erase.set_collection("shop.orders");
  erase.set_filter(Builder().Append("n", 1).Finish());
  erase.set_multi(true);
  v1::DeleteResponse erased;
  ASSERT_TRUE(stub_->Delete(Context().get(), erase, &erased).ok());
  EXPECT_EQ(erased.deleted(), 5);
  EXPECT_EQ(*Find(FindRequest()), "b");
}

TEST_F(ProxyServerTest, ExtendedJsonAtTheEdge) {
  v1::InsertRequest insert;
  insert.set_collection("shop.orders");
  insert.set_format(v1::EXTENDED_JSON);
  insert.add_documents("{\"_id\": \"q\", \"n\": 5}");
  v1::InsertResponse inserted;
  ASSERT_TRUE(stub_->Insert(Context().get(), insert, &inserted).ok());
  EXPECT_EQ(inserted.ids(0), "{\"_id\": \"q\"}");
  v1::FindRequest find = FindRequest("{\"n\": {\"$gt\": 4}}");
  find.set_format(v1::EXTENDED_JSON);
  auto context = Context();
  auto reader = stub_->Find(context.get(), find);
  v1::FindResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.documents(0), "{\"_id\": \"q\", \"n\": 5}");
  find.set_filter("{\"n\": {\"$gt\": ");
  EXPECT_EQ(rpc::ReasonOf(Find(find).status()), ErrorDetail::BAD_FILTER);
}

TEST_F(ProxyServerTest, BadRequestsAreNamed) {
  v1::FindRequest find = FindRequest();
  find.set_collection("shop.ordrs");
  absl::Status status = Find(find).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(rpc::ReasonOf(status), ErrorDetail::NO_SUCH_COLLECTION);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("did you mean 'shop.orders'"));
  find.set_collection("");
  EXPECT_EQ(Find(find).status().code(), absl::StatusCode::kInvalidArgument);
  const int refreshes = metadata_.refreshes;
  find.set_collection(StrCat("shop.", std::string(120, 'x')));
  status = Find(find).status();
  EXPECT_EQ(status, InvalidArgument("a collection's name has at most 120 bytes, this one has 125"));
  EXPECT_EQ(metadata_.refreshes, refreshes) << "there can be none";
  EXPECT_EQ(rpc::ReasonOf(Update(Id("a"), Builder().Append("$bad", Builder()).Finish()).status()),
            ErrorDetail::BAD_UPDATE);
  EXPECT_EQ(rpc::ReasonOf(Update(Id("a"), Builder().Append("x", 1).Finish()).status()), ErrorDetail::BAD_UPDATE);
  v1::UpdateRequest upsert;
  upsert.set_collection("shop.orders");
  upsert.set_update(Inc());
  upsert.set_upsert(true);
  v1::UpdateResponse response;
  status = rpc::FromGrpc(stub_->Update(Context().get(), upsert, &response));
  EXPECT_EQ(rpc::ReasonOf(status), ErrorDetail::SHARD_KEY_MISSING);
}

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

TEST_F(ProxyServerTest, T18_DocumentsOfTheGreatestSizePassOneByOneAndTogether) {
  v1::InsertRequest request;
  request.set_collection("shop.orders");
  const size_t empty = Builder().Append("_id", "a").Append("x", "").Finish().size();
  for (const char* id : {"a", "b", "x"}) {
    request.add_documents(
        Builder().Append("_id", id).Append("x", std::string(document::kMaxDocumentBytes - empty, 'x')).Finish());
    ASSERT_EQ(request.documents().rbegin()->size(), document::kMaxDocumentBytes);
  }
  v1::InsertResponse response;
  const absl::Status status = rpc::FromGrpc(stub_->Insert(Context(30s).get(), request, &response));
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(response.inserted(), 3);
  EXPECT_EQ(*Find(FindRequest()), "abx");
  EXPECT_EQ(*Find(FindRequest(Id("b"))), "b");
  request.clear_documents();
  request.add_documents(
      Builder().Append("_id", "c").Append("x", std::string(document::kMaxDocumentBytes - empty + 1, 'x')).Finish());
  response.Clear();
  ASSERT_TRUE(stub_->Insert(Context(30s).get(), request, &response).ok());
  ASSERT_EQ(response.errors_size(), 1);
  EXPECT_EQ(response.errors(0).detail().reason(), ErrorDetail::DOCUMENT_TOO_LARGE);
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

TEST_F(ProxyServerTest, StopAnswersWhatIsHeldAndComesToAnEnd) {
  ASSERT_TRUE(Insert({"a"}).ok());
  {
    std::lock_guard lock(world_.mutex);
    a_.owned[0].write_fenced = true;
    b_.silent = true;
  }
  auto held = std::async(std::launch::async, [this] { return Update(Id("a"), Inc(), false, 30s); });
  auto stuck = std::async(std::launch::async, [this] { return Update(Id("x"), Inc(), false, 30s); });
  EXPECT_EQ(held.wait_for(100ms), std::future_status::timeout);
  const auto began = std::chrono::steady_clock::now();
  proxy_->Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
  EXPECT_FALSE(held.get().ok());
  EXPECT_FALSE(stuck.get().ok());
}

TEST(ProxyServerOptionsTest, WrongOptionsAreNamed) {
  EXPECT_EQ(ProxyServer::Start({}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ProxyServer::Start({.metadata = {"nocolon"}}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ProxyServer::Start({.listen = "0.0.0.0:0", .metadata = {"127.0.0.1:1"}}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace terrane::proxy
