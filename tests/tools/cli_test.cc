// What a person sees who mistypes; nothing here needs a cluster.
#include "tools/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <sstream>

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
           {{"cluster", "start", "--dir", "/tmp/x", "--replicas", "3"}, "error: --replicas: shards of more than one"},
           {{"cluster", "start", "--dir", "/tmp/x", "--metadata", "2"}, "error: --metadata: 1, 3 or 5 nodes"},
           {{"find", "a.b", "{}", "--limit", "-1"}, "error: --limit: -1 is negative"},
           {{"find", "a.b", "{\"a\": NaN}"}, "error: not JSON at column 7: NaN (write {\"$numberDouble\": \"NaN\"})"},
           {{"update", "a.b", "{}", "{x}", "--proxy", "127.0.0.1:1"}, "error: update: not JSON"},
           {{"collection", "create", "a.b", "--shard-key", "{\"a\": 2}"}, "error: --shard-key: "},
           {{"status", "--deadline", "5"}, "--deadline: \"5\" is not a duration"},
           {{"import", "--collection", "a.b", "/proc/nowhere"}, "error: cannot open /proc/nowhere"},
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
  EXPECT_THAT(Terrane({"chunk", "move", "--help"}).out, HasSubstr("--max-pause"));
  EXPECT_THAT(Terrane({"chunk", "move", "--help"}).out, Not(HasSubstr("reversible")));
}

TEST_F(CliTest, AProxyThatIsNotThereCouldNotAnswer) {
  const Result result = Terrane({"status", "--proxy", "127.0.0.1:1", "--deadline", "200ms"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.err, StartsWith("error: "));
}

}  // namespace
}  // namespace terrane::tools
