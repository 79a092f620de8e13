// A process that cannot start says why in one line, and with what exit code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <filesystem>

#include "common/process.h"
#include "support/mini_cluster.h"

namespace terrane::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Runs a program to its end.
CliResult RunProgram(const std::string& program, const std::string& arguments) {
  const std::string file =
      (std::filesystem::path(::testing::TempDir()) / "terrane-startup").native() + std::to_string(getpid());
  const std::string command = "exec timeout 20 " + std::string(TERRANE_BINARY_DIR) + "/bin/" + program + " " +
                              arguments + " >" + file + ".out 2>" + file + ".err";
  CliResult result;
  result.exit = WEXITSTATUS(system(command.c_str()));
  result.out = ReadWholeFile(file + ".out").value();
  result.err = ReadWholeFile(file + ".err").value();
  std::filesystem::remove(file + ".out");
  std::filesystem::remove(file + ".err");
  return result;
}

TEST(StartupTest, VersionNamesTheCommit) {
  for (const char* program : {"terrane-meta", "terrane-shard", "terrane-proxy", "terrane"}) {
    const CliResult result = RunProgram(program, "--version");
    EXPECT_EQ(result.exit, kExitOk);
    EXPECT_THAT(result.out, ContainsRegex(std::string("^") + program + " [0-9.]+ \\(commit "));
  }
}

TEST(StartupTest, BadFlagsAreNamed) {
  EXPECT_EQ(RunProgram("terrane-shard", "--dir /tmp/x --name s1").exit, kExitUsage);
  EXPECT_THAT(RunProgram("terrane-shard", "--dir /tmp/x --name s1").err, HasSubstr("--metadata is required"));
  EXPECT_THAT(RunProgram("terrane-proxy", "--dir /tmp/x --metadata a:1 --max-hold 5").err,
              HasSubstr("is not a duration"));
}

// Shells give 1,024; a store has a file for each 64 MB.
TEST(StartupTest, ServersRaiseTheirLimitOfOpenFiles) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit low = before;
  low.rlim_cur = 1024;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  const auto cluster = MiniCluster::Start({.shards = 1});
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  for (const char* process : {"m1", "s1-a", "p1"}) {
    const pid_t pid = (*cluster)->processes().Process(process)->process.process.pid;
    const std::string limits = ReadWholeFile(StrCat("/proc/", pid, "/limits")).value();
    EXPECT_THAT(limits, ContainsRegex(StrCat("Max open files +", before.rlim_max, " +", before.rlim_max))) << process;
  }
}

class RunningCluster : public ::testing::Test {
 protected:
  void SetUp() override {
    auto cluster = MiniCluster::Start({.shards = 2});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    free_ = (cluster_->directory() / "free").native();
  }
  std::string Dir(const std::string& process) { return (cluster_->directory() / process).native(); }
  // Of a shard s1, with the real metadata service.
  std::string ShardFlags(const std::string& directory, const std::string& name) {
    return "--log-level off --dir " + directory + " --name " + name + " --metadata " + cluster_->Endpoint("m1");
  }

  std::unique_ptr<MiniCluster> cluster_;
  std::string free_;
};

TEST_F(RunningCluster, PortInUse) {
  const std::string port = cluster_->Endpoint("p1");
  const CliResult result = RunProgram("terrane-proxy", "--log-level off --dir " + free_ + " --listen " + port +
                                                           " --metadata " + cluster_->Endpoint("m1"));
  EXPECT_EQ(result.exit, kExitAddressInUse);
  EXPECT_THAT(result.err, StartsWith("error: "));
  EXPECT_THAT(result.err, HasSubstr(port));
}

TEST_F(RunningCluster, DirectoryInUse) {
  const CliResult result = RunProgram("terrane-shard", ShardFlags(Dir("s1-a"), "s1"));
  EXPECT_EQ(result.exit, kExitWrongDirectory);
  EXPECT_THAT(result.err, HasSubstr("is in use by process "));
}

TEST_F(RunningCluster, DirectoryOfSomebodyElse) {
  ASSERT_TRUE(cluster_->processes().StopProcess("s2-a").ok());
  const CliResult result = RunProgram("terrane-shard", ShardFlags(Dir("s2-a"), "s1"));
  EXPECT_EQ(result.exit, kExitWrongDirectory) << result.err;
  EXPECT_THAT(result.err, HasSubstr("s2"));
}

TEST_F(RunningCluster, OpenNetworkWithoutTlsIsRefused) {
  const CliResult result = RunProgram(
      "terrane-proxy", "--log-level off --dir " + free_ + " --listen 0.0.0.0:0 --metadata " + cluster_->Endpoint("m1"));
  EXPECT_EQ(result.exit, kExitUsage) << result.err;
  EXPECT_THAT(result.err, StartsWith("error: "));
}

}  // namespace
}  // namespace terrane::testing
