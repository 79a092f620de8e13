// Starting, stopping and restarting a whole cluster of real processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>

#include <atomic>
#include <chrono>
#include <fstream>

#include "cluster/detached_cluster.h"
#include "document/extended_json.h"
#include "support/mini_cluster.h"
#include "tools/child_process.h"
#include "tools/cli.h"
#include "tools/health.h"

namespace terrane::testing {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST_F(DetachedCluster, StartIsQuickStopLeavesNothingAndStartAgainFindsTheData) {
  const auto start = std::chrono::steady_clock::now();
  CliResult result = Terrane("cluster start --shards 3 --metadata 3 --json");
  ASSERT_EQ(result.exit, 0) << result.err;
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
#ifndef TERRANE_SANITIZED
  EXPECT_LT(took, 3.0);
#endif
  RecordProperty("seconds_to_serve", std::to_string(took));
  EXPECT_THAT(result.out, HasSubstr("\"proxies\": [\"127.0.0.1:"));

  ASSERT_EQ(Terrane("collection create shop.orders").exit, 0);
  result = Terrane("insert shop.orders '[{\"_id\": 1, \"n\": 7}, {\"_id\": 2}, {\"_id\": 3}]'");
  ASSERT_EQ(result.exit, 0) << result.err;
  EXPECT_EQ(result.out, "inserted 3 documents\n");

  auto cluster = tools::LocalCluster::Open(directory_);
  ASSERT_TRUE(cluster.ok());
  const std::vector<tools::ProcessInfo> before = (*cluster)->Processes();
  EXPECT_EQ(before.size(), 7u);
  result = Terrane("cluster stop");
  EXPECT_EQ(result.exit, 0);
  EXPECT_THAT(result.out, HasSubstr("is stopped\n"));
  for (const tools::ProcessInfo& info : before) {
    EXPECT_EQ(tools::State(info.process.process), tools::ProcessState::kStopped) << info.process.name;
    EXPECT_FALSE(std::filesystem::exists(info.directory / "pid")) << info.process.name;
    EXPECT_FALSE(std::filesystem::exists(info.directory / "endpoint")) << info.process.name;
  }
  EXPECT_THAT(Terrane("status").err, HasSubstr("has no running proxy. Start it: terrane cluster start --dir"));

  result = Terrane("cluster start");
  ASSERT_EQ(result.exit, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("3 metadata nodes, 3 shards, 1 proxy"));
  EXPECT_EQ(Terrane("find shop.orders '{\"_id\": 1}'").out, "{\"_id\": 1, \"n\": 7}\n");
  EXPECT_EQ(Terrane("count shop.orders").out, "3\n");
  EXPECT_EQ(Terrane("check").exit, 0);
  EXPECT_THAT(Terrane("status").out, StartsWith("healthy: 3 shards, 12 chunks, 3 documents"));
}

TEST_F(DetachedCluster, KilledProcessesComeBackWithEverythingAcknowledged) {
  ASSERT_EQ(Terrane("cluster start --shards 1").exit, 0);
  ASSERT_EQ(Terrane("collection create shop.orders").exit, 0);
  for (int i = 0; i < 5; ++i) {
    const std::string id = std::to_string(i);
    ASSERT_EQ(Terrane("insert shop.orders '{\"_id\": " + id + "}'").exit, 0);
    for (const char* process : {"s1-a", "m1", "p1"}) {
      if (i % 3 != process[0] % 3) continue;
      ASSERT_EQ(Terrane(std::string("cluster kill --process ") + process).exit, 0);
      EXPECT_THAT(Terrane("cluster status").out, HasSubstr("stopped"));
      const CliResult result = Terrane(std::string("cluster restart --process ") + process);
      ASSERT_EQ(result.exit, 0) << result.err;
    }
    EXPECT_EQ(Terrane("count shop.orders").out, std::to_string(i + 1) + "\n");
  }
}

TEST_F(DetachedCluster, AnInterruptedStartLeavesNothingRunningAndCanBeRepeated) {
  for (int looks : {0, 2, 10}) {
    tools::LocalClusterOptions options;
    options.directory = directory_;
    options.programs = std::filesystem::path(TERRANE_BINARY_DIR) / "bin";
    options.interrupted = [looks, asked = std::make_shared<std::atomic<int>>(0)] { return ++*asked > looks; };
    const auto started = tools::LocalCluster::Start(options);
    EXPECT_TRUE(absl::IsCancelled(started.status())) << looks << ": " << started.status();
    auto cluster = tools::LocalCluster::Open(directory_);
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    for (const tools::ProcessInfo& info : (*cluster)->Processes()) {
      EXPECT_EQ(info.state, tools::ProcessState::kStopped) << info.process.name;
    }
  }
  const CliResult result = Terrane("cluster start --shards 5");
  EXPECT_EQ(result.exit, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("so this has no effect: --shards 5 (there are 2)"));
}

TEST_F(DetachedCluster, DirectoryThatIsSomethingElseIsRefused) {
  std::ofstream(directory_ / "precious") << "data";
  const CliResult result = Terrane("cluster start");
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.err, HasSubstr("is not empty and holds no cluster (there is precious)"));
}

TEST(MiniClusterTest, PausedShardMakesCallsSlowNotWrong) {
  auto cluster = MiniCluster::Start({.shards = 1});
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  ASSERT_EQ((*cluster)->Terrane({"collection", "create", "shop.orders"}).exit, 0);
  ASSERT_TRUE((*cluster)->processes().Pause("s1-a").ok());
  EXPECT_EQ((*cluster)->processes().Process("s1-a")->state, tools::ProcessState::kPaused);
  EXPECT_FALSE(tools::CheckHealth((*cluster)->Endpoint("s1-a"), std::chrono::milliseconds(200)).ok());
  const auto document = document::DocumentFromJson("{\"_id\": 1}").value();
  EXPECT_FALSE(
      (*cluster)->client().Insert("shop.orders", {document}, {.deadline = std::chrono::milliseconds(300)}).ok());
  ASSERT_TRUE((*cluster)->processes().Resume("s1-a").ok());
  const auto again = (*cluster)->client().Insert("shop.orders", {document}, {.deadline = seconds(10)});
  ASSERT_TRUE(again.ok()) << again.status();  // in now, or a duplicate of the first attempt: never twice
  EXPECT_EQ((*cluster)->client().Count("shop.orders").value(), 1);
}

TEST(MiniClusterTest, ProcessesDieWithTheirStarter) {
  std::vector<tools::ProcessInfo> processes;
  {
    auto cluster = MiniCluster::Start({.shards = 1});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    processes = (*cluster)->processes().Processes();
  }
  ASSERT_EQ(processes.size(), 3u);
  for (const auto& info : processes) EXPECT_EQ(tools::State(info.process.process), tools::ProcessState::kStopped);
}

TEST_F(DetachedCluster, AddedShardIsThereAtOnce) {
  ASSERT_EQ(Terrane("cluster start --shards 1").exit, 0);
  const CliResult result = Terrane("shard add");
  ASSERT_EQ(result.exit, 0) << result.err;
  EXPECT_THAT(result.out, StartsWith("shard s2 is there: s2-a at 127.0.0.1:"));
  EXPECT_THAT(Terrane("shard list").out, HasSubstr("s2 "));
}

TEST_F(DetachedCluster, AnAddedShardHasAsManyReplicasAsTheClusterWasMadeWith) {
  ASSERT_EQ(Terrane("cluster start --shards 1").exit, 0);
  ASSERT_EQ(Terrane("shard replica add s1").exit, 0);
  ASSERT_EQ(Terrane("shard add").exit, 0);
  EXPECT_THAT(Terrane("shard list").out, HasSubstr("s2     1 replica,"));
  CliResult result = Terrane("shard add --replicas 2");
  EXPECT_EQ(result.exit, 2);
  EXPECT_THAT(result.err, HasSubstr("--replicas: 1, 3 or 5"));
  result = Terrane("shard add --replicas 3");
  EXPECT_EQ(result.exit, 0) << result.err;
  EXPECT_THAT(Terrane("shard list").out, HasSubstr("s3     3 replicas,"));
}

}  // namespace
}  // namespace terrane::testing
