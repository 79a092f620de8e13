#include "common/disk_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <future>

#include "common/disk_faults.h"
#include "common/process.h"
#include "common/status.h"
#include "support/temp_directory.h"

namespace terrane {
namespace {

using ::testing::HasSubstr;
constexpr DiskOperation kRead = DiskOperation::kRead;
constexpr DiskOperation kWrite = DiskOperation::kWrite;
constexpr DiskOperation kSync = DiskOperation::kSync;

DiskRules Rules(std::string_view text) {
  auto rules = ParseDiskRules(text);
  EXPECT_TRUE(rules.ok()) << rules.status();
  return DiskRules(*std::move(rules));
}

TEST(DiskRulesTest, FilesAreToldByTheirNames) {
  EXPECT_EQ(DiskFilesOf("/d/raft/log/segment-0000000001.log"), DiskFiles::kLog);
  EXPECT_EQ(DiskFilesOf("/d/raft/log/segment-0000000001.log.new"), DiskFiles::kLog);
  EXPECT_EQ(DiskFilesOf("/d/store/db-1/000012.log"), DiskFiles::kWal);
  EXPECT_EQ(DiskFilesOf("/d/store/db-1/000013.sst"), DiskFiles::kSst);
  EXPECT_EQ(DiskFilesOf("/d/store/segments/c7-x-1-documents.sst.part"), DiskFiles::kSst);
  EXPECT_EQ(DiskFilesOf("/d/store/db-1/MANIFEST-000004"), DiskFiles::kManifest);
  EXPECT_EQ(DiskFilesOf("/d/raft/identity"), DiskFiles::kOther);
  EXPECT_EQ(DiskFilesOf("/d/raft/log"), DiskFiles::kOther);
  EXPECT_EQ(DiskFilesOf("CURRENT"), DiskFiles::kOther);
}

TEST(DiskRulesTest, ARuleCountsWhatItSpeaksOf) {
  DiskRules rules = Rules("write log from 2 times 2 fail");
  EXPECT_FALSE(rules.Decide(kWrite, DiskFiles::kLog, 1).fail);
  EXPECT_FALSE(rules.Decide(kWrite, DiskFiles::kWal, 1).fail);
  EXPECT_FALSE(rules.Decide(kSync, DiskFiles::kLog, 0).fail);
  EXPECT_TRUE(rules.Decide(kWrite, DiskFiles::kLog, 1).fail);
  EXPECT_TRUE(rules.Decide(kWrite, DiskFiles::kLog, 1).fail);
  EXPECT_FALSE(rules.Decide(kWrite, DiskFiles::kLog, 1).fail);
}

TEST(DiskRulesTest, WithoutTimesItGoesOn) {
  DiskRules rules = Rules("sync any from 3 stall");
  for (int i = 1; i <= 10; ++i) EXPECT_EQ(rules.Decide(kSync, DiskFiles::kSst, 0).stall, i >= 3) << i;
}

TEST(DiskRulesTest, SeveralRulesAddUp) {
  DiskRules rules = Rules("sync any delay 20ms  # slow\n\nsync wal delay 1s\nsync wal fail\n");
  DiskVerdict verdict = rules.Decide(kSync, DiskFiles::kWal, 0);
  EXPECT_EQ(verdict.delay, std::chrono::milliseconds(1020));
  EXPECT_TRUE(verdict.fail);
  EXPECT_EQ(verdict.rules, (std::vector<size_t>{0, 1, 2}));
  verdict = rules.Decide(kSync, DiskFiles::kLog, 0);
  EXPECT_EQ(verdict.delay, std::chrono::milliseconds(20));
  EXPECT_FALSE(verdict.fail);
}

TEST(DiskRulesTest, AFullDiskTakesWhatFits) {
  DiskRules rules = Rules("write any full 100");
  EXPECT_EQ(rules.Room(), 100u);
  EXPECT_FALSE(rules.Decide(kWrite, DiskFiles::kLog, 60).full);
  EXPECT_EQ(rules.Room(), 40u);
  const DiskVerdict verdict = rules.Decide(kWrite, DiskFiles::kSst, 60);
  EXPECT_TRUE(verdict.full);
  EXPECT_EQ(verdict.fits, 40u);
  EXPECT_EQ(rules.Room(), 0u);
  EXPECT_EQ(rules.Decide(kWrite, DiskFiles::kSst, 1).fits, 0u);
  // In place there is room.
  EXPECT_FALSE(rules.Decide(kWrite, DiskFiles::kLog, 0).full);
  EXPECT_FALSE(rules.Decide(kSync, DiskFiles::kLog, 0).full);
  EXPECT_EQ(Rules("sync any stall").Room(), std::nullopt);
  EXPECT_EQ(Rules("write log full 10").Room(), std::nullopt);
}

TEST(DiskRulesTest, AFlipChangesOneBit) {
  DiskRules rules = Rules("read sst times 1 flip");
  const DiskVerdict verdict = rules.Decide(kRead, DiskFiles::kSst, 0);
  ASSERT_TRUE(verdict.flip.has_value());
  std::string bytes(100, '\0');
  FlipBit(bytes.data(), bytes.size(), *verdict.flip);
  int bits = 0;
  for (char c : bytes) bits += __builtin_popcount(static_cast<unsigned char>(c));
  EXPECT_EQ(bits, 1);
  EXPECT_FALSE(rules.Decide(kRead, DiskFiles::kSst, 0).flip.has_value());
}

TEST(DiskRulesTest, WhatMakesNoSenseIsRefusedByLine) {
  const auto refused = [](std::string_view text, const char* why) {
    const auto rules = ParseDiskRules(text);
    EXPECT_EQ(rules.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(MessageOf(rules.status())), HasSubstr(why)) << text;
  };
  refused("sync any stall\nopen any fail", "line 2 of the disk rules (open any fail): expected read, write or sync");
  refused("sync logs fail", "expected log, wal, sst, manifest, other or any");
  refused("sync log from 0 fail", "expected a number from 1 behind `from`");
  refused("sync log times x fail", "expected a number from 1 behind `times`");
  refused("sync log", "expected fail, stall");
  refused("write log flip", "expected fail, stall");
  refused("read log full 10", "expected fail, stall");
  refused("write log full lots", "expected a size behind `full`");
  refused("sync log delay 5", "expected a duration behind `delay`");
  refused("sync log fail now", "expected nothing behind the action");
}

class DiskFaultsTest : public ::testing::Test {
 protected:
  void Write(std::string_view rules) { ASSERT_TRUE(WriteFileAtomically(file(), rules).ok()); }
  std::filesystem::path file() const { return directory_ / "rules"; }

  TempDirectory directory_{"disk-faults"};
};

TEST_F(DiskFaultsTest, TheFileHoldsFromItsRenameOn) {
  auto faults = DiskFaults::Create({}, file());
  ASSERT_TRUE(faults.ok()) << faults.status();
  EXPECT_FALSE((*faults)->Before(kWrite, "segment-1.log").fail);
  Write("write log from 2 fail");
  EXPECT_FALSE((*faults)->Before(kWrite, "segment-1.log").fail);
  EXPECT_TRUE((*faults)->Before(kWrite, "segment-1.log").fail);
  Write("write log from 2 fail");  // counts anew
  EXPECT_FALSE((*faults)->Before(kWrite, "segment-1.log").fail);
  EXPECT_TRUE((*faults)->Before(kWrite, "segment-1.log").fail);
  std::filesystem::remove(file());
  EXPECT_FALSE((*faults)->Before(kWrite, "segment-1.log").fail);
  Write("write any full 5");
  EXPECT_EQ((*faults)->Room(), 5u);
}

TEST_F(DiskFaultsTest, WhatIsStalledIsJudgedAnew) {
  Write("sync any stall");
  auto faults = DiskFaults::Create({}, file());
  ASSERT_TRUE(faults.ok()) << faults.status();
  auto stalled = std::async(std::launch::async, [&] { return (*faults)->Before(kSync, "000001.log"); });
  EXPECT_FALSE((*faults)->Before(kWrite, "000001.log").stall);
  EXPECT_EQ(stalled.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  Write("sync any fail");
  const DiskVerdict verdict = stalled.get();
  EXPECT_TRUE(verdict.fail);
  EXPECT_FALSE(verdict.stall);
}

TEST_F(DiskFaultsTest, SomeRulesHoldAlways) {
  auto always = ParseDiskRules("sync any delay 5ms");
  ASSERT_TRUE(always.ok());
  auto faults = DiskFaults::Create(*always, "");
  ASSERT_TRUE(faults.ok()) << faults.status();
  EXPECT_EQ((*faults)->Before(kSync, "x").delay, std::chrono::milliseconds(5));
  faults = DiskFaults::Create(*always, file());
  Write("sync any delay 1ms");
  EXPECT_EQ((*faults)->Before(kSync, "x").delay, std::chrono::milliseconds(6));
}

TEST_F(DiskFaultsTest, AWrongFileIsRefused) {
  Write("sync");
  EXPECT_EQ(DiskFaults::Create({}, file()).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace terrane
