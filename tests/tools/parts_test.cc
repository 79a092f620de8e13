// JSON, progress, suggestions, texts, files of documents.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "common/suggest.h"
#include "document/builder.h"
#include "terrane/v1/cluster.pb.h"
#include "tools/document_reader.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/migration_text.h"
#include "tools/progress.h"
#include "tools/table.h"

namespace terrane::tools {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(JsonTest, NumbersAreNumbersBytesAreHexNamesAreThoseOfTheProto) {
  v1::Chunk chunk;
  chunk.set_token(9007199254740993);
  chunk.mutable_range()->set_min("\x3f\x80");
  chunk.mutable_range()->set_unbounded(true);
  chunk.set_shard("a \"b\"\n");
  EXPECT_EQ(
      ToJson(chunk),
      "{\"collection_id\": 0, \"range\": {\"min\": \"3f80\", \"max\": \"\", \"unbounded\": true}, \"copy_id\": 0, "
      "\"token\": 9007199254740993, \"shard\": \"a \\\"b\\\"\\n\", \"migration_id\": 0}");
}

TEST(JsonTest, ShardKeyIsExtendedJson) {
  v1::Collection collection;
  collection.set_shard_key(document::Builder().Append("customer", "hashed").Finish());
  EXPECT_THAT(ToJson(collection), HasSubstr("\"shard_key\": {\"customer\": \"hashed\"}"));
  EXPECT_THAT(ToJson(collection), HasSubstr("\"state\": \"CREATING\""));
}

TEST(SuggestTest, NearNamesOnly) {
  EXPECT_EQ(Closest("shop.ordrs", {"shop.orders", "shop.items"}), "shop.orders");
  EXPECT_EQ(Closest("fnid", {"find", "insert"}), "find");
  EXPECT_EQ(DidYouMean("x", {"shop.orders"}), "");
  EXPECT_EQ(DidYouMean("--jsn", {"--json", "--dir"}), ". Did you mean --json?");
}

TEST(ProgressTest, Bar) {
  EXPECT_EQ(ProgressBar(0, 4), "[----]");
  EXPECT_EQ(ProgressBar(0.5, 4), "[##--]");
  EXPECT_EQ(ProgressBar(7, 4), "[####]");
}

TEST(ProgressTest, OnATerminalOneLineRedrawsItself) {
  std::ostringstream out;
  {
    ProgressLine line(out, true);
    line.Update("first, long");
    line.Update("too early");
    line.Keep("second");
  }
  EXPECT_EQ(out.str(), "\rfirst, long\rsecond     \n");
}

TEST(ProgressTest, ElsewherePlainLinesAndNotTooMany) {
  std::ostringstream out;
  {
    ProgressLine line(out, false);
    line.Update("too early");
    line.Keep("kept");
  }
  EXPECT_EQ(out.str(), "kept\n");
}

TEST(TableTest, ColumnsAreAsWideAsTheirWidestCell) {
  EXPECT_THAT(Table({{}, {.right = true}, {}}, {{"a", "1", "x"}, {"longer", "22", ""}, {"p\u00fc", "333"}}),
              ElementsAre("a         1  x",  //
                          "longer   22",     //
                          "p\u00fc      333"));
}

TEST(MigrationTextTest, AMoveThatIsDone) {
  v1::ShowMigrationResponse response;
  response.set_collection("shop.orders");
  v1::Migration& m = *response.mutable_migration();
  m.set_id(7);
  m.set_stage(v1::Migration::DONE);
  m.set_created_ms(1000);
  m.set_finished_ms(2900);
  m.mutable_figures()->set_documents(81'204);
  m.mutable_figures()->set_bytes(66'000'000);
  m.mutable_figures()->set_copy_mb_per_s(118);
  m.mutable_figures()->set_write_pause_ms(6.1);
  m.mutable_figures()->set_read_pause_ms(1.2);
  for (auto* digest : {m.mutable_figures()->mutable_source_digest(), m.mutable_figures()->mutable_target_digest()}) {
    digest->mutable_documents()->set_count(81'204);
    digest->mutable_documents()->set_low(17);
  }
  EXPECT_THAT(ResultLines(response),
              ElementsAre("  copied       81,204 documents, 66 MB at 118 MB/s",
                          "  verified     81,204 documents on the source, 81,204 on the target, sums equal",
                          "  switch       writes held 6.1 ms, reads 1.2 ms", "done in 1.9 s"));
}

// A pause that nobody has measured is no pause of 0 ms.
TEST(MigrationTextTest, PausesThatAreBoundsOrNotKnownAreSaidToBe) {
  v1::ShowMigrationResponse response;
  response.set_collection("shop.orders");
  v1::Migration& m = *response.mutable_migration();
  m.set_stage(v1::Migration::DONE);
  m.mutable_figures()->set_pauses_are_bounds(true);
  m.mutable_figures()->set_predicted_pause_ms(8);
  EXPECT_THAT(ResultLines(response),
              Contains("  switch       writes held: not measured (predicted 8.0 ms), reads: not measured; the "
                       "metadata service changed its leader meanwhile"));
  m.mutable_figures()->set_write_pause_ms(1500);
  m.mutable_figures()->set_read_pause_ms(1500);
  EXPECT_THAT(ResultLines(response),
              Contains("  switch       writes held at most 1.5 s (predicted 8.0 ms), reads at most 1.5 s; the "
                       "metadata service changed its leader meanwhile"));
}

TEST(MigrationTextTest, AMoveThatWasEndedSaysWhereTheDocumentsAre) {
  v1::ShowMigrationResponse response;
  response.set_collection("shop.orders");
  v1::Migration& m = *response.mutable_migration();
  m.set_source("s1");
  m.set_stage(v1::Migration::ABORTED);
  m.set_reason("it was asked for");
  m.set_finished_ms(1900);
  EXPECT_THAT(ResultLines(response), ElementsAre("aborted after 1.9 s: it was asked for. s1 owns the chunk as before; "
                                                 "nothing was lost"));
  response.clear_collection();
  m.set_reason("the collection was dropped");
  EXPECT_THAT(ResultLines(response), ElementsAre("aborted after 1.9 s: the collection was dropped. The collection is "
                                                 "dropped, and the documents with it"));
}

TEST(MigrationTextTest, AMoveThatWaitsSaysWhy) {
  v1::ShowMigrationResponse response;
  response.set_collection("shop.orders");
  v1::Migration& m = *response.mutable_migration();
  m.set_id(9);
  m.set_source("s2");
  m.set_target("s1");
  m.set_stage(v1::Migration::CATCHING_UP);
  m.set_stage_since_ms(1000);
  m.set_reason("the predicted pause is too long");
  v1::AttemptRecord& attempt = *m.add_attempts();
  attempt.set_attempt(1);
  attempt.set_lasted_ms(2000);
  attempt.set_why("target did not reach the fence");
  EXPECT_THAT(ShowLines(response, "[40, 7f)", 13'000),
              ElementsAre("move 9  shop.orders [40, 7f)  s2 -> s1   catching up for 12 s",
                          "  catching up  0 entries behind   the predicted pause is too long",
                          "  attempt 1    ended after 2.0 s: target did not reach the fence",
                          "  what to do   wait (terrane migration watch 9), or terrane migration abort 9"));
}

TEST(MigrationTextTest, WhatCanNotBeEndedAnyMoreIsNotOfferedToBe) {
  v1::ShowMigrationResponse response;
  response.mutable_migration()->set_id(9);
  response.mutable_migration()->set_stage(v1::Migration::CLEANING);
  response.mutable_progress()->set_pace("s2 does not answer");
  EXPECT_THAT(ShowLines(response, "[40, 7f)", 0),
              ElementsAre("move 9  (dropped collection) [40, 7f)   ->    cleaning", "  cleaning     s2 does not answer",
                          "  what to do   wait (terrane migration watch 9)"));
}

TEST(InterruptTest, TheFirstIsNotedAndTheOldHandlerComesBack) {
  ForgetInterrupt();
  {
    const InterruptWatch watch;
    raise(SIGINT);
    EXPECT_EQ(Interrupted(), SIGINT);
  }
  struct sigaction now;
  sigaction(SIGTERM, nullptr, &now);
  EXPECT_EQ(now.sa_handler, SIG_DFL);
  ForgetInterrupt();
  EXPECT_EQ(Interrupted(), 0);
}

TEST(DocumentReaderTest, NdjsonGoesOnBehindABadLine) {
  std::istringstream in("{\"_id\": 1}\n\n{\"_id\": \n{\"_id\": 3}");
  const auto reader = DocumentReader::Make(FileFormat::kNdjson, in);
  std::vector<std::pair<int64_t, bool>> seen;
  while (true) {
    auto next = reader->Next();
    ASSERT_TRUE(next.ok());
    if (!*next) break;
    seen.emplace_back((*next)->number, (*next)->bson.ok());
  }
  EXPECT_THAT(seen, ElementsAre(std::pair(1, true), std::pair(3, false), std::pair(4, true)));
}

TEST(DocumentReaderTest, BsonThatIsCutOrDamagedEndsTheFile) {
  const std::string one = document::Builder().Append("_id", 1).Finish();
  for (const auto& [bytes, message] :
       std::vector<std::pair<std::string, const char*>>{{one + one.substr(0, 7), "ends inside of document 2"},
                                                        {one + "\x01", "not BSON at byte 14"},
                                                        {one + std::string(4, '\xff'), "not BSON at byte 14"}}) {
    std::istringstream in(bytes);
    const auto reader = DocumentReader::Make(FileFormat::kBson, in);
    auto first = reader->Next();
    ASSERT_TRUE(first.ok() && *first);
    EXPECT_EQ((*first)->bson.value(), one);
    EXPECT_THAT(reader->Next().status().ToString(), HasSubstr(message));
  }
}

}  // namespace
}  // namespace terrane::tools
