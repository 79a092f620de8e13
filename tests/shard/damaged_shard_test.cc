// What no power cut explains: a whole shard does not start on it, says which file, and changes nothing. T49, T72.
#include <gmock/gmock.h>

#include <filesystem>
#include <future>

#include "power_clients.h"
#include "support/temp_directory.h"

namespace terrane::shard {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class DamagedShardTest : public ::testing::Test {
 protected:
  DamagedShardTest() : world_(1), mover_(1, &world_) {
    shard_ = std::make_unique<PowerShard>(directory_.path(), "s1", nullptr, [](const absl::Status&) {});
    world_.shards = {shard_.get()};
  }
  ~DamagedShardTest() override { shard_.reset(); }

  // Some documents in several segments of the log, and an orderly stop.
  void SetUp() override {
    shard_->keep_log_bytes = 1 << 30;
    ASSERT_TRUE(shard_->Start().ok());
    ASSERT_TRUE(mover_.CreateChunk());
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(PowerClient(i, 1, &world_, &mover_).Fill());
    shard_->Stop();
    shard_->Destroy();
    const auto names = shard_->log_disk().List("/s1/log");
    ASSERT_TRUE(names.ok());
    for (const std::string& name : *names) {
      if (name.ends_with(".log")) segments_.push_back(std::filesystem::path("/s1/log") / name);
    }
    ASSERT_GE(segments_.size(), 4u);
  }
  // What the shard says when it is to start.
  std::string Start() {
    const absl::Status status = shard_->Start();
    return status.ok() ? "it starts" : status.ToString();
  }
  std::filesystem::path FirstTable() const {
    std::filesystem::path first;
    for (const auto& entry : std::filesystem::directory_iterator(directory_ / "db-1")) {
      if (entry.path().extension() == ".sst" && (first.empty() || entry.path() < first)) first = entry.path();
    }
    return first;
  }

  TempDirectory directory_{"damage"};
  std::unique_ptr<PowerShard> shard_;
  PowerWorld world_;
  PowerMover mover_;
  std::vector<std::filesystem::path> segments_;
};

TEST_F(DamagedShardTest, T49_AFlippedBitInTheLogIsRefusedByName) {
  shard_->log_disk().FlipBit(segments_[0], 2 * 512 + 100);
  EXPECT_THAT(Start(), AllOf(HasSubstr("DATA_LOSS: "), HasSubstr(segments_[0].string()), HasSubstr("offset")));
  shard_->log_disk().FlipBit(segments_[0], 2 * 512 + 100);
  EXPECT_EQ(Start(), "it starts");
}

TEST_F(DamagedShardTest, T72_AZeroedSyncedSectorOfTheLogIsRefusedByName) {
  shard_->log_disk().ZeroSector(segments_[0], 3);
  EXPECT_THAT(Start(), AllOf(HasSubstr("DATA_LOSS: "), HasSubstr(segments_[0].string()), HasSubstr("offset")));
}

TEST_F(DamagedShardTest, T72_AMissingSegmentIsRefusedByName) {
  for (const std::filesystem::path& segment : segments_) {
    const std::string content = shard_->log_disk().Content(segment);
    // The one that is made for later may be missing.
    if (content.find_first_not_of('\0') == std::string::npos) continue;
    shard_->log_disk().RemoveFile(segment);
    EXPECT_THAT(Start(), AllOf(HasSubstr("DATA_LOSS: "), HasSubstr(segment.string()), HasSubstr("missing")));
    shard_->log_disk().SetContent(segment, content);
  }
  EXPECT_EQ(Start(), "it starts");
}

TEST_F(DamagedShardTest, AMissingTableOfTheStoreIsRefusedByName) {
  const std::filesystem::path table = FirstTable();
  std::filesystem::rename(table, directory_ / "elsewhere");
  EXPECT_THAT(Start(), AllOf(HasSubstr("DATA_LOSS: "), HasSubstr(table.stem().string())));  // RocksDB says ".ldb"
  std::filesystem::rename(directory_ / "elsewhere", table);
  EXPECT_EQ(Start(), "it starts");
}

TEST_F(DamagedShardTest, AShortenedTableOfTheStoreIsRefusedByName) {
  const std::filesystem::path table = FirstTable();
  std::filesystem::resize_file(table, std::filesystem::file_size(table) / 2);
  EXPECT_THAT(Start(), AllOf(HasSubstr("DATA_LOSS: "), HasSubstr(table.filename().string())));
}

// With the whole log everything is applied again; without its beginning both sides are named.
TEST_F(DamagedShardTest, AnEmptyStoreBesideALogThatWasCutIsRefusedByName) {
  for (const char* name : {"current", "db-1", "segments"}) std::filesystem::remove_all(directory_ / name);
  ASSERT_EQ(Start(), "it starts");
  std::promise<absl::Status> cut;
  shard_->host().proposer().log()->CutLog([&](absl::Status status) { cut.set_value(std::move(status)); });
  ASSERT_TRUE(cut.get_future().get().ok());
  shard_->Stop();
  shard_->Destroy();
  for (const char* name : {"current", "db-1", "segments"}) std::filesystem::remove_all(directory_ / name);
  EXPECT_THAT(Start(), AllOf(HasSubstr("the state machine stands at position 0"), HasSubstr("/s1/log holds")));
}

}  // namespace
}  // namespace terrane::shard
