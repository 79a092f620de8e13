// What a person does and sees, against a real cluster.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "common/process.h"
#include "support/mini_cluster.h"

namespace terrane::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

class CliClusterTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto cluster = MiniCluster::Start({.shards = 2});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = cluster->release();
  }
  static void TearDownTestSuite() {
    delete cluster_;
    cluster_ = nullptr;
  }
  void SetUp() override { ASSERT_NE(cluster_, nullptr); }
  CliResult Terrane(std::vector<std::string> arguments) { return cluster_->Terrane(std::move(arguments)); }
  void Create(const std::string& collection) {
    const CliResult result = Terrane({"collection", "create", collection});
    ASSERT_EQ(result.exit, 0) << result.err;
  }

  static MiniCluster* cluster_;
};
MiniCluster* CliClusterTest::cluster_ = nullptr;

TEST_F(CliClusterTest, CollectionsAreCreatedListedAndDropped) {
  EXPECT_EQ(Terrane({"collection", "create", "shop.items", "--shard-key", "{\"customer\": \"hashed\"}"}).out,
            "shop.items: 8 chunks on 2 shards, shard key {\"customer\": \"hashed\"}\n");
  EXPECT_THAT(Terrane({"collection", "list"}).out, HasSubstr("shop.items"));
  EXPECT_THAT(Terrane({"collection", "stats", "shop.items"}).out, StartsWith("shop.items: 0 documents"));
  EXPECT_EQ(Terrane({"collection", "create", "shop.items"}).exit, 1);
  EXPECT_EQ(Terrane({"collection", "drop", "shop.items"}).out, "shop.items is dropped\n");
  const CliResult gone = Terrane({"find", "shop.items"});
  EXPECT_EQ(gone.exit, 2);
  EXPECT_THAT(gone.err, HasSubstr("no collection shop.items"));
}

TEST_F(CliClusterTest, MisspeltNamesAreSuggested) {
  Create("names.orders");
  CliResult result = Terrane({"find", "names.ordrs", "{}"});
  EXPECT_EQ(result.exit, 2);
  EXPECT_EQ(result.err, "error: no collection names.ordrs. Did you mean names.orders?\n");
  result = Terrane({"chunk", "move", "names.orders", "--key", "{\"_id\": 1}", "--to", "s9"});
  EXPECT_EQ(result.exit, 2);
  EXPECT_EQ(result.err, "error: no shard s9. Shards: s1, s2\n");
}

TEST_F(CliClusterTest, DocumentsAreInsertedFoundUpdatedAndDeleted) {
  Create("crud.orders");
  EXPECT_EQ(Terrane({"insert", "crud.orders", "{\"_id\": 7, \"total\": 12.5}"}).out,
            "inserted 1 document {\"_id\": 7}\n");
  CliResult again = Terrane({"insert", "crud.orders", "{\"_id\": 7}"});
  EXPECT_EQ(again.exit, 1);
  EXPECT_THAT(again.err, StartsWith("error: "));
  EXPECT_EQ(Terrane({"update", "crud.orders", "{\"_id\": 7}", "{\"$inc\": {\"n\": 2}}"}).out,
            "matched 1, modified 1\n");
  EXPECT_EQ(Terrane({"find", "crud.orders", "{\"total\": {\"$gt\": 12}}"}).out,
            "{\"_id\": 7, \"total\": 12.5, \"n\": 2}\n");
  EXPECT_EQ(Terrane({"find", "crud.orders", "--projection", "{\"n\": 1, \"_id\": 0}"}).out, "{\"n\": 2}\n");
  EXPECT_EQ(Terrane({"count", "crud.orders", "--json"}).out, "{\"count\": 1}\n");
  EXPECT_EQ(Terrane({"delete", "crud.orders", "{\"_id\": 7}"}).out, "deleted 1 document\n");
  EXPECT_EQ(Terrane({"find", "crud.orders"}).out, "");
}

TEST_F(CliClusterTest, BadInputIsNamedAndRefused) {
  Create("bad.orders");
  for (const auto& [arguments, exit] : std::vector<std::pair<std::vector<std::string>, int>>{
           {{"update", "bad.orders", "{\"_id\": 1}", "{\"$frobnicate\": {\"a\": 1}}"}, 2},
           {{"find", "bad.orders", "{\"a\": {\"$near\": 1}}"}, 2},
           {{"collection", "create", "nodot"}, 2},
           {{"insert", "bad.orders", "{\"_id\": [1]}"}, 2},
           {{"migration", "show", "4711"}, 2},
           {{"chunk", "move", "bad.orders", "--key", "{\"x\": 1}", "--to", "s1"}, 2}}) {
    const CliResult result = Terrane(arguments);
    EXPECT_EQ(result.exit, exit) << arguments[0] << " " << arguments[2] << ": " << result.err;
    EXPECT_THAT(result.err, StartsWith("error: "));
  }
}

TEST_F(CliClusterTest, AStoppedShardIsNamedInTime) {
  ASSERT_EQ(Terrane({"collection", "create", "stopped.orders", "--shard-key", "{\"k\": 1}"}).exit, 0);
  const CliResult chunk = Terrane({"chunk", "list", "stopped.orders", "--json"});
  const std::string shard = chunk.out.find("\"shard\": \"s1\"") != std::string::npos ? "s1" : "s2";
  const std::filesystem::path file = cluster_->directory() / "stopped.ndjson";
  std::ofstream(file) << "{\"_id\": 1, \"k\": 1}\n";
  Create("stopped.both");
  std::ofstream both(cluster_->directory() / "both.ndjson");
  for (int i = 0; i < 100; ++i) both << "{\"_id\": " << i << "}\n";
  both.close();
  ASSERT_EQ(Terrane({"import", "--collection", "stopped.both", (cluster_->directory() / "both.ndjson").native()}).exit,
            0);
  EXPECT_THAT(Terrane({"collection", "list"}).out, ContainsRegex("stopped.both +100 documents "));
  ASSERT_TRUE(cluster_->processes().Kill(shard + "-a").ok());
  // What it holds is missing, and that is said.
  CliResult sizes = Terrane({"collection", "list"});
  EXPECT_EQ(sizes.exit, 0) << sizes.err;
  EXPECT_THAT(sizes.out, ContainsRegex("stopped.both +at least [1-9][0-9] documents +at least .* 8 chunks .*" + shard +
                                       " does not answer"));
  EXPECT_THAT(Terrane({"collection", "list", "--json"}).out,
              HasSubstr("\"unknown_chunks\": 4, \"silent_shards\": [\"" + shard + "\"]"));
  sizes = Terrane({"collection", "stats", "stopped.both"});
  EXPECT_EQ(sizes.exit, 0) << sizes.err;
  EXPECT_THAT(sizes.out, ContainsRegex("^stopped.both: at least [1-9][0-9] documents, at least .*; " + shard +
                                       " does not answer\n"));
  EXPECT_THAT(sizes.out, ContainsRegex("\n  " + shard + " +4 chunks, size unknown: it does not answer\n"));
  sizes = Terrane({"collection", "stats", "stopped.both", "--json"});
  EXPECT_THAT(sizes.out, ContainsRegex("\"shard\": \"" + shard + "\", \"chunks\": 4, .*\"unknown_chunks\": 4"));
  EXPECT_THAT(sizes.out, HasSubstr("\"silent_shards\": [\"" + shard + "\"]"));
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"find", "stopped.orders"},
                                             {"find", "stopped.orders", "{\"k\": 1}"},
                                             {"count", "stopped.orders"},
                                             {"insert", "stopped.orders", "{\"k\": 1}"},
                                             {"update", "stopped.orders", "{}", "{\"$set\": {\"n\": 1}}"},
                                             {"delete", "stopped.orders", "{}"},
                                             {"import", "--collection", "stopped.orders", file.native()},
                                             {"export", "--collection", "stopped.orders", file.native() + ".out"}}) {
    std::vector<std::string> with_deadline = arguments;
    with_deadline.insert(with_deadline.end(), {"--deadline", "400ms"});
    const auto began = std::chrono::steady_clock::now();
    const CliResult result = Terrane(with_deadline);
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5)) << arguments[0];
    EXPECT_EQ(result.exit, 1) << arguments[0];
    EXPECT_THAT(result.err, ContainsRegex("shard " + shard + " at 127.0.0.1:[0-9]*: cannot connect: "));
  }
  ASSERT_TRUE(cluster_->processes().Restart(shard + "-a").ok());
  EXPECT_EQ(Terrane({"count", "stopped.orders"}).exit, 0);
}

TEST_F(CliClusterTest, ImportPutsRefusedLinesAsideAndExportGivesTheSameBack) {
  Create("io.orders");
  const std::filesystem::path file = cluster_->directory() / "orders.ndjson";
  std::ofstream out(file);
  for (int i = 0; i < 2000; ++i) out << "{\"_id\": " << i << ", \"customer\": \"c-" << i % 17 << "\"}\n";
  out << "{\"_id\": 1}\n{\"_id\": \n";
  out.close();
  CliResult result = Terrane({"import", "--collection", "io.orders", file.native()});
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.out, ContainsRegex("imported 2,000 documents .* 2 lines refused, see .*orders.ndjson.rejected"));
  const std::string rejected = ReadWholeFile(file.native() + ".rejected").value();
  EXPECT_THAT(rejected, HasSubstr("\"line\": 2001"));
  EXPECT_THAT(rejected, HasSubstr("\"line\": 2002"));

  const std::filesystem::path bson = cluster_->directory() / "orders.bson";
  result = Terrane({"export", "--collection", "io.orders", bson.native()});
  EXPECT_THAT(result.out, StartsWith("exported 2,000 documents"));
  Create("io.copy");
  result = Terrane({"import", "--collection", "io.copy", bson.native(), "--json"});
  EXPECT_THAT(result.out, HasSubstr("\"documents\": 2000"));
  EXPECT_EQ(Terrane({"count", "io.copy", "{\"customer\": \"c-3\"}"}).out, "118\n");
}

TEST_F(CliClusterTest, StatusAndCheckSpeakInSentences) {
  const CliResult status = Terrane({"status"});
  EXPECT_EQ(status.exit, 0) << status.out;
  EXPECT_THAT(status.out, StartsWith("healthy: 2 shards, "));
  EXPECT_THAT(status.out, HasSubstr("1 of 1 node, leader m1"));
  EXPECT_THAT(Terrane({"status", "--json"}).out, HasSubstr("\"problems\": []"));
  const CliResult check = Terrane({"check"});
  EXPECT_EQ(check.exit, 0) << check.out;
}

TEST_F(CliClusterTest, AChunkIsSplitAndMovedAndTheReceiptSaysHow) {
  Create("move.orders");
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(Terrane({"insert", "move.orders", "{\"_id\": " + std::to_string(i) + "}"}).exit, 0);
  }
  CliResult result = Terrane({"chunk", "list", "move.orders", "--json"});
  EXPECT_THAT(result.out, HasSubstr("\"shard\": \"s1\""));
  // To wherever the chunk of _id 1 is not.
  result = Terrane({"chunk", "move", "move.orders", "--key", "{\"_id\": 1}", "--to", "s2", "--wait"});
  if (result.exit != 0)
    result = Terrane({"chunk", "move", "move.orders", "--key", "{\"_id\": 1}", "--to", "s1", "--wait"});
  ASSERT_EQ(result.exit, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("sums equal"));
  EXPECT_THAT(result.out, HasSubstr("done in "));
  EXPECT_THAT(Terrane({"migration", "list"}).out, HasSubstr("done"));
  EXPECT_EQ(Terrane({"count", "move.orders"}).out, "50\n");
  result = Terrane({"chunk", "split", "move.orders", "--key", "{\"_id\": 1}"});
  EXPECT_EQ(result.exit, 0) << result.err;
  EXPECT_THAT(result.out, StartsWith("split into\n"));
  EXPECT_EQ(Terrane({"check", "move.orders"}).exit, 0);
}

}  // namespace
}  // namespace terrane::testing
