// What happens when this node begins to lead, with a clock that the test moves and no log.
#include "metadata/leader_tasks.h"

#include <gtest/gtest.h>

#include "support/clocks.h"
#include "support/temp_directory.h"

namespace terrane::metadata {
namespace {

using namespace std::chrono_literals;

class NoShards : public migration::ShardGateway {
 public:
  void Send(const std::string&, const migration::StepRequest&, std::chrono::milliseconds,
            std::function<void(absl::StatusOr<migration::StepAnswer>)>) override {}
  void Describe(const std::string&, std::chrono::milliseconds,
                std::function<void(absl::StatusOr<v1::DescribeResponse>)>) override {}
  void Audit(const std::string&, const v1::AuditRequest&, std::chrono::milliseconds,
             std::function<void(absl::StatusOr<v1::AuditResponse>)>) override {}
};

TEST(LeaderTasksTest, ShardsAreSilentSinceThisNodeLeadsAtMost) {
  TempDirectory directory("leader-tasks");
  terrane::testing::HandClock clock;
  NoShards shards;
  auto machine = MetadataStateMachine::Open(directory.path());
  ASSERT_TRUE(machine.ok()) << machine.status();
  v1::MetadataCommand command;
  command.mutable_initialize_cluster()->set_cluster("test");
  const std::string data = command.SerializeAsString();
  const std::vector<replication::CommittedEntry> batch{{Position(1), Term(1), data, false}};
  std::vector<replication::ApplyResult> results(1);
  ASSERT_TRUE((*machine)->Apply(batch, results).ok());

  Node node({.clock = &clock}, machine->get());
  node.SetShards(&shards);
  migration::Coordinator coordinator(&clock, &node, &shards);
  CollectionBackend backend(&node);
  MetadataService service(&node);
  LeaderTasks tasks(&node, &coordinator, &backend, &service, "test");
  // It followed somebody else for an hour, to whom the shards reported.
  clock.Advance(1h);
  tasks.OnLeaderStart(Term(2));
  EXPECT_EQ(node.registry().SilentSince("s1"), clock.Now());
  v1::Shard shard;
  shard.set_name("s1");
  shard.add_replicas()->set_endpoint("a:1");
  node.registry().Describe(&shard);
  EXPECT_EQ(shard.leader_endpoint(), "a:1");

  tasks.OnLeaderStop(Term(2));
  coordinator.Stop();
  backend.Stop();
}

}  // namespace
}  // namespace terrane::metadata
