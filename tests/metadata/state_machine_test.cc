// The snapshot file and the state machine that lives in it.
#include "metadata/state_machine.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "metadata/snapshot_file.h"
#include "support/temp_directory.h"

namespace terrane::metadata {
namespace {

namespace fs = std::filesystem;

class StateMachineTest : public ::testing::Test {
 protected:
  std::unique_ptr<MetadataStateMachine> Open() {
    auto machine = MetadataStateMachine::Open(directory_ / "state");
    EXPECT_TRUE(machine.ok()) << machine.status();
    return *std::move(machine);
  }
  v1::CommandResult Set(MetadataStateMachine& machine, const std::string& name, const std::string& value,
                        const std::string& request_id = "") {
    v1::MetadataCommand command;
    command.set_request_id(request_id);
    command.mutable_set_setting()->set_name(name);
    command.mutable_set_setting()->set_value(value);
    return Apply(machine, command);
  }
  v1::CommandResult Apply(MetadataStateMachine& machine, const v1::MetadataCommand& command) {
    const std::string data = command.SerializeAsString();
    std::vector<replication::CommittedEntry> batch(2);
    batch[0] = {Position(machine.AppliedPosition().value() + 1), Term(1), "", true};
    batch[1] = {Position(machine.AppliedPosition().value() + 2), Term(1), data, false};
    std::vector<replication::ApplyResult> results(2);
    EXPECT_TRUE(machine.Apply(batch, results).ok());
    return std::any_cast<v1::CommandResult>(results[1].value);
  }
  std::string Setting(MetadataStateMachine& machine, const std::string& name) {
    return machine.Read([&](const State& state) { return state.Setting(name); });
  }
  std::string Content(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream content;
    content << in.rdbuf();
    return content.str();
  }
  void Overwrite(const fs::path& file, const std::string& content) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << content;
  }

  TempDirectory directory_{"metadata-machine"};
};

TEST_F(StateMachineTest, WhatIsDurableSurvives) {
  auto machine = Open();
  EXPECT_EQ(machine->AppliedPosition(), Position(0));
  Set(*machine, "a", "1");
  auto durable = machine->MakeDurable();
  ASSERT_TRUE(durable.ok()) << durable.status();
  EXPECT_EQ(*durable, Position(2));
  Set(*machine, "a", "2");
  machine = Open();
  EXPECT_EQ(machine->AppliedPosition(), Position(2));
  EXPECT_EQ(Setting(*machine, "a"), "1");
}

// Ids of requests are random bytes, and seldom UTF-8.
TEST_F(StateMachineTest, RequestsThatHadAnAnswerSurviveWhateverTheirIds) {
  std::string id = "id ";
  for (int byte = 0; byte < 256; ++byte) id.push_back(static_cast<char>(byte));
  auto machine = Open();
  Set(*machine, "a", "1", id);
  Set(*machine, "a", "2", "another");
  ASSERT_TRUE(machine->MakeDurable().ok());
  auto opened = MetadataStateMachine::Open(directory_ / "state");
  ASSERT_TRUE(opened.ok()) << opened.status();
  Set(**opened, "a", "1", id);  // a resend
  EXPECT_EQ(Setting(**opened, "a"), "2");
}

TEST_F(StateMachineTest, ACheckpointReplacesTheWholeState) {
  auto leader = Open();
  Set(*leader, "a", "1");
  fs::create_directory(directory_ / "checkpoint");
  ASSERT_TRUE(leader->TakeCheckpoint(directory_ / "checkpoint").ok());

  auto follower = *MetadataStateMachine::Open(directory_ / "follower");
  Set(*follower, "b", "9");
  auto subscription = follower->Subscribe(Revision(0), [] {});
  ASSERT_TRUE(follower->InstallCheckpoint(directory_ / "checkpoint").ok());
  EXPECT_EQ(follower->AppliedPosition(), leader->AppliedPosition());
  EXPECT_EQ(Setting(*follower, "a"), "1");
  EXPECT_EQ(Setting(*follower, "b"), "");
  EXPECT_TRUE(subscription->cut_off());
  subscription.reset();
  // Durable on return.
  follower = *MetadataStateMachine::Open(directory_ / "follower");
  EXPECT_EQ(Setting(*follower, "a"), "1");
  EXPECT_EQ(follower->InstallCheckpoint(directory_ / "none").code(), absl::StatusCode::kNotFound);
}

// A shard's leader is in no delta: whoever was away when it changed is told, and behind older news.
TEST_F(StateMachineTest, WhoComesBackIsToldWhoLeadsNow) {
  auto machine = Open();
  std::string leader = "a:1";
  machine->SetDecorator([&leader](v1::WatchEvent* event) {
    for (auto& shard : *event->mutable_shards()) shard.set_leader_endpoint(shard.name() == "s1" ? leader : "");
  });
  const auto add = [&](const std::string& name) {
    v1::MetadataCommand command;
    command.mutable_register_shard()->set_name(name);
    command.mutable_register_shard()->add_replicas()->set_replica_id(1);
    command.mutable_register_shard()->mutable_replicas(0)->set_endpoint(name + ":1");
    return Revision(Apply(*machine, command).revision());
  };
  const Revision first = add("s0");
  const Revision second = add("s1");
  leader = "b:1";
  const Revision now(Set(*machine, "a", "1").revision());

  auto briefly = machine->Subscribe(second, [] {});
  SharedEvent event = briefly->Next();
  ASSERT_NE(event, nullptr);
  EXPECT_FALSE(event->snapshot());
  EXPECT_EQ(Revision(event->revision()), now);
  ASSERT_EQ(event->shards_size(), 1);  // nobody knows who leads s0: that is no news
  EXPECT_EQ(event->shards(0).leader_endpoint(), "b:1");
  EXPECT_EQ(briefly->Next(), nullptr);

  auto longer = machine->Subscribe(first, [] {});
  EXPECT_EQ(longer->Next()->shards(0).leader_endpoint(), "a:1");
  event = longer->Next();
  ASSERT_NE(event, nullptr);
  EXPECT_EQ(event->shards(0).leader_endpoint(), "b:1");
}

// Of two that tell of a leader at once, the slower one may have looked before the other: it tells what is known by now.
TEST_F(StateMachineTest, ALeaderIsToldAsItIsKnownWhenItIsTold) {
  auto machine = Open();
  machine->SetDecorator([](v1::WatchEvent* event) {
    for (auto& shard : *event->mutable_shards()) shard.set_leader_endpoint("b:1");
  });
  auto subscription = machine->Subscribe(Revision(0), [] {});
  ASSERT_NE(subscription->Next(), nullptr);  // the snapshot
  v1::WatchEvent late;
  late.add_shards()->set_name("s1");
  late.mutable_shards(0)->set_leader_endpoint("a:1");
  machine->PublishVolatile(std::move(late));
  const SharedEvent told = subscription->Next();
  ASSERT_NE(told, nullptr);
  EXPECT_EQ(told->shards(0).leader_endpoint(), "b:1");
}

TEST_F(StateMachineTest, DamageIsNamedAndRefused) {
  auto machine = Open();
  Set(*machine, "a", "1");
  ASSERT_TRUE(machine->MakeDurable().ok());
  const fs::path file = directory_ / "state" / kSnapshotFileName;
  const std::string good = Content(file);
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    Overwrite(file, bad);
    auto opened = MetadataStateMachine::Open(directory_ / "state");
    ASSERT_FALSE(opened.ok()) << "byte " << i;
    EXPECT_NE(opened.status().ToString().find(file.string()), std::string::npos) << opened.status();
  }
  for (size_t length : {size_t{0}, size_t{5}, size_t{28}, good.size() - 1}) {
    Overwrite(file, good.substr(0, length));
    EXPECT_EQ(MetadataStateMachine::Open(directory_ / "state").status().code(), absl::StatusCode::kDataLoss) << length;
  }
  Overwrite(file, good);
  EXPECT_TRUE(MetadataStateMachine::Open(directory_ / "state").ok());
}

TEST_F(StateMachineTest, ANewerFormatIsRefusedByName) {
  Snapshot snapshot;
  ASSERT_TRUE(WriteSnapshotFile(directory_ / "snapshot", snapshot).ok());
  std::string newer = Content(directory_ / "snapshot");
  newer[8] = 2;
  Overwrite(directory_ / "snapshot", newer);
  auto read = ReadSnapshotFile(directory_ / "snapshot");
  EXPECT_EQ(read.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(read.status().ToString().find("version 2"), std::string::npos) << read.status();
}

// Whoever skips what a newer leader wrote has another state than the others from then on.
TEST_F(StateMachineTest, ACommandOfANewerVersionStopsThisOne) {
  v1::MetadataCommand unknown;
  unknown.GetReflection()->MutableUnknownFields(&unknown)->AddLengthDelimited(1000, "of tomorrow");
  v1::MetadataCommand further;
  further.mutable_advance_migration()->set_id(1);
  further.mutable_advance_migration()->set_to(static_cast<v1::Migration::Stage>(99));
  auto machine = Open();
  Set(*machine, "a", "1");
  for (const v1::MetadataCommand& command : {unknown, further}) {
    const std::string data = command.SerializeAsString();
    const std::vector<replication::CommittedEntry> batch{{Position(3), Term(1), data, false}};
    std::vector<replication::ApplyResult> results(1);
    const absl::Status status = machine->Apply(batch, results);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_NE(status.ToString().find("start a newer version"), std::string::npos) << status;
    EXPECT_EQ(machine->AppliedPosition(), Position(2));
  }
}

TEST_F(StateMachineTest, WaitsEndWhenTheStateIsThereOrWithTheDeadline) {
  auto machine = Open();
  const auto now = Clock::System()->Now();
  EXPECT_FALSE(machine->WaitUntil(now + std::chrono::milliseconds(20), [](const State&) { return false; }));
  std::thread waiter([&] {
    EXPECT_TRUE(machine->WaitUntil(now + std::chrono::seconds(60),
                                   [](const State& state) { return state.Setting("a") == "1"; }));
  });
  Set(*machine, "a", "1");
  waiter.join();
  machine->Interrupt();
  EXPECT_FALSE(machine->WaitUntil(now + std::chrono::seconds(60), [](const State&) { return false; }));
}

TEST_F(StateMachineTest, AnEntryThatIsNoCommandIsDamage) {
  auto machine = Open();
  std::vector<replication::CommittedEntry> batch(1);
  batch[0] = {Position(1), Term(1), "\xff\xff\xff", false};
  std::vector<replication::ApplyResult> results(1);
  EXPECT_EQ(machine->Apply(batch, results).code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace terrane::metadata
