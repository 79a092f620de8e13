// What one page or one choice of documents to change may cost and must not repeat.
#include "rpc/status.h"
#include "shard/request_gate.h"
#include "shard_fixture.h"

namespace terrane::shard {
namespace {

namespace v1 = terrane::v1;

class ModifyTest : public ShardFixture {
 protected:
  void SetUp() override {
    ShardFixture::SetUp();
    CreateWholeChunk();
  }
  void TearDown() override {
    ExpectSoundCopy();
    ShardFixture::TearDown();
  }
  v1::ShardModifyManyRequest ManyOf(std::string filter, std::string update, int64_t statement) {
    v1::ShardModifyManyRequest request;
    *request.mutable_route() = RouteTo();
    request.set_filter(std::move(filter));
    request.set_update(std::move(update));
    request.mutable_retry()->set_session("0123456789abcdef");
    request.mutable_retry()->set_statement(statement);
    return request;
  }
  v1::ShardModifyManyResponse Many(const v1::ShardModifyManyRequest& request, CallState call = {}) {
    v1::ShardModifyManyResponse response;
    const absl::Status status = Write(&WritePath::ModifyMany, request, &response, std::move(call));
    EXPECT_TRUE(status.ok()) << status;
    return response;
  }
  void InsertSmall(int count) {
    for (int i = 1; i <= count; ++i) {
      ASSERT_TRUE(Insert(StrCat(R"({"_id":)", i, R"(,"k":"k)", i, R"(","n":0})")).ok());
    }
  }
  static std::string Enlarge() {
    return document::Builder()
        .Append("$set", document::Builder().Append("blob", std::string(9 << 20, 'x')))
        .Append("$inc", document::Builder().Append("n", 1))
        .Finish();
  }
  int64_t CountEnlargedOnce() {
    v1::ShardCountRequest count;
    *count.mutable_route() = RouteTo();
    count.set_filter(Json(R"({"n": 1, "blob": {"$exists": true}})"));
    v1::ShardCountResponse counted;
    EXPECT_TRUE(Read(&ReadPath::Count, count, &counted).ok());
    return counted.count();
  }
  // Without an _id in the key: the shard chooses.
  static v1::ShardModifyRequest UpsertOf(v1::ShardModifyRequest::Kind kind, std::string_view filter,
                                         std::string_view update) {
    v1::ShardModifyRequest request = ModifyOf("a", 0, update);
    request.mutable_key()->clear_id();
    request.set_kind(kind);
    request.set_filter(Json(filter));
    request.set_upsert(true);
    return request;
  }
};

// The page is small as it is found; the documents that the update makes of it are not.
TEST_F(ModifyTest, APageOfAModifyManyEndsWhenItsChangesAreLarge) {
  InsertSmall(5);
  auto request = ManyOf("", Enlarge(), 1);
  std::vector<int64_t> pages;
  for (bool done = false; !done && pages.size() < 5;) {
    const auto page = Many(request);
    pages.push_back(page.modified());
    done = page.done();
    request.set_resume(page.resume());
  }
  EXPECT_EQ(pages, (std::vector<int64_t>{2, 2, 1}));
  EXPECT_EQ(CountEnlargedOnce(), 5);
}

// The answers that are lost were about pages of other sizes: the documents were small then.
TEST_F(ModifyTest, T21_PagesThatEndWithLargeChangesAreSentAgain) {
  InsertSmall(5);
  auto request = ManyOf("", Enlarge(), 1);
  int64_t modified = 0;
  for (int pages = 0; pages < 6; ++pages) {
    EXPECT_LE(Many(request).modified(), 2);  // lost
    const auto page = Many(request);
    modified += page.modified();
    if (page.done()) break;
    request.set_resume(page.resume());
  }
  EXPECT_EQ(modified, 5);
  EXPECT_EQ(CountEnlargedOnce(), 5);
}

// What takes long is the making of the new documents, so between two of them it looks whether anybody still waits.
TEST_F(ModifyTest, AModifyManyWhoseCallerWentAwayMakesNoMoreDocuments) {
  InsertSmall(5);
  auto looks = std::make_shared<int>(0);
  const CallState patient{.deadline = {}, .cancelled = [looks] { return ++*looks < 0; }};
  Many(ManyOf(Json(R"({"n": 7})"), Json(R"({"$inc": {"n": 1}})"), 1), patient);
  const int before = *looks;  // the first document
  const CallState gone{.deadline = {}, .cancelled = [looks, before] { return ++*looks > before + 2; }};
  *looks = 0;
  v1::ShardModifyManyResponse response;
  const absl::Status status =
      Write(&WritePath::ModifyMany, ManyOf("", Json(R"({"$inc": {"n": 1}})"), 2), &response, gone);
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  for (int i = 1; i <= 5; ++i)
    EXPECT_EQ(Get(StrCat("k", i), i), StrCat(R"({"_id":)", i, R"(,"k":"k)", i, R"(","n":0})"));
}

TEST_F(ModifyTest, UpsertOfATakenIdSaysSo) {
  ASSERT_TRUE(Insert(R"({"_id": 7, "k": "a", "state": "old"})").ok());
  ASSERT_TRUE(Insert(R"({"_id": null, "k": "a", "state": "old"})").ok());
  const auto kReplace = v1::ShardModifyRequest::REPLACE;
  const auto kUpdate = v1::ShardModifyRequest::UPDATE;
  for (const auto& request : {
           UpsertOf(kReplace, R"({"k": "a", "state": "new"})", R"({"_id": 7, "k": "a", "state": "new"})"),
           UpsertOf(kUpdate, R"({"k": "a", "state": "new"})", R"({"$set": {"_id": 7}})"),
           UpsertOf(kUpdate, R"({"k": "a", "state": "new"})", R"({"$setOnInsert": {"_id": 7}})"),
           UpsertOf(kUpdate, R"({"k": "a", "state": "new", "_id": null})", R"({"$set": {"n": 1}})"),
       }) {
    const absl::Status status = Modify(request).status();
    EXPECT_TRUE(absl::IsAlreadyExists(status)) << status << " for " << ToJson(request.update());
    EXPECT_EQ(rpc::ReasonOf(status), v1::ErrorDetail::DUPLICATE_KEY);
  }
  EXPECT_EQ(Get("a", 7), R"({"_id":7,"k":"a","state":"old"})");
  // Where none is there it is inserted, and where one matches it is changed.
  const auto free = UpsertOf(kReplace, R"({"k": "a", "state": "new"})", R"({"_id": 8, "k": "a", "state": "new"})");
  EXPECT_EQ(ToJson(Modify(free)->upserted_id()), R"({"_id":8})");
  EXPECT_EQ(Modify(free)->matched(), 1);
}

// Upserts of one document side by side: one inserts it, the others find that it matches.
TEST_F(ModifyTest, UpsertsOfOneDocumentSideBySide) {
  constexpr int kThreads = 8;
  std::vector<std::thread> threads;
  std::atomic<int> matched = 0;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      auto response = Modify(UpsertOf(v1::ShardModifyRequest::UPDATE, R"({"k": "a", "state": "new"})",
                                      R"({"$inc": {"n": 1}, "$setOnInsert": {"_id": 7}})"));
      ASSERT_TRUE(response.ok()) << response.status();
      matched += static_cast<int>(response->matched());
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(matched, kThreads - 1);
  EXPECT_EQ(Get("a", 7), R"({"_id":7,"k":"a","state":"new","n":8})");
}

// The chunk was split after the first attempt, so the retry is planned anew: for the left part, then for the right one,
// which are still of one copy.
TEST_F(ModifyTest, T67_LimitedModifyManyRetriedAfterASplitChangesNoOther) {
  ASSERT_TRUE(Insert(R"({"_id":5,"k":"k5","free":true})").ok());
  auto request = ManyOf(Json(R"({"free": true})"), Json(R"({"$set": {"free": false}})"), 1);
  request.set_limit(1);
  EXPECT_EQ(Many(request).modified(), 1);
  ASSERT_TRUE(Insert(R"({"_id":1,"k":"k1","free":true})").ok());
  *request.mutable_range() = ToProto(KeyRange{"", KeyOf("k3")});
  const auto left = Many(request);
  EXPECT_EQ(left.modified(), 0) << "what was changed lies to the right";
  EXPECT_TRUE(left.done());
  *request.mutable_range() = ToProto(KeyRange{KeyOf("k3"), std::nullopt});
  const auto right = Many(request);
  EXPECT_EQ(right.matched(), 1);
  EXPECT_EQ(right.modified(), 1);
  EXPECT_EQ(Get("k1", 1), R"({"_id":1,"k":"k1","free":true})");
}

// What lies before the part was counted there.
TEST_F(ModifyTest, T67_LimitedModifyManyChoosesBehindTheChangesOfEarlierParts) {
  ASSERT_TRUE(Insert(R"({"_id":1,"k":"k1","free":true})").ok());
  ASSERT_TRUE(Insert(R"({"_id":5,"k":"k5","free":true})").ok());
  auto request = ManyOf(Json(R"({"free": true})"), Json(R"({"$set": {"free": false}})"), 1);
  request.set_limit(2);
  *request.mutable_range() = ToProto(KeyRange{"", KeyOf("k3")});
  EXPECT_EQ(Many(request).modified(), 1);
  request.set_limit(1);
  *request.mutable_range() = ToProto(KeyRange{KeyOf("k3"), std::nullopt});
  EXPECT_EQ(Many(request).modified(), 1);
}

}  // namespace
}  // namespace terrane::shard
