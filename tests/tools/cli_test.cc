// What a person sees who mistypes, or adds a replica in vain; nothing here needs a cluster.
#include "tools/cli.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "common/strings.h"
#include "rpc/server.h"
#include "terrane/v1/cluster.grpc.pb.h"
#include "tools/cluster_file.h"
#include "tools/interrupt.h"
#include "tools/local_cluster.h"

namespace terrane::tools {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
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

// A proxy with one shard, whose replicas are not changed, and one collection.
class FakeProxy : public v1::Cluster::Service, public v1::Collections::Service {
 public:
  FakeProxy() {
    server_ = rpc::Server::Start({.address = "127.0.0.1:0"}, {static_cast<v1::Cluster::Service*>(this),
                                                              static_cast<v1::Collections::Service*>(this)})
                  .value();
  }
  ~FakeProxy() override { server_.reset(); }
  const std::string& address() const { return server_->address(); }

  grpc::Status List(grpc::ServerContext*, const v1::ListCollectionsRequest*,
                    v1::ListCollectionsResponse* response) override {
    response->add_collections()->mutable_collection()->set_name("shop.orders");
    return grpc::Status::OK;
  }
  grpc::Status ListShards(grpc::ServerContext*, const v1::ListShardsRequest*,
                          v1::ListShardsResponse* response) override {
    if (interrupt.exchange(false)) raise(SIGINT);
    v1::Shard* shard = response->add_shards();
    shard->set_name("s1");
    shard->set_leader_endpoint("127.0.0.1:1");
    return grpc::Status::OK;
  }
  grpc::Status ChangeReplica(grpc::ServerContext*, const v1::ChangeReplicaRequest*,
                             v1::ChangeReplicaResponse*) override {
    ++changes;
    return answer;
  }

  grpc::Status answer;
  std::atomic<bool> interrupt = false;  // of the command, once
  std::atomic<int> changes = 0;

 private:
  std::unique_ptr<rpc::Server> server_;
};

// With a replica that starts at once: a process that does nothing, healthy thanks to this test.
class CliAddReplicaTest : public CliDirectoryTest {
 protected:
  void SetUp() override {
    CliDirectoryTest::SetUp();
    const std::filesystem::path program = std::filesystem::path(directory_) / "programs" / "terrane-shard";
    std::filesystem::create_directory(program.parent_path());
    std::ofstream(program) << "#!/bin/sh\nexec sleep 600\n";
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    ClusterFile file = ClusterFile::Load(directory_).value();
    file.programs = program.parent_path().native();
    ASSERT_TRUE(file.Save(directory_).ok());
  }
  void TearDown() override {
    if (auto cluster = LocalCluster::Open(directory_); cluster.ok()) (void)(*cluster)->Stop();
    CliDirectoryTest::TearDown();
  }

  Result Add(const FakeProxy& proxy) {
    std::atomic<bool> over = false;
    std::unique_ptr<rpc::Server> healthy;
    std::thread serve([&] {
      while (!over && healthy == nullptr) {
        const auto file = ClusterFile::Load(directory_);
        const ClusterProcess* added = file.ok() ? file->Find("s1-d") : nullptr;
        if (added == nullptr) {
          std::this_thread::sleep_for(std::chrono::milliseconds(5));
          continue;
        }
        healthy = rpc::Server::Start({.address = added->endpoint}, {}).value();
      }
    });
    const Result result = Terrane({"shard", "replica", "add", "s1", "--dir", directory_.c_str(), "--proxy",
                                   proxy.address().c_str(), "--deadline", "20s"});
    ForgetInterrupt();
    over = true;
    serve.join();
    return result;
  }
  bool Runs() {
    const ClusterFile file = ClusterFile::Load(directory_).value();
    const ClusterProcess* added = file.Find("s1-d");
    return added != nullptr && State(added->process) != ProcessState::kStopped;
  }
};

// Somebody on the way has given up; nobody knows whether the shard has taken it in.
TEST_F(CliAddReplicaTest, AProcessThatMayBeAReplicaIsNotStopped) {
  FakeProxy proxy;
  proxy.answer = grpc::Status(grpc::StatusCode::CANCELLED, "shard s1: shutting down");
  const Result result = Add(proxy);
  EXPECT_EQ(proxy.changes, 1);
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.err, StartsWith("error: shard s1: shutting down. s1-d was started for it and runs; it may be a "
                                     "replica by now. Look: terrane shard replica list s1."));
  EXPECT_TRUE(Runs());
}

TEST_F(CliAddReplicaTest, AProcessThatNobodyWasAskedToTakeInIsStopped) {
  FakeProxy proxy;
  proxy.interrupt = true;
  Result result = Add(proxy);
  EXPECT_EQ(proxy.changes, 0);
  EXPECT_EQ(result.exit, 128 + SIGINT);
  EXPECT_THAT(result.err, HasSubstr("interrupted. s1-d, started for it, is stopped again"));
  EXPECT_FALSE(Runs());
}

TEST_F(CliAddReplicaTest, AProcessThatWasRefusedIsStopped) {
  FakeProxy proxy;
  proxy.answer = grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "another change is under way");
  const Result result = Add(proxy);
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.err, HasSubstr("another change is under way. s1-d, started for it, is stopped again"));
  EXPECT_FALSE(Runs());
}

// They would be lost, and who looks for them would find no file.
TEST_F(CliDirectoryTest, AnImportThatCannotPutRefusedLinesAsideEnds) {
  FakeProxy proxy;
  const std::string file = directory_ + "/lines", rejected = directory_ + "/nowhere/rejected";
  std::ofstream(file) << "{\"_id\": \n{\n";
  std::vector<const char*> arguments = {"import",  "--collection",          "shop.orders", file.c_str(),
                                        "--proxy", proxy.address().c_str(), "--rejected",  rejected.c_str()};
  Result result = Terrane(arguments);
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.out, StartsWith("imported 0 documents "));
  EXPECT_THAT(result.out, EndsWith("; 1 line refused\n"));
  EXPECT_EQ(result.err, StrCat("error: the import ended early: cannot write the refused documents to ", rejected,
                               ": No such file or directory\n"));
  arguments.push_back("--json");
  result = Terrane(arguments);
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.out, Not(HasSubstr("rejected_file")));

  // Where there is room for them both are put aside.
  const std::string kept = directory_ + "/kept";
  arguments[7] = kept.c_str();
  result = Terrane(arguments);
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.out, HasSubstr("\"refused\": 2"));
  EXPECT_THAT(result.out, HasSubstr(StrCat("\"rejected_file\": \"", kept, "\"")));
  EXPECT_EQ(result.err, "");

  // A disk that is full is noticed when they are written at last.
  arguments[7] = "/dev/full";
  result = Terrane(arguments);
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.err, HasSubstr("cannot write the refused documents to /dev/full: No space left on device"));
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
