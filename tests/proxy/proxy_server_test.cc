// The proxy as applications see it: statements and their errors.
#include <gmock/gmock.h>

#include <limits>

#include "document/limits.h"
#include "proxy_fixture.h"

namespace terrane::proxy {
namespace {

using ::testing::HasSubstr;

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

// Others may have the shard key of the one document that a filter names.
TEST_F(ProxyServerTest, APointReadThatSkipsItsDocumentFindsNoOther) {
  metadata_.AddCollection(kOrders + 1, "shop.items", Builder().Append("k", 1).Finish());
  v1::Route whole = Route("", std::nullopt, 40, 1, "a");
  whole.set_collection_id(kOrders + 1);
  {
    std::lock_guard lock(world_.mutex);
    a_.owned.push_back({whole});
  }
  metadata_.SetChunk(whole);
  v1::InsertRequest insert;
  insert.set_collection("shop.items");
  for (const char* id : {"a", "b", "c"}) insert.add_documents(Builder().Append("_id", id).Append("k", 1).Finish());
  v1::InsertResponse inserted;
  const absl::Status status = rpc::FromGrpc(stub_->Insert(Context().get(), insert, &inserted));
  ASSERT_TRUE(status.ok() && inserted.inserted() == 3) << status << inserted.ShortDebugString();

  v1::FindRequest request = FindRequest(Builder().Append("k", 1).Append("_id", "b").Finish());
  request.set_collection("shop.items");
  EXPECT_EQ(*Find(request), "b");
  request.set_skip(1);
  EXPECT_EQ(*Find(request), "");
  // Nor does one that goes on behind an earlier document.
  v1::FindRequest all = FindRequest();
  all.set_collection("shop.items");
  all.set_limit(1);
  std::vector<std::string> tokens;
  EXPECT_EQ(*Find(all, &tokens), "a");
  request.set_skip(0);
  request.set_resume_token(tokens.front());
  EXPECT_EQ(*Find(request), "b");
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

TEST_F(ProxyServerTest, FindOneFindsTheFirst) {
  ASSERT_TRUE(Insert({"a", "b", "n"}).ok());
  a_.requests = b_.requests = 0;
  EXPECT_EQ(*FindOne(FindOneRequest(Id("n"))), "n");
  EXPECT_EQ(*FindOne(FindOneRequest(Id("never"))), "");
  EXPECT_EQ(a_.requests + b_.requests, 2);
  EXPECT_EQ(*FindOne(FindOneRequest()), "a");
  const auto matching = [](const char* pattern) {
    return Builder().Append("_id", Builder().Append("$regex", pattern)).Finish();
  };
  EXPECT_EQ(*FindOne(FindOneRequest(matching("[bn]"))), "b");
  EXPECT_EQ(*FindOne(FindOneRequest(matching("[xyz]"))), "");

  v1::FindOneRequest json = FindOneRequest("{\"_id\": \"n\"}");
  json.set_format(v1::EXTENDED_JSON);
  v1::FindOneResponse response;
  ASSERT_TRUE(stub_->FindOne(Context().get(), json, &response).ok());
  EXPECT_TRUE(response.found());
  EXPECT_EQ(response.document(), "{\"_id\": \"n\", \"n\": 0}");

  v1::FindOneRequest bad = FindOneRequest(Builder().Append("_id", Builder().Append("$near", 1)).Finish());
  EXPECT_EQ(rpc::ReasonOf(FindOne(bad).status()), ErrorDetail::BAD_FILTER);
  bad = FindOneRequest();
  bad.set_projection("nonsense");
  EXPECT_EQ(rpc::ReasonOf(FindOne(bad).status()), ErrorDetail::BAD_FILTER);
  bad = FindOneRequest();
  bad.mutable_read()->set_mode(static_cast<v1::ReadMode>(77));
  EXPECT_EQ(FindOne(bad).status().code(), absl::StatusCode::kInvalidArgument);
  bad = FindOneRequest();
  bad.set_resume_token("nonsense");
  EXPECT_EQ(FindOne(bad).status().code(), absl::StatusCode::kInvalidArgument);
  bad = FindOneRequest();
  bad.set_collection("shop.nowhere");
  EXPECT_EQ(rpc::ReasonOf(FindOne(bad).status()), ErrorDetail::NO_SUCH_COLLECTION);
}

TEST_F(ProxyServerTest, FindOneInStepsSaysThatItStillSearches) {
  ASSERT_TRUE(Insert({"a", "n"}).ok());
  a_.after_page = [] { std::promise<void>().get_future().wait_for(1100ms); };  // where nothing matches
  v1::FindOneRequest request = FindOneRequest(Builder().Append("_id", Builder().Append("$regex", "n")).Finish());
  EXPECT_EQ(*FindOne(request), "n") << "who does not ask for steps gets the whole search";
  request.set_in_steps(true);
  std::string token;
  EXPECT_EQ(*FindOne(request, &token), "");
  ASSERT_FALSE(token.empty());
  a_.after_page = [] { ADD_FAILURE() << "a resumed search begins behind what was searched"; };
  request.set_resume_token(token);
  EXPECT_EQ(*FindOne(request, &token), "n");
  EXPECT_TRUE(token.empty());
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
