// Real processes, and the file that remembers them.
#include "common/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "common/strings.h"
#include "tools/child_process.h"
#include "tools/cluster_file.h"
#include "tools/free_ports.h"

namespace terrane::tools {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

class ProcessTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        std::filesystem::path(testing::TempDir()) /
        ("terrane-" + std::to_string(getpid()) + testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  SpawnOptions Shell(const std::string& script) {
    return {.arguments = {"/bin/sh", "-c", script}, .output = directory_ / "stdout", .working_directory = directory_};
  }
  std::filesystem::path directory_;
};

TEST_F(ProcessTest, OutputAndExitCodeAreKept) {
  const ProcessId process = Spawn(Shell("echo hello; pwd >&2; exit 7")).value();
  ASSERT_TRUE(WaitForEnd(process, seconds(10)));
  EXPECT_EQ(ExitCodeOf(process), 7);
  EXPECT_EQ(ReadWholeFile(directory_ / "stdout").value(), "hello\n" + directory_.native() + "\n");
}

TEST_F(ProcessTest, PausedResumedKilled) {
  const ProcessId process = Spawn(Shell("exec sleep 1000")).value();
  EXPECT_EQ(State(process), ProcessState::kRunning);
  Signal(process, SIGSTOP);
  while (State(process) != ProcessState::kPaused) std::this_thread::yield();
  Signal(process, SIGCONT);
  while (State(process) != ProcessState::kRunning) std::this_thread::yield();
  EXPECT_FALSE(WaitForEnd(process, std::chrono::milliseconds(1)));
  Signal(process, SIGKILL);
  EXPECT_TRUE(WaitForEnd(process, seconds(10)));
  EXPECT_EQ(State(process), ProcessState::kStopped);
  EXPECT_EQ(ExitCodeOf(process), 128 + SIGKILL);
}

TEST_F(ProcessTest, ASuccessorWithTheSamePidIsSomebodyElse) {
  const ProcessId process = Spawn(Shell("exec sleep 1000")).value();
  ProcessId older = process;
  older.started -= 1;
  EXPECT_EQ(State(older), ProcessState::kStopped);
  Signal(older, SIGKILL);
  EXPECT_EQ(State(process), ProcessState::kRunning);
  Signal(process, SIGKILL);
  EXPECT_TRUE(WaitForEnd(process, seconds(10)));
}

TEST_F(ProcessTest, TiedProcessDiesWithTheThreadThatStartedIt) {
  ProcessId process;
  std::thread([&] {
    SpawnOptions options = Shell("exec sleep 1000");
    options.tied_to_thread = true;
    process = Spawn(options).value();
  }).join();
  EXPECT_TRUE(WaitForEnd(process, seconds(10)));
}

TEST_F(ProcessTest, MissingProgramIsNamed) {
  SpawnOptions options = Shell("");
  options.arguments = {"/nowhere/terrane-shard"};
  EXPECT_EQ(Spawn(options).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Spawn(options).status().ToString(), HasSubstr("/nowhere/terrane-shard"));
}

TEST_F(ProcessTest, AProgramThatCannotBeRunIsAnErrorOfSpawn) {
  SpawnOptions options = Shell("true");
  options.working_directory = directory_ / "missing";
  EXPECT_EQ(Spawn(options).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ProcessTest, ClusterFileComesBackAsItWas) {
  ClusterFile file;
  file.cluster = "4f0c";
  file.replicas = 3;
  file.processes.push_back({"m1", Role::kMetadata, "", 1, "127.0.0.1:1", {17, 889120}});
  file.processes.push_back({"s1-a", Role::kShard, "s1", 1, "127.0.0.1:2", {}});
  file.flags[Role::kShard] = {"--log-level=debug", "--cache=1 MiB"};
  ASSERT_TRUE(file.Save(directory_).ok());
  const ClusterFile read = ClusterFile::Load(directory_).value();
  EXPECT_EQ(read.cluster, "4f0c");
  EXPECT_EQ(read.replicas, 3);
  ASSERT_EQ(read.processes.size(), 2u);
  EXPECT_EQ(read.processes[0].process, (ProcessId{17, 889120}));
  EXPECT_EQ(read.Find("s1-a")->shard, "s1");
  EXPECT_EQ(read.Find("s1-a")->role, Role::kShard);
  EXPECT_EQ(read.Find("s2-a"), nullptr);
  EXPECT_EQ(read.flags.at(Role::kShard), file.flags[Role::kShard]);
  EXPECT_FALSE(read.network.has_value());
  EXPECT_THAT(ReadWholeFile(directory_ / "cluster").value(), HasSubstr("format=1 "));
}

TEST_F(ProcessTest, ClusterFileWithANetworkIsOfAFormatThatOlderVersionsRefuse) {
  ClusterFile file;
  file.cluster = "4f0c";
  file.network = ClusterNetwork{"3f9a1c", "198.18.7.0/24"};
  file.processes.push_back({"m1", Role::kMetadata, "", 1, "198.18.7.2:1", {17, 889120}});
  ASSERT_TRUE(file.Save(directory_).ok());
  EXPECT_THAT(ReadWholeFile(directory_ / "cluster").value(), HasSubstr("format=2 "));
  const ClusterFile read = ClusterFile::Load(directory_).value();
  ASSERT_TRUE(read.network.has_value());
  EXPECT_EQ(read.network->name, "3f9a1c");
  EXPECT_EQ(read.network->subnet, "198.18.7.0/24");
  EXPECT_EQ(read.processes.size(), 1u);
}

TEST_F(ProcessTest, ANetworkNamespaceThatIsNotThereIsNamed) {
  SpawnOptions options = Shell("exit 0");
  options.network_namespace = directory_ / "nowhere";
  EXPECT_EQ(Spawn(options).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Spawn(options).status().ToString(), HasSubstr("nowhere"));
}

TEST_F(ProcessTest, ANewShardIsAsTheOthersWereMade) {
  ClusterFile file;
  for (uint64_t replica = 1; replica <= 5; ++replica) {
    ClusterProcess process{StrCat("s1-", replica), Role::kShard, "s1", replica, "127.0.0.1:1", {}};
    process.join = replica > 3;
    file.processes.push_back(process);
  }
  file.replicas = 1;
  EXPECT_EQ(file.ReplicasOfNewShard(), 1);
  file.replicas = 0;  // of an older version
  EXPECT_EQ(file.ReplicasOfNewShard(), 3) << "two were added";
  file.processes.erase(file.processes.begin());
  EXPECT_EQ(file.ReplicasOfNewShard(), 3) << "one was removed";
  ASSERT_TRUE(file.Save(directory_).ok());
  EXPECT_EQ(ClusterFile::Load(directory_)->replicas, 0);
}

TEST_F(ProcessTest, ClusterFileThatIsMissingDamagedOrNewer) {
  EXPECT_EQ(ClusterFile::Load(directory_).status().code(), absl::StatusCode::kNotFound);
  std::ofstream(directory_ / "cluster") << "format=1 cluster=x\nprocess name=s1-a role=sard\n";
  EXPECT_THAT(ClusterFile::Load(directory_).status().ToString(), HasSubstr("line 2 is damaged"));
  std::ofstream(directory_ / "cluster") << "format=3 cluster=x\n";
  EXPECT_EQ(ClusterFile::Load(directory_).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(FreePortsTest, AreDifferentAndFree) {
  Random random(1);
  const std::vector<uint16_t> ports = ChooseFreePorts(20, random).value();
  EXPECT_EQ(std::set<uint16_t>(ports.begin(), ports.end()).size(), 20u);
}

}  // namespace
}  // namespace terrane::tools
