// One write and one read through a real shard, and everything that a write may be.
#include "fake_log.h"
#include "rpc/status.h"
#include "shard/request_gate.h"
#include "shard_fixture.h"

namespace terrane::shard {
namespace {

namespace v1 = terrane::v1;

class WriteTest : public ShardFixture {
 protected:
  void SetUp() override {
    ShardFixture::SetUp();
    CreateWholeChunk();
  }
  void TearDown() override {
    ExpectSoundCopy();
    ShardFixture::TearDown();
  }
  static void SetRetry(auto* request, int64_t statement) {
    request->mutable_retry()->set_session("0123456789abcdef");
    request->mutable_retry()->set_statement(statement);
  }
  uint64_t OplogEntries() {
    uint64_t count = 0;
    auto view = host_->store().View();
    for (auto cursor = *view->Oplog(view->FirstOplogPosition()); cursor->Valid(); cursor->Next()) ++count;
    return count;
  }
};

TEST_F(WriteTest, OneWriteAndOneRead) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a", "n": 5})").ok());
  EXPECT_EQ(Get("a", 1), R"({"_id":1,"k":"a","n":5})");
  EXPECT_EQ(Get("a", 2), "");
}

TEST_F(WriteTest, AcknowledgedWritesAreThereAfterARestart) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  Restart();
  EXPECT_EQ(Get("a", 1), R"({"_id":1,"k":"a"})");
}

TEST_F(WriteTest, InsertRefusesAKeyThatIsTaken) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  EXPECT_TRUE(absl::IsAlreadyExists(Insert(R"({"_id": 1, "k": "a", "n": 2})")));
  // The same _id under another shard key is another document.
  EXPECT_TRUE(Insert(R"({"_id": 1, "k": "b"})").ok());
  // And each document of a bulk has its own outcome.
  v1::ShardInsertResponse response;
  ASSERT_TRUE(
      Insert(InsertOf({R"({"_id":2,"k":"a"})", R"({"_id":1,"k":"a"})", R"({"_id":2,"k":"a"})"}, RouteTo()), &response)
          .ok());
  ASSERT_EQ(response.outcomes_size(), 3);
  EXPECT_EQ(response.outcomes(0).code(), 0);
  EXPECT_EQ(response.outcomes(1).detail().reason(), v1::ErrorDetail::DUPLICATE_KEY);
  EXPECT_EQ(response.outcomes(2).detail().reason(), v1::ErrorDetail::DUPLICATE_KEY);
}

TEST_F(WriteTest, UpdateReplaceDelete) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a", "n": 5})").ok());
  auto updated = Modify(ModifyOf("a", 1, R"({"$inc": {"n": 2}})"));
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->matched(), 1);
  EXPECT_EQ(updated->modified(), 1);
  EXPECT_EQ(Get("a", 1), R"({"_id":1,"k":"a","n":7})");

  auto replacement = ModifyOf("a", 1, R"({"_id": 1, "k": "a", "new": true})");
  replacement.set_kind(v1::ShardModifyRequest::REPLACE);
  ASSERT_TRUE(Modify(replacement).ok());
  EXPECT_EQ(Get("a", 1), R"({"_id":1,"k":"a","new":true})");

  auto deleted = Modify(ModifyOf("a", 1, ""));
  ASSERT_TRUE(deleted.ok());
  EXPECT_EQ(deleted->deleted(), 1);
  EXPECT_EQ(Get("a", 1), "");
}

TEST_F(WriteTest, FilterMustMatchAsWell) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a", "n": 5})").ok());
  auto request = ModifyOf("a", 1, R"({"$set": {"n": 6}})");
  request.set_filter(Json(R"({"n": {"$gt": 5}})"));
  EXPECT_EQ(Modify(request)->matched(), 0);
  request.set_filter(Json(R"({"n": 5})"));
  EXPECT_EQ(Modify(request)->matched(), 1);
}

TEST_F(WriteTest, WhatMatchedNothingLeavesNoEntry) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  const uint64_t before = OplogEntries();
  auto request = ModifyOf("a", 2, R"({"$set": {"n": 6}})");
  SetRetry(&request, 1);
  EXPECT_EQ(Modify(request)->matched(), 0);
  EXPECT_EQ(OplogEntries(), before);
}

TEST_F(WriteTest, T17_UpdateDoesNotMoveADocumentToAnotherKey) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  auto changed = Modify(ModifyOf("a", 1, R"({"$set": {"k": "b"}})"));
  EXPECT_EQ(rpc::ReasonOf(changed.status()), v1::ErrorDetail::SHARD_KEY_CHANGED);
  auto removed = Modify(ModifyOf("a", 1, R"({"$unset": {"k": 1}})"));
  EXPECT_EQ(rpc::ReasonOf(removed.status()), v1::ErrorDetail::SHARD_KEY_CHANGED);
  EXPECT_TRUE(Modify(ModifyOf("a", 1, R"({"$set": {"k": "a", "n": 1}})")).ok());
}

TEST_F(WriteTest, BadFiltersAndUpdatesAreNamed) {
  auto request = ModifyOf("a", 1, R"({"$frobnicate": {"n": 6}})");
  EXPECT_EQ(rpc::ReasonOf(Modify(request).status()), v1::ErrorDetail::BAD_UPDATE);
  request.set_update(Json(R"({"n": 6})"));
  EXPECT_EQ(rpc::ReasonOf(Modify(request).status()), v1::ErrorDetail::BAD_UPDATE);
  request.set_update(Json(R"({"$set": {"n": 6}})"));
  request.set_filter(Json(R"({"n": {"$where": 1}})"));
  EXPECT_EQ(rpc::ReasonOf(Modify(request).status()), v1::ErrorDetail::BAD_FILTER);
}

TEST_F(WriteTest, UpsertInsertsWhereNothingMatches) {
  auto request = ModifyOf("a", 1, R"({"$set": {"n": 6}, "$setOnInsert": {"m": 1}})");
  request.set_filter(Json(R"({"_id": 1, "k": "a"})"));
  request.set_upsert(true);
  auto first = Modify(request);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->matched(), 0);
  EXPECT_EQ(ToJson(first->upserted_id()), R"({"_id":1})");
  EXPECT_EQ(Get("a", 1), R"({"_id":1,"k":"a","m":1,"n":6})");
  auto second = Modify(request);
  EXPECT_EQ(second->matched(), 1);
  EXPECT_EQ(second->upserted_id(), "");
}

TEST_F(WriteTest, UpsertWithoutAnIdGetsOne) {
  auto request = ModifyOf("a", 1, R"({"$set": {"n": 6}})");
  request.mutable_key()->clear_id();
  request.set_filter(Json(R"({"k": "a"})"));
  request.set_upsert(true);
  auto first = Modify(request);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_NE(first->upserted_id(), "");
  EXPECT_EQ(Modify(request)->matched(), 1);
}

TEST_F(WriteTest, T20_RetryIsAnsweredFromTheRecordOfTheFirstTime) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a", "n": 5})").ok());
  auto request = ModifyOf("a", 1, R"({"$inc": {"n": 1}})");
  SetRetry(&request, 1);
  EXPECT_FALSE(Modify(request)->repeated());
  auto again = Modify(request);
  EXPECT_TRUE(again->repeated());
  EXPECT_EQ(again->modified(), 1);
  EXPECT_EQ(Get("a", 1), R"({"_id":1,"k":"a","n":6})");
  Restart();
  EXPECT_TRUE(Modify(request)->repeated());
  SetRetry(&request, 2);
  EXPECT_FALSE(Modify(request)->repeated());
}

TEST_F(WriteTest, T20_RetriedInsertAndDelete) {
  auto insert = InsertOf({R"({"_id":1,"k":"a"})", R"({"_id":2,"k":"a"})"}, RouteTo());
  SetRetry(&insert, 1);
  insert.add_statements(1);
  insert.add_statements(2);
  v1::ShardInsertResponse response;
  ASSERT_TRUE(Insert(insert, &response).ok());
  response.Clear();
  ASSERT_TRUE(Insert(insert, &response).ok());
  EXPECT_TRUE(response.outcomes(0).repeated() && response.outcomes(1).repeated());
  EXPECT_EQ(response.outcomes(0).code(), 0);

  auto remove = ModifyOf("a", 1, "");
  SetRetry(&remove, 3);
  ASSERT_EQ(Modify(remove)->deleted(), 1);
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  EXPECT_TRUE(Modify(remove)->repeated());
  EXPECT_NE(Get("a", 1), "");
}

TEST_F(WriteTest, T67_RetryWithoutAFullKeyFindsTheDocumentOfTheFirstTime) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a", "free": true})").ok());
  ASSERT_TRUE(Insert(R"({"_id": 2, "k": "a", "free": true})").ok());
  auto request = ModifyOf("a", 1, R"({"$set": {"free": false}})");
  request.mutable_key()->clear_id();
  request.set_filter(Json(R"({"free": true})"));
  SetRetry(&request, 1);
  EXPECT_EQ(Modify(request)->modified(), 1);
  EXPECT_TRUE(Modify(request)->repeated());
  EXPECT_EQ(Get("a", 2), R"({"_id":2,"k":"a","free":true})");
}

TEST_F(WriteTest, UnchangedDocumentWithARetryIdIsNotChangedLater) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a", "n": 1})").ok());
  auto request = ModifyOf("a", 1, R"({"$set": {"n": 1}})");
  SetRetry(&request, 1);
  EXPECT_EQ(Modify(request)->modified(), 0);
  ASSERT_TRUE(Modify(ModifyOf("a", 1, R"({"$set": {"n": 2}})")).ok());
  EXPECT_TRUE(Modify(request)->repeated());
  EXPECT_EQ(Get("a", 1), R"({"_id":1,"k":"a","n":2})");
}

TEST_F(WriteTest, ConcurrentIncrementsAllCount) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a", "n": 0})").ok());
  constexpr int kThreads = 8;
  constexpr int kEach = 25;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) EXPECT_TRUE(Modify(ModifyOf("a", 1, R"({"$inc": {"n": 1}})")).ok());
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(Get("a", 1), R"({"_id":1,"k":"a","n":200})");
}

TEST_F(WriteTest, T15_T16_OplogHoldsAfterImagesAndShardKeys) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a", "n": 5})").ok());
  ASSERT_TRUE(Modify(ModifyOf("a", 1, R"({"$inc": {"n": 2}})")).ok());
  ASSERT_TRUE(Modify(ModifyOf("a", 1, "")).ok());
  std::vector<v1::OplogEntry> entries;
  auto view = host_->store().View();
  for (auto cursor = *view->Oplog(view->FirstOplogPosition()); cursor->Valid(); cursor->Next()) {
    ASSERT_TRUE(entries.emplace_back().ParseFromString(std::string(cursor->entry())));
  }
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(ToJson(entries[1].changes(0).document()), R"({"_id":1,"k":"a","n":7})");
  EXPECT_TRUE(entries[2].changes(0).deleted());
  EXPECT_EQ(entries[2].changes(0).shard_key(), KeyOf("a"));
  EXPECT_LT(entries[0].hybrid_time(), entries[1].hybrid_time());
  EXPECT_LT(entries[1].hybrid_time(), entries[2].hybrid_time());
}

TEST_F(WriteTest, T21_ModifyManyGoesOnInPagesAndTouchesEachDocumentOnce) {
  v1::ShardInsertRequest insert = InsertOf({}, RouteTo());
  for (int i = 0; i < 1500; ++i) {
    AddDocument(StrCat(R"({"_id":)", i, R"(,"k":"k)", i, R"(","n":0})"), &insert);
  }
  v1::ShardInsertResponse inserted;
  ASSERT_TRUE(Insert(insert, &inserted).ok());
  v1::ShardModifyManyRequest request;
  *request.mutable_route() = RouteTo();
  request.set_update(Json(R"({"$inc": {"n": 1}})"));
  SetRetry(&request, 1);
  int64_t modified = 0;
  int calls = 0;
  for (v1::ShardModifyManyResponse response; !response.done(); request.set_resume(response.resume())) {
    response.Clear();
    ASSERT_TRUE(Write(&WritePath::ModifyMany, request, &response).ok());
    modified += response.modified();
    // The page again, as if its answer had been lost: nothing happens twice, and the counts are the same.
    v1::ShardModifyManyResponse again;
    ASSERT_TRUE(Write(&WritePath::ModifyMany, request, &again).ok());
    EXPECT_EQ(again.modified(), response.modified());
    ASSERT_LT(++calls, 20);
  }
  EXPECT_EQ(modified, 1500);
  EXPECT_GT(calls, 1);
  EXPECT_EQ(Get("k7", 7), R"({"_id":7,"k":"k7","n":1})");

  v1::ShardModifyManyRequest remove;
  *remove.mutable_route() = RouteTo();
  remove.set_kind(v1::ShardModifyRequest::DELETE);
  remove.set_filter(Json(R"({"_id": {"$gte": 10}})"));
  remove.set_limit(3);
  v1::ShardModifyManyResponse removed;
  ASSERT_TRUE(Write(&WritePath::ModifyMany, remove, &removed).ok());
  EXPECT_EQ(removed.deleted(), 3);
  EXPECT_TRUE(removed.done());
}

TEST_F(WriteTest, T21_FenceInTheMiddleOfAPageResumesBehindWhatWasDone) {
  // Two entries: the second document does not fit into the first one's.
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a", "n": 0})").ok());
  v1::ShardInsertRequest big = InsertOf({}, RouteTo());
  v1::Change* change = big.add_documents();
  change->set_shard_key(KeyOf("b"));
  change->set_id(IdOf(2));
  change->set_document(document::Builder()
                           .Append("_id", 2)
                           .Append("k", "b")
                           .Append("n", 0)
                           .Append("pad", std::string(9 << 20, 'x'))
                           .Finish());
  v1::ShardInsertResponse inserted;
  ASSERT_TRUE(Insert(big, &inserted).ok());
  replication::ReplicatedLog* real = host_->proposer().log();
  FakeLog log;
  log.SetLeader(true, true, real->Leader().term);
  host_->proposer().SetLog(&log);
  v1::ShardModifyManyRequest request;
  *request.mutable_route() = RouteTo();
  request.set_update(Json(R"({"$inc": {"n": 1}})"));
  v1::ShardModifyManyResponse response;
  std::promise<absl::Status> answer;
  host_->writes().ModifyMany({}, &request, &response,
                             [&](absl::Status status) { answer.set_value(std::move(status)); });
  ASSERT_EQ(log.proposals(), 2u);
  auto first = log.Take();
  auto second = log.Take();
  real->Propose(first.term, first.data, std::move(first.done));
  std::promise<void> applied;
  real->ReadIndex([&](absl::Status) { applied.set_value(); });
  applied.get_future().get();
  second.done({.outcome = replication::ProposeOutcome::kApplied, .status = Unavailable("fenced"), .value = {}});
  ASSERT_TRUE(answer.get_future().get().ok());
  host_->proposer().SetLog(real);
  EXPECT_EQ(response.modified(), 1);
  EXPECT_FALSE(response.done());
  // The owner goes on behind the first.
  int64_t modified = 0;
  while (!response.done()) {
    request.set_resume(response.resume());
    ASSERT_TRUE(Write(&WritePath::ModifyMany, request, &response).ok());
    modified += response.modified();
  }
  EXPECT_EQ(modified, 1);
  EXPECT_EQ(Get("a", 1), R"({"_id":1,"k":"a","n":1})");
}

TEST_F(WriteTest, T67_LimitedModifyManyRetriedChangesNoOther) {
  for (int i = 1; i <= 3; ++i) {
    ASSERT_TRUE(Insert(StrCat(R"({"_id":)", i, R"(,"k":"k)", i, R"(","free":true})")).ok());
  }
  v1::ShardModifyManyRequest request;
  *request.mutable_route() = RouteTo();
  request.set_filter(Json(R"({"free": true})"));
  request.set_update(Json(R"({"$set": {"free": false}})"));
  request.set_limit(1);
  SetRetry(&request, 1);
  for (int i = 0; i < 2; ++i) {
    v1::ShardModifyManyResponse response;
    ASSERT_TRUE(Write(&WritePath::ModifyMany, request, &response).ok());
    EXPECT_EQ(response.modified(), 1);
    EXPECT_TRUE(response.done());
  }
  EXPECT_EQ(Get("k2", 2), R"({"_id":2,"k":"k2","free":true})");
}

// The same for a page behind the first.
TEST_F(WriteTest, T67_LaterPageOfALimitedModifyManyRetriedChangesNoOther) {
  for (int i = 1; i <= 3; ++i) {
    ASSERT_TRUE(Insert(StrCat(R"({"_id":)", i, R"(,"k":"k)", i, R"(","free":true})")).ok());
  }
  v1::ShardModifyManyRequest request;
  *request.mutable_route() = RouteTo();
  request.set_filter(Json(R"({"free": true})"));
  request.set_update(Json(R"({"$set": {"free": false}})"));
  request.set_limit(1);
  request.set_resume(EncodeResume(KeyOf("k1"), IdOf(1)));
  SetRetry(&request, 1);
  for (int i = 0; i < 2; ++i) {
    v1::ShardModifyManyResponse response;
    ASSERT_TRUE(Write(&WritePath::ModifyMany, request, &response).ok());
    EXPECT_EQ(response.modified(), 1);
    EXPECT_TRUE(response.done());
  }
  EXPECT_EQ(Get("k1", 1), R"({"_id":1,"k":"k1","free":true})");
  EXPECT_EQ(Get("k2", 2), R"({"_id":2,"k":"k2","free":false})");
  EXPECT_EQ(Get("k3", 3), R"({"_id":3,"k":"k3","free":true})");
}

// What the first attempt has changed behind the end of a page is left to the page that reaches it: counted once.
TEST_F(WriteTest, T67_LimitedModifyManyCountsEachChangeInOnePage) {
  for (int i = 1; i <= 3; ++i) {
    ASSERT_TRUE(Insert(StrCat(R"({"_id":)", i, R"(,"k":"k)", i, R"(","free":)", i != 2 ? "true" : "false", "}")).ok());
  }
  v1::ShardModifyManyRequest request;
  *request.mutable_route() = RouteTo();
  request.set_filter(Json(R"({"free": true})"));
  request.set_update(Json(R"({"$set": {"free": false}})"));
  request.set_limit(3);
  SetRetry(&request, 1);
  v1::ShardModifyManyResponse response;
  ASSERT_TRUE(Write(&WritePath::ModifyMany, request, &response).ok());
  EXPECT_EQ(response.modified(), 2);
  for (int i = 1; i <= 2; ++i) {
    ASSERT_TRUE(Modify(ModifyOf(StrCat("k", i), i, R"({"$set": {"free": true}})")).ok());
  }
  // Again from the start: there is one more to choose, and the first page ends with k1, which is passed over.
  int64_t modified = 0;
  response.Clear();
  for (int pages = 0; !response.done() && pages < 4; ++pages) {
    ASSERT_TRUE(Write(&WritePath::ModifyMany, request, &response).ok());
    modified += response.modified();
    request.set_limit(3 - modified);
    request.set_resume(response.resume());
  }
  EXPECT_TRUE(response.done());
  EXPECT_EQ(modified, 3) << "k1 and k3 the first time, k2 now";
  EXPECT_EQ(Get("k1", 1), R"({"_id":1,"k":"k1","free":true})");
  EXPECT_EQ(Get("k2", 2), R"({"_id":2,"k":"k2","free":false})");
}

TEST_F(WriteTest, DeadlineAndCancellationAreHonouredBeforeWork) {
  CallState late{.deadline = Clock::System()->Now() - std::chrono::seconds(1), .cancelled = {}};
  EXPECT_TRUE(absl::IsDeadlineExceeded(Modify(ModifyOf("a", 1, R"({"$set":{"n":1}})"), late).status()));
  CallState cancelled{.deadline = {}, .cancelled = [] { return true; }};
  EXPECT_TRUE(absl::IsCancelled(Modify(ModifyOf("a", 1, R"({"$set":{"n":1}})"), cancelled).status()));
}

TEST_F(WriteTest, RequestMustLieInItsRoute) {
  v1::Route route = RouteTo();
  *route.mutable_range() = ToProto(KeyRange{KeyOf("b"), std::nullopt});
  EXPECT_TRUE(absl::IsInvalidArgument(Insert(R"({"_id": 1, "k": "a"})", route)));
}

TEST_F(WriteTest, T18_LargestDocumentsFitIntoRequestsEntriesAndPages) {
  const std::string big(16 * 1024 * 1024 - 100, 'x');
  v1::ShardInsertRequest request;
  *request.mutable_route() = RouteTo();
  for (int id = 1; id <= 3; ++id) {
    const std::string bson = document::Builder().Append("_id", id).Append("k", "a").Append("b", big).Finish();
    v1::Change* change = request.add_documents();
    change->set_shard_key(KeyOf("a"));
    change->set_id(IdOf(id));
    change->set_document(bson);
  }
  v1::ShardInsertResponse response;
  ASSERT_TRUE(Insert(request, &response).ok());
  v1::ShardScanRequest scan;
  *scan.mutable_route() = RouteTo();
  scan.set_page_bytes(1000);
  v1::ShardScanResponse page;
  ASSERT_TRUE(Read(&ReadPath::Scan, scan, &page).ok());
  EXPECT_EQ(page.documents_size(), 1);
  EXPECT_FALSE(page.done());
}

// The longest key that fits is in the shard key, in the id and in the document.
TEST_F(WriteTest, T18_APageWithALongKeyFitsIntoAMessage) {
  const std::string key(13 << 20, 'x');
  v1::ShardInsertRequest request;
  *request.mutable_route() = RouteTo();
  const std::string bson = document::Builder().Append("_id", key).Append("k", "a").Finish();
  v1::Change* change = request.add_documents();
  change->set_shard_key(KeyOf(key));
  change->set_id(*document::EncodeIdFromDocument(bson));
  change->set_document(bson);
  v1::ShardInsertResponse response;
  ASSERT_TRUE(Insert(request, &response).ok());
  ASSERT_EQ(response.outcomes(0).code(), 0) << response.outcomes(0).message();
  v1::ShardScanRequest scan;
  *scan.mutable_route() = RouteTo();
  scan.set_page_bytes(1000);
  v1::ShardScanResponse page;
  ASSERT_TRUE(Read(&ReadPath::Scan, scan, &page).ok());
  ASSERT_EQ(page.documents_size(), 1);
  EXPECT_LT(page.ByteSizeLong(), 64u << 20);
}

TEST_F(WriteTest, ScanPagesInKeyOrder) {
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(
        Insert(StrCat(R"({"_id":)", i, R"(,"k":")", std::string(1, static_cast<char>('a' + 19 - i)), R"("})")).ok());
  }
  v1::ShardScanRequest scan;
  *scan.mutable_route() = RouteTo();
  scan.set_limit(3);
  scan.set_filter(Json(R"({"_id": {"$ne": 3}})"));
  std::string keys;
  for (v1::ShardScanResponse page; !page.done(); scan.set_resume(page.resume())) {
    page.Clear();
    ASSERT_TRUE(Read(&ReadPath::Scan, scan, &page).ok());
    for (const std::string& document : page.documents()) {
      keys += document::FindDirect(document, "k")->AsString();
    }
  }
  EXPECT_EQ(keys, "abcdefghijklmnoprst");
  v1::ShardCountRequest count;
  *count.mutable_route() = RouteTo();
  v1::ShardCountResponse counted;
  ASSERT_TRUE(Read(&ReadPath::Count, count, &counted).ok());
  EXPECT_EQ(counted.count(), 20);
  counted.Clear();
  count.set_filter(Json(R"({"_id": {"$lt": 5}})"));
  ASSERT_TRUE(Read(&ReadPath::Count, count, &counted).ok());
  EXPECT_EQ(counted.count(), 5);
  scan.set_resume("\x01");
  v1::ShardScanResponse page;
  EXPECT_TRUE(absl::IsInvalidArgument(Read(&ReadPath::Scan, scan, &page)));
}

// Answers a read index as the test wants.
class AskedLog : public FakeLog {
 public:
  void ReadIndex(std::function<void(absl::Status)> done) override {
    if (before_read_index) before_read_index();
    done(read_index);
  }
  absl::Status read_index;
};

// A leader that was deposed without noticing must not say what is not there, or there already: another one has changed
// it.
TEST_F(WriteTest, T03_AnswersWithoutAnEntryAreConfirmed) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a", "n": 5})").ok());
  replication::ReplicatedLog* real = host_->proposer().log();
  const Term term = real->Leader().term;
  AskedLog log;
  host_->proposer().SetLog(&log);
  auto compare = ModifyOf("a", 1, R"({"$set": {"n": 7}})");
  compare.set_filter(Json(R"({"n": 6})"));
  auto unnamed = compare;
  unnamed.mutable_key()->clear_id();
  const std::vector<std::pair<std::string, std::function<absl::Status()>>> answers = {
      {"nothing matches", [&] { return Modify(compare).status(); }},
      {"nothing is selected", [&] { return Modify(unnamed).status(); }},
      {"it is there already", [&] { return Insert(R"({"_id": 1, "k": "a"})"); }},
  };
  for (const auto& [name, answer] : answers) {
    log.SetLeader(true, true, term);
    log.SetLease(true);
    log.read_index = absl::UnavailableError("nobody is asked");
    EXPECT_FALSE(absl::IsUnavailable(answer())) << name;
    log.SetLease(false);
    EXPECT_TRUE(absl::IsUnavailable(answer())) << name;
    log.read_index = absl::OkStatus();
    EXPECT_FALSE(absl::IsUnavailable(answer())) << name;
    log.before_read_index = [&] { log.SetLeader(true, true, Term(term.value() + 2)); };
    EXPECT_TRUE(absl::IsUnavailable(answer())) << name;
    log.SetLeader(true, true, term);
    log.before_read_index = [&] { log.SetLeader(false, false, Term(term.value() + 1)); };
    EXPECT_TRUE(absl::IsUnavailable(answer())) << name;
    log.before_read_index = nullptr;
  }
  EXPECT_EQ(log.proposals(), 0u);
  host_->proposer().SetLog(real);
}

}  // namespace
}  // namespace terrane::shard
