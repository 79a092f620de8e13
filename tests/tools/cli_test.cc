// What a person sees who mistypes; nothing here needs a cluster.
#include "tools/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/strings.h"
#include "tools/cluster_file.h"

namespace terrane::tools {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Result {
  int exit = 0;
  std::string out, err;
};

Result Terrane(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "terrane");
  std::ostringstream out, err;
  Result result;
  result.exit = RunCli(static_cast<int>(arguments.size()), arguments.data(), out, err);
  result.out = out.str();
  result.err = err.str();
  return result;
}

class CliTest : public testing::Test {
 protected:
  void SetUp() override { unsetenv("TERRANE_PROXY"); }
};

TEST_F(CliTest, ErrorsSayWhatToDo) {
  struct Case {
    std::vector<const char*> arguments;
    const char* message;
  };
  for (const Case& c : std::vector<Case>{
           {{"fnd", "shop.orders"}, "error: no command terrane fnd. Did you mean find?"},
           {{"collection", "creat", "x"}, "error: no command terrane collection creat. Did you mean create?"},
           {{"collection"}, "error: terrane collection needs a command: create, drop, list, stats"},
           {{"status", "--jsn"}, "error: terrane status has no option --jsn. Did you mean --json?"},
           {{"find"}, "error: collection is required. See terrane find --help"},
           {{"status"}, "error: which cluster? Give --proxy HOST:PORT, set TERRANE_PROXY, or give the --dir"},
           {{"status", "--dir", "/proc/nowhere"},
            "error: no local cluster in /proc/nowhere. Make one: terrane cluster"},
           {{"cluster", "start"}, "error: --dir is missing"},
           {{"cluster", "start", "--dir", "/tmp/x", "--replicas", "2"}, "error: --replicas: 1, 3 or 5"},
           {{"cluster", "start", "--dir", "/tmp/x", "--metadata", "2"}, "error: --metadata: 1, 3 or 5 nodes"},
           {{"find", "a.b", "{}", "--limit", "-1"}, "error: --limit: -1 is negative"},
           {{"find", "a.b", "{}", "--limit", "x"}, "error: --limit: \"x\" is not a whole number"},
           {{"import", "--collection", "a.b", "x", "--workers", "0"}, "error: --workers: at least 1, not 0"},
           {{"import", "--collection", "a.b", "/proc"}, "error: /proc is a directory"},
           {{"migration", "show", "-1"}, "error: id: at least 1, not -1"},
           {{"fnd", "--help"}, "error: no command terrane fnd. Did you mean find?"},
           {{"chunk", "mve", "--help"}, "error: no command terrane chunk mve. Did you mean move?"},
           {{"find", "a.b", "{\"a\": NaN}"}, "error: not JSON at column 7: NaN (write {\"$numberDouble\": \"NaN\"})"},
           {{"update", "a.b", "{}", "{x}", "--proxy", "127.0.0.1:1"}, "error: update: not JSON"},
           {{"collection", "create", "a.b", "--shard-key", "{\"a\": 2}"}, "error: --shard-key: "},
           {{"status", "--deadline", "5"}, "--deadline: \"5\" is not a duration"},
           {{"import", "--collection", "a.b", "/proc/nowhere"}, "error: cannot open /proc/nowhere"},
           {{"chunk", "move", "a.b", "--key", "{}", "--to", "s2", "--max-pause", "0s"},
            "error: --max-pause: from 1ms to 2s"},
           {{"chunk", "move", "a.b", "--key", "{}", "--to", "s2", "--max-pause", "1h"},
            "error: --max-pause: from 1ms to 2s"},
           {{"chunk", "split", "a.b"}, "error: give --at KEY"}}) {
    const Result result = Terrane(c.arguments);
    EXPECT_EQ(result.exit, 2) << c.message;
    EXPECT_THAT(result.err, HasSubstr(c.message));
    EXPECT_EQ(result.out, "");
  }
}

TEST_F(CliTest, CommandsOfLaterVersionsAreRefusedByName) {
  for (const std::vector<const char*>& arguments : std::vector<std::vector<const char*>>{
           {"shard", "drain", "s1"},
           {"index", "create", "a.b", "{\"x\": 1}"},
           {"balancer", "on"},
           {"migration", "rollback", "7", "--now"},
           {"chunk", "merge", "a.b"},
           {"top"},
           {"chunk", "move", "a.b", "--key", "{}", "--to", "s2", "--reversible", "10m"}}) {
    const Result result = Terrane(arguments);
    EXPECT_EQ(result.exit, 2);
    EXPECT_THAT(result.err, HasSubstr("is not in this version"));
  }
}

TEST_F(CliTest, JsonErrorsAreJson) {
  const Result result = Terrane({"status", "--json", "--dir", "/proc/nowhere"});
  EXPECT_EQ(result.exit, 2);
  EXPECT_THAT(result.err, StartsWith("{\"error\": \"no local cluster in /proc/nowhere"));
  EXPECT_THAT(result.err, HasSubstr("\"code\": \"NOT_FOUND\""));
}

TEST_F(CliTest, HelpAndVersion) {
  EXPECT_THAT(Terrane({"--version"}).out, StartsWith("terrane 0.1.0 (commit "));
  const std::string move = Terrane({"chunk", "move", "--help"}).out;
  EXPECT_THAT(move, HasSubstr("Usage: terrane chunk move [OPTIONS] collection"));
  EXPECT_THAT(move, HasSubstr("--max-pause"));
  EXPECT_THAT(move, HasSubstr("With every command: --dir DIR"));
  EXPECT_THAT(Terrane({"chunk", "move", "--help"}).out, Not(HasSubstr("reversible")));
}

// A local cluster that does not run.
class CliDirectoryTest : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    ASSERT_NE(mkdtemp(directory_.data()), nullptr);
    ClusterFile file;
    for (const char* shard : {"s1", "s2"}) {
      for (uint64_t replica : {1, 2, 3}) {
        file.processes.push_back({StrCat(shard, "-", std::string(1, static_cast<char>('a' + replica - 1))),
                                  Role::kShard,
                                  shard,
                                  replica,
                                  "127.0.0.1:1",
                                  {}});
      }
    }
    file.processes.push_back({"p1", Role::kProxy, "", 0, "127.0.0.1:1", {}});
    ASSERT_TRUE(file.Save(directory_).ok());
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string directory_ = testing::TempDir() + "terrane-cli-XXXXXX";
};

TEST_F(CliDirectoryTest, AReplicaOfAnotherShardIsNotMeant) {
  for (std::vector<const char*> arguments :
       std::vector<std::vector<const char*>>{{"shard", "replica", "remove", "s1", "--replica", "s2-b"},
                                             {"shard", "replica", "replace", "s1", "--replica", "s2-b"},
                                             {"shard", "replica", "promote", "s1", "--replica", "s2-b"},
                                             {"shard", "step-down", "s1", "--to", "s2-b"}}) {
    const std::string words = arguments[2];
    arguments.insert(arguments.end(), {"--dir", directory_.c_str(), "--proxy", "127.0.0.1:1", "--deadline", "100ms"});
    const Result result = Terrane(arguments);
    EXPECT_EQ(result.exit, 2) << words;
    EXPECT_THAT(result.err, HasSubstr("s2-b is a replica of s2, not of s1")) << words;
  }
}

TEST_F(CliDirectoryTest, WhatALocalClusterChoosesByItselfIsRefused) {
  for (std::vector<const char*> arguments : std::vector<std::vector<const char*>>{
           {"shard", "replica", "add", "s1", "--replica", "4"},
           {"shard", "replica", "add", "s1", "--endpoint", "127.0.0.1:1"},
           {"shard", "replica", "add", "s1", "--replica", "4", "--endpoint", "127.0.0.1:1"}}) {
    arguments.insert(arguments.end(), {"--dir", directory_.c_str(), "--proxy", "127.0.0.1:1", "--deadline", "100ms"});
    const Result result = Terrane(arguments);
    EXPECT_EQ(result.exit, 2);
    EXPECT_THAT(result.err, HasSubstr(" is not for a local cluster"));
  }
}

TEST_F(CliTest, AReplicaThatDoesNotAnswerIsNotAskedFor) {
  const Result result = Terrane({"shard", "replica", "add", "s1", "--replica", "4", "--endpoint", "127.0.0.1:1",
                                 "--proxy", "127.0.0.1:1", "--deadline", "200ms"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_EQ(result.err, "error: 127.0.0.1:1 does not answer: start terrane-shard with --join there first\n");
}

TEST_F(CliTest, ANameOfAReplicaNeedsTheDirectory) {
  const Result result = Terrane({"shard", "replica", "remove", "s1", "--replica", "s1-a", "--proxy", "127.0.0.1:1"});
  EXPECT_EQ(result.exit, 2);
  EXPECT_EQ(result.err,
            "error: --replica: \"s1-a\" is not the number of a replica; give its number (terrane shard replica list "
            "s1), or --dir of the local cluster to use names\n");
}

TEST_F(CliTest, AProxyThatIsNotThereCouldNotAnswer) {
  const Result result = Terrane({"status", "--proxy", "127.0.0.1:1", "--deadline", "200ms"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.err, StartsWith("error: proxy 127.0.0.1:1: "));
}

TEST_F(CliTest, AResultThatCannotBeWrittenIsAnError) {
  std::string directory = testing::TempDir() + "terrane-cli-XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  ClusterFile file;
  file.processes.push_back({"p1", Role::kProxy, "", 0, "127.0.0.1:1", {}});
  ASSERT_TRUE(file.Save(directory).ok());
  std::ostringstream err;
  std::ofstream full("/dev/full");
  const std::vector<const char*> arguments = {"terrane", "cluster", "status", "--dir", directory.c_str()};
  EXPECT_EQ(RunCli(static_cast<int>(arguments.size()), arguments.data(), full, err), 1);
  EXPECT_EQ(err.str(), "error: cannot write the result: No space left on device\n");
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace terrane::tools
