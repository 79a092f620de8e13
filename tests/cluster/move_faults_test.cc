// A move survives the death of any process in any stage (docs/migration.md, crash table), on real processes: the stage
// is held by the setting test.pause_at and read from the migration's record before the kill, so no case can miss it.
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "client/client.h"
#include "support/counter_workload.h"
#include "support/settings.h"
#include "tools/local_cluster.h"

namespace terrane {
namespace {

using terrane::v1::Migration;

enum class Victim { kSource, kTarget, kMetadataLeader, kProxy };

struct Case {
  Victim victim;
  Migration::Stage stage;
  const char* pause_at;
  const char* name;
};

std::string NameOf(const testing::TestParamInfo<Case>& info) {
  return info.param.name;
}

class MoveFaultTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / ("terrane-faults-" + std::to_string(getpid()));
    tools::LocalClusterOptions options;
    options.directory = directory_;
    options.shards = 2;
    options.metadata = 3;
    options.tied = true;
    options.programs = std::filesystem::path(TERRANE_BINARY_DIR) / "bin";
    std::filesystem::create_directories(directory_);
    auto cluster = tools::LocalCluster::Start(std::move(options));
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    proxy_ = cluster_->ProxyEndpoints().front();
    auto admin = client::Client::Connect({.proxies = {proxy_}, .deadline = std::chrono::seconds(30)});
    ASSERT_TRUE(admin.ok()) << admin.status();
    admin_ = *std::move(admin);
  }
  void TearDown() override {
    cluster_.reset();
    if (!HasFailure()) std::filesystem::remove_all(directory_);
  }

  // Until `condition` holds for the record; an error after a minute.
  template <typename Condition>
  absl::StatusOr<Migration> Await(uint64_t id, Condition condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (true) {
      const auto shown = admin_->ShowMigration(id);
      if (shown.ok() && condition(shown->migration())) return shown->migration();
      if (std::chrono::steady_clock::now() > end) {
        if (!shown.ok()) return shown.status();
        const Migration& record = shown->migration();
        return absl::DeadlineExceededError(
            StrCat("migration ", id, " stands in ", Migration::Stage_Name(record.stage()), ": ", record.reason()));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));  // between two looks at the condition
    }
  }

  absl::StatusOr<std::string> ProcessOf(Victim victim, const Migration& record) {
    switch (victim) {
      case Victim::kSource:
        return record.source() + "-a";
      case Victim::kTarget:
        return record.target() + "-a";
      case Victim::kProxy:
        return std::string("p1");
      case Victim::kMetadataLeader:
        break;
    }
    TERRANE_ASSIGN_OR_RETURN(const auto status, admin_->Status());
    for (const auto& node : status.metadata()) {
      if (node.leader()) return StrCat("m", node.replica_id());
    }
    return Internal("no metadata node leads");
  }

  std::filesystem::path directory_;
  std::unique_ptr<tools::LocalCluster> cluster_;
  std::string proxy_;
  std::unique_ptr<client::Client> admin_;
};

TEST_P(MoveFaultTest, KillLosesNothingAndTheMoveEnds) {
  auto workload = test::CounterWorkload::Start({.proxy = proxy_, .collection = "test.counters"});
  ASSERT_TRUE(workload.ok()) << workload.status();
  const absl::Status held_back = test::SetSetting(proxy_, "test.pause_at", GetParam().pause_at);
  ASSERT_TRUE(held_back.ok()) << held_back;

  const auto chunks = admin_->ListChunks("test.counters");
  ASSERT_TRUE(chunks.ok()) << chunks.status();
  const auto& chunk = chunks->chunks(0).chunk();
  terrane::v1::MoveChunkRequest request;
  request.set_collection("test.counters");
  request.set_key(chunk.range().min());
  request.set_target(chunk.shard() == "s1" ? "s2" : "s1");
  const auto registered = admin_->MoveChunk(request);
  ASSERT_TRUE(registered.ok()) << registered.status();
  const uint64_t id = registered->migration().id();
  const auto held = Await(id, [](const Migration& record) { return record.stage() == GetParam().stage; });
  ASSERT_TRUE(held.ok()) << held.status();
  if (GetParam().stage != Migration::FENCING) {
    const absl::Status progress = (*workload)->AwaitProgress(50);
    ASSERT_TRUE(progress.ok()) << progress;
  }

  const auto victim = ProcessOf(GetParam().victim, *held);
  ASSERT_TRUE(victim.ok()) << victim.status();
  ASSERT_TRUE(cluster_->Kill(*victim).ok());
  const absl::Status restarted = cluster_->StartProcess(*victim);
  ASSERT_TRUE(restarted.ok()) << restarted;
  const absl::Status released = test::SetSetting(proxy_, "test.pause_at", "");
  ASSERT_TRUE(released.ok()) << released;

  const auto ended = Await(id, [](const Migration& record) {
    return record.stage() == Migration::DONE || record.stage() == Migration::ABORTED;
  });
  ASSERT_TRUE(ended.ok()) << ended.status();
  RecordProperty("ended_as", Migration::Stage_Name(ended->stage()));
  const absl::Status progress = (*workload)->AwaitProgress(200);
  EXPECT_TRUE(progress.ok()) << progress;
  const absl::Status verified = (*workload)->StopAndVerify();
  EXPECT_TRUE(verified.ok()) << verified;
  std::string findings;
  const auto checked = admin_->Check({}, [&](const terrane::v1::CheckEvent& event) {
    if (event.kind() == terrane::v1::CheckEvent::FINDING) findings += event.text() + "\n";
  });
  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(*checked, 0) << findings;
}

Case At(Victim victim, Migration::Stage stage, const char* pause_at, const char* name) {
  return {victim, stage, pause_at, name};
}

INSTANTIATE_TEST_SUITE_P(
    CrashTable, MoveFaultTest,
    testing::Values(At(Victim::kSource, Migration::COPYING, "copying", "SourceInCopying"),
                    At(Victim::kSource, Migration::CATCHING_UP, "catching_up", "SourceInCatchingUp"),
                    At(Victim::kSource, Migration::VERIFYING, "verifying", "SourceInVerifying"),
                    At(Victim::kSource, Migration::FENCING, "fencing.commit", "SourceInFencing"),
                    At(Victim::kTarget, Migration::COPYING, "copying", "TargetInCopying"),
                    At(Victim::kTarget, Migration::CATCHING_UP, "catching_up", "TargetInCatchingUp"),
                    At(Victim::kTarget, Migration::VERIFYING, "verifying", "TargetInVerifying"),
                    At(Victim::kTarget, Migration::FENCING, "fencing.commit", "TargetInFencing"),
                    At(Victim::kMetadataLeader, Migration::COPYING, "copying", "MetadataLeaderInCopying"),
                    At(Victim::kMetadataLeader, Migration::CATCHING_UP, "catching_up", "MetadataLeaderInCatchingUp"),
                    At(Victim::kMetadataLeader, Migration::VERIFYING, "verifying", "MetadataLeaderInVerifying"),
                    At(Victim::kMetadataLeader, Migration::FENCING, "fencing.commit", "MetadataLeaderInFencing"),
                    At(Victim::kProxy, Migration::COPYING, "copying", "ProxyInCopying"),
                    At(Victim::kProxy, Migration::CATCHING_UP, "catching_up", "ProxyInCatchingUp"),
                    At(Victim::kProxy, Migration::VERIFYING, "verifying", "ProxyInVerifying"),
                    At(Victim::kProxy, Migration::FENCING, "fencing.commit", "ProxyInFencing")),
    NameOf);

}  // namespace
}  // namespace terrane
