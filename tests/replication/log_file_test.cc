// The log file: what it keeps, what it cuts off, and what it refuses.
#include "replication/log_file.h"

#include <atomic>
#include <random>

#include "common/crc32c.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/fault_file_system.h"

namespace terrane::replication {
namespace {

using testing::FaultFileSystem;
using ::testing::HasSubstr;

constexpr uint64_t kIncarnation = 77;

class LogFileTest : public ::testing::Test {
 protected:
  LogFileTest() {
    options_.segment_bytes = 16 << 10;
    options_.incarnation = kIncarnation;
    auto log = LogFile::Create(&disk_, kDirectory, options_, {Term(1), ReplicaId(1)}, {});
    EXPECT_TRUE(log.ok()) << log.status();
    log_ = *std::move(log);
  }

  // Appends one entry of `size` bytes of `letter` in one batch.
  absl::Status Append(size_t size = 10, Term term = Term(1), char letter = 'x') {
    const std::string data(size, letter);
    LogBatch batch;
    batch.entries.push_back({Position(log_->last().position.value() + 1), term, 0, data});
    return log_->Append(std::move(batch));
  }
  void AppendMany(int n, size_t size = 10) {
    for (int i = 0; i < n; ++i) ASSERT_TRUE(Append(size).ok());
  }
  absl::StatusOr<RecoveredLog> Reopen() {
    log_.reset();
    RecoveredLog recovered;
    auto log = LogFile::Open(&disk_, kDirectory, options_, &recovered);
    if (!log.ok()) return log.status();
    log_ = *std::move(log);
    return recovered;
  }
  // The log is refused with a message that names the file and contains `what`.
  void ExpectDamage(std::string_view file, std::string_view what) {
    auto recovered = Reopen();
    ASSERT_FALSE(recovered.ok());
    EXPECT_TRUE(absl::IsDataLoss(recovered.status())) << recovered.status();
    EXPECT_THAT(recovered.status().ToString(), HasSubstr(std::string(file)));
    EXPECT_THAT(recovered.status().ToString(), HasSubstr(std::string(what)));
  }
  static std::filesystem::path Segment(uint64_t id) { return std::filesystem::path(kDirectory) / SegmentFileName(id); }

  static constexpr const char* kDirectory = "/d/log";
  FaultFileSystem disk_;
  LogFile::Options options_;
  std::unique_ptr<LogFile> log_;
};

TEST_F(LogFileTest, KeepsEntriesTermAndVote) {
  ASSERT_TRUE(Append(5, Term(1)).ok());
  LogBatch batch;
  batch.hard_state = LogHardState{Term(3), ReplicaId(2)};
  batch.entries = {{Position(2), Term(2), 1, ""}, {Position(3), Term(3), 0, "hello"}};
  ASSERT_TRUE(log_->Append(batch).ok());

  auto recovered = Reopen();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_EQ(recovered->hard_state, (LogHardState{Term(3), ReplicaId(2)}));
  ASSERT_EQ(recovered->entries.size(), 3u);
  EXPECT_EQ(recovered->entries[1], (LogEntry{Position(2), Term(2), 1, ""}));
  EXPECT_EQ(recovered->entries[2], (LogEntry{Position(3), Term(3), 0, "hello"}));
  EXPECT_EQ(recovered->base, (LogPoint{}));
}

TEST_F(LogFileTest, EntriesOfEverySizeAroundASector) {
  for (size_t size = 400; size < 1100; size += 7) ASSERT_TRUE(Append(size).ok());
  ASSERT_TRUE(Append(0).ok());
  ASSERT_TRUE(Append(100'000).ok());  // larger than a segment
  ASSERT_TRUE(Append(1).ok());
  const size_t count = log_->last().position.value();

  auto recovered = Reopen();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  ASSERT_EQ(recovered->entries.size(), count);
  EXPECT_EQ(recovered->entries[count - 2].data, std::string(100'000, 'x'));
  for (size_t i = 0; i + 3 < count; ++i) EXPECT_EQ(recovered->entries[i].data.size(), 400 + 7 * i);
}

TEST_F(LogFileTest, TruncatesAndGoesOn) {
  AppendMany(5);
  LogBatch batch;
  batch.truncate_to = LogPoint{Position(2), Term(1)};
  batch.entries = {{Position(3), Term(4), 0, "other"}};
  ASSERT_TRUE(log_->Append(batch).ok());

  auto recovered = Reopen();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_EQ(recovered->last(), (LogPoint{Position(3), Term(4)}));
  EXPECT_EQ(recovered->entries[2].data, "other");
}

TEST_F(LogFileTest, OneWriteAndOneSyncForABatch) {
  AppendMany(1);
  const uint64_t syncs = disk_.syncs();
  const uint64_t writes = disk_.writes();
  AppendMany(3);
  EXPECT_EQ(disk_.syncs() - syncs, 3u);
  EXPECT_EQ(disk_.writes() - writes, 3u);
}

TEST_F(LogFileTest, CutRemovesWholeSegmentsBehindTheDurablePosition) {
  AppendMany(200, 500);
  ASSERT_GT(log_->segments(), 5u);
  auto base = log_->Cut(Position(100), 0);
  ASSERT_TRUE(base.ok()) << base.status();
  EXPECT_GT(base->position, Position(50));
  EXPECT_LE(base->position, Position(100));
  AppendMany(3);

  auto recovered = Reopen();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_EQ(recovered->base, *base);
  EXPECT_EQ(recovered->entries.front().position.value(), base->position.value() + 1);
  EXPECT_EQ(recovered->last().position, Position(203));
  EXPECT_EQ(recovered->hard_state, (LogHardState{Term(1), ReplicaId(1)}));
}

TEST_F(LogFileTest, CutKeepsAsMuchAsAsked) {
  AppendMany(200, 500);
  const uint64_t keep = 3 * options_.segment_bytes;
  ASSERT_TRUE(log_->Cut(Position(200), keep).ok());
  EXPECT_GE(log_->bytes(), keep);
  EXPECT_LE(log_->bytes(), keep + options_.segment_bytes);
}

TEST_F(LogFileTest, CutNeverBeginsBehindWhatWasTakenBack) {
  // Segment k begins after position p; then entries before p are taken back and written anew in k.
  while (log_->segments() < 3) ASSERT_TRUE(Append(500).ok());
  const uint64_t p = log_->last().position.value() - 1;
  LogBatch batch;
  batch.truncate_to = LogPoint{Position(p - 3), Term(1)};
  batch.entries = {{Position(p - 2), Term(2), 0, "new"}};
  ASSERT_TRUE(log_->Append(batch).ok());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Append(10, Term(2)).ok());
  auto base = log_->Cut(log_->last().position, 0);
  ASSERT_TRUE(base.ok());

  auto recovered = Reopen();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_EQ(recovered->base, *base);
  EXPECT_LT(recovered->base.position, Position(p - 2));
  EXPECT_EQ(recovered->entries[p - 2 - recovered->base.position.value() - 1].data, "new");
}

// What is left when the power goes in the middle of a cut must not begin behind what was taken back.
TEST_F(LogFileTest, APowerCutAtAnyPlaceOfACutIsNoObstacle) {
  std::mt19937_64 random(7);
  int between = 0;
  bool whole = false;
  for (int n = 1; !whole; ++n) {
    for (int round = 0; round < 5; ++round) {
      SCOPED_TRACE(n);
      log_.reset();
      std::atomic<int> left{0};
      disk_.SetOperationHook([&] {
        if (left > 0 && --left == 0) disk_.PowerOff(&random);
      });
      auto log = LogFile::Create(&disk_, kDirectory, options_, {Term(1), ReplicaId(1)}, {});
      ASSERT_TRUE(log.ok()) << log.status();
      log_ = *std::move(log);
      while (log_->segments() < 3) ASSERT_TRUE(Append(500).ok());
      const uint64_t p = log_->last().position.value() - 1;
      LogBatch batch;
      batch.truncate_to = LogPoint{Position(p - 3), Term(1)};
      batch.entries = {{Position(p - 2), Term(2), 0, "new"}};
      ASSERT_TRUE(log_->Append(batch).ok());
      while (log_->segments() < 5) ASSERT_TRUE(Append(500, Term(2)).ok());
      const LogPoint last = log_->last();
      left = n;
      whole = log_->Cut(last.position, 0).ok();
      left = 0;
      log_.reset();
      disk_.PowerOn();
      disk_.SetOperationHook(nullptr);
      const size_t files = disk_.List(kDirectory)->size();
      auto recovered = Reopen();
      ASSERT_TRUE(recovered.ok()) << recovered.status();
      EXPECT_EQ(recovered->last(), last);
      if (files > 1 && files < 5) ++between;
    }
  }
  EXPECT_GT(between, 0) << "it never went in the middle";
}

TEST_F(LogFileTest, ResetBeginsBehindACheckpoint) {
  AppendMany(20, 500);
  ASSERT_TRUE(log_->Reset({Position(1000), Term(7)}, "members").ok());
  ASSERT_TRUE(Append(3, Term(7)).ok());

  auto recovered = Reopen();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_EQ(recovered->base, (LogPoint{Position(1000), Term(7)}));
  EXPECT_EQ(recovered->base_configuration, "members");
  EXPECT_EQ(recovered->last().position, Position(1001));
  EXPECT_EQ(recovered->segments.size(), 1u);
}

TEST_F(LogFileTest, T50_AfterAFailedSyncNothingIsTriedAgain) {
  AppendMany(3);
  disk_.FailSync(1);
  EXPECT_FALSE(Append().ok());
  const uint64_t syncs = disk_.syncs();
  const uint64_t writes = disk_.writes();

  EXPECT_FALSE(Append().ok());
  EXPECT_FALSE(log_->Cut(Position(3), 0).ok());

  EXPECT_EQ(disk_.syncs(), syncs);
  EXPECT_EQ(disk_.writes(), writes);
}

TEST_F(LogFileTest, AFailedWriteEndsIt) {
  disk_.FailWrite(1);
  EXPECT_FALSE(Append().ok());
  EXPECT_FALSE(Append().ok());
}

// --- T49, T72: an honest power cut is accepted, damage is not ---

TEST_F(LogFileTest, T72_ATornLastBatchIsCutOff) {
  AppendMany(3);
  ASSERT_TRUE(Append(3000).ok());
  const std::string whole = disk_.Content(Segment(1));
  const uint64_t first_sector = 1 + 1 + 3;  // header, hard state, three entries
  for (uint64_t missing = 0; missing < 6; ++missing) {
    disk_.SetContent(Segment(1), whole);
    disk_.ZeroSector(Segment(1), first_sector + missing);
    auto recovered = Reopen();
    ASSERT_TRUE(recovered.ok()) << missing << " " << recovered.status();
    EXPECT_EQ(recovered->last().position, Position(3)) << missing;
    // What was torn does not come back with the next batch.
    ASSERT_TRUE(Append(1).ok());
    recovered = Reopen();
    ASSERT_TRUE(recovered.ok()) << missing << " " << recovered.status();
    EXPECT_EQ(recovered->last().position, Position(4)) << missing;
    EXPECT_EQ(recovered->entries.back().data, "x");
  }
}

TEST_F(LogFileTest, T49_AFlippedBitAnywhereIsRefusedByName) {
  AppendMany(3);
  ASSERT_TRUE(Append(3000).ok());
  const std::string whole = disk_.Content(Segment(1));
  std::mt19937 random(5);
  const uint64_t used = (1 + 1 + 3 + 7) * kSectorBytes;
  for (int i = 0; i < 600; ++i) {
    const uint64_t offset = i < 300 ? random() % used : random() % whole.size();
    disk_.SetContent(Segment(1), whole);
    disk_.FlipBit(Segment(1), offset, static_cast<int>(random() % 8));
    auto recovered = Reopen();
    ASSERT_FALSE(recovered.ok()) << "bit at " << offset;
    EXPECT_THAT(recovered.status().ToString(), HasSubstr(SegmentFileName(1)));
    EXPECT_THAT(recovered.status().ToString(), HasSubstr("offset"));
  }
}

TEST_F(LogFileTest, T72_AZeroedSyncedSectorIsRefused) {
  AppendMany(5, 1500);
  const std::string whole = disk_.Content(Segment(1));
  for (uint64_t sector = 1; sector < 1 + 1 + 4 * 4; ++sector) {  // all but the last batch
    disk_.SetContent(Segment(1), whole);
    disk_.ZeroSector(Segment(1), sector);
    ExpectDamage(SegmentFileName(1), "offset");
  }
  disk_.SetContent(Segment(1), whole);
  disk_.ZeroSector(Segment(1), 0);
  ExpectDamage(SegmentFileName(1), "the header is gone");
}

TEST_F(LogFileTest, T72_AMissingSegmentIsRefusedWhicheverItIs) {
  while (log_->segments() < 4) ASSERT_TRUE(Append(500).ok());
  for (uint64_t id = 1; id <= 4; ++id) {
    const std::string content = disk_.Content(Segment(id));
    disk_.RemoveFile(Segment(id));
    ExpectDamage(SegmentFileName(id), "missing");
    disk_.SetContent(Segment(id), content);
  }
  ASSERT_TRUE(log_ == nullptr && Reopen().ok());
  ASSERT_TRUE(log_->Cut(log_->last().position, 0).ok());
  const uint64_t last = 4;
  disk_.RemoveFile(Segment(last));
  EXPECT_FALSE(Reopen().ok());
}

TEST_F(LogFileTest, T72_AnEmptiedOrShortenedSegmentIsRefused) {
  while (log_->segments() < 3) ASSERT_TRUE(Append(500).ok());
  for (uint64_t id = 1; id <= 3; ++id) {
    const std::string content = disk_.Content(Segment(id));
    disk_.SetContent(Segment(id), std::string(content.size(), '\0'));
    ExpectDamage(SegmentFileName(id), "offset 0");
    disk_.SetContent(Segment(id), content.substr(0, content.size() - kSectorBytes));
    ExpectDamage(SegmentFileName(id), "bytes instead of");
    disk_.SetContent(Segment(id), "");
    ExpectDamage(SegmentFileName(id), "cut short");
    disk_.SetContent(Segment(id), content);
  }
  EXPECT_TRUE(Reopen().ok());
}

TEST_F(LogFileTest, T49_ABatchFromElsewhereIsRefused) {
  AppendMany(6);
  const std::string whole = disk_.Content(Segment(1));
  std::string swapped = whole;
  std::swap_ranges(swapped.begin() + 3 * kSectorBytes, swapped.begin() + 4 * kSectorBytes,
                   swapped.begin() + 4 * kSectorBytes);
  disk_.SetContent(Segment(1), swapped);
  ExpectDamage(SegmentFileName(1), "batch");
}

TEST_F(LogFileTest, T49_ALogOfTheSameShapeWithOtherBytesBreaksTheChain) {
  AppendMany(6);
  const std::string here = disk_.Content(Segment(1));
  // Another history of this very directory: same numbers, other content of batch 2.
  auto other = LogFile::Create(&disk_, "/d/other", options_, {Term(1), ReplicaId(1)}, {});
  ASSERT_TRUE(other.ok());
  for (uint64_t i = 1; i <= 6; ++i) {
    LogBatch batch;
    batch.entries = {{Position(i), Term(1), 0, "yyyyyyyyyy"}};
    ASSERT_TRUE((*other)->Append(batch).ok());
  }
  const std::string there = disk_.Content("/d/other/" + SegmentFileName(1));
  std::string mixed = here;
  mixed.replace(4 * kSectorBytes, kSectorBytes, there, 4 * kSectorBytes, kSectorBytes);
  disk_.SetContent(Segment(1), mixed);
  ExpectDamage(SegmentFileName(1), "wrong checksum");
}

TEST_F(LogFileTest, T51_ASegmentOfAnotherDirectoryIsRefused) {
  AppendMany(3);
  options_.incarnation = kIncarnation + 1;
  auto recovered = Reopen();
  EXPECT_TRUE(absl::IsFailedPrecondition(recovered.status())) << recovered.status();
  EXPECT_THAT(recovered.status().ToString(), HasSubstr("belongs to another directory"));
}

TEST_F(LogFileTest, ANewerFormatIsRefusedByName) {
  std::string sector = disk_.Content(Segment(1)).substr(0, kSectorBytes);
  auto header = DecodeSegmentHeader(sector);
  ASSERT_TRUE(header.ok());
  const uint32_t newer = kLogFormatVersion + 1;
  std::memcpy(sector.data() + 8, &newer, 4);
  const uint32_t crc = Crc32c(std::string_view(sector).substr(0, kSectorBytes - 4));
  std::memcpy(sector.data() + kSectorBytes - 4, &crc, 4);
  disk_.Overwrite(Segment(1), 0, sector);
  auto recovered = Reopen();
  EXPECT_TRUE(absl::IsFailedPrecondition(recovered.status())) << recovered.status();
  EXPECT_THAT(recovered.status().ToString(), HasSubstr("newer version"));
}

// Whatever instant the power goes at: what was acknowledged is there, and the log opens.
TEST_F(LogFileTest, T72_PowerCutsAtRandomInstantsLoseNothingAndAreNeverRefused) {
  int torn = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    std::mt19937_64 random(seed);
    FaultFileSystem disk;
    const std::filesystem::path directory = "/d/log";
    LogFile::Options options;
    options.segment_bytes = 8 << 10;
    options.incarnation = seed;
    auto created = LogFile::Create(&disk, directory, options, {Term(1), ReplicaId(1)}, {});
    ASSERT_TRUE(created.ok());
    std::unique_ptr<LogFile> log = *std::move(created);
    std::vector<std::string> acknowledged;
    uint64_t cut_to = 0;
    for (int round = 0; round < 4; ++round) {
      // The cut: a sync or a write fails at a random place, then the power goes. Or it goes before a sync has done
      // anything, and some sectors of what was written are there.
      const int instant = static_cast<int>(1 + random() % 25);
      std::atomic<int> syncs_left{instant};
      std::mt19937_64 at_instant(random());
      switch (random() % 4) {
        case 0:
          disk.FailSync(instant);
          break;
        case 1:
          disk.FailWrite(instant);
          break;
        default:
          disk.SetSyncHook([&](const auto&) {
            if (--syncs_left == 0) disk.PowerCut(&at_instant);
          });
      }
      std::string attempted;
      for (int step = 0; step < 100; ++step) {
        if (random() % 10 == 0 && !acknowledged.empty()) {
          const uint64_t durable = cut_to + random() % (acknowledged.size() - cut_to + 1);
          if (!log->Cut(Position(durable), 0).ok()) break;
          cut_to = std::max(cut_to, log->base().position.value());
          continue;
        }
        attempted.assign(random() % 3000, static_cast<char>('a' + random() % 26));
        LogBatch batch;
        batch.entries = {{Position(acknowledged.size() + 1), Term(1), 0, attempted}};
        if (!log->Append(batch).ok()) break;
        acknowledged.push_back(attempted);
        attempted.clear();
      }
      disk.FailSync(0);
      disk.FailWrite(0);
      disk.PowerCut(&random);
      log.reset();
      disk.SetSyncHook(nullptr);
      RecoveredLog recovered;
      auto opened = LogFile::Open(&disk, directory, options, &recovered);
      ASSERT_TRUE(opened.ok()) << "seed " << seed << ": " << opened.status();
      log = *std::move(opened);
      torn += recovered.torn_bytes > 0;
      ASSERT_GE(recovered.last().position.value(), acknowledged.size()) << "seed " << seed;
      ASSERT_LE(recovered.last().position.value(), acknowledged.size() + 1) << "seed " << seed;
      if (recovered.last().position.value() > acknowledged.size()) acknowledged.push_back(attempted);
      for (const LogEntry& entry : recovered.entries) {
        ASSERT_EQ(entry.data, acknowledged[entry.position.value() - 1]) << "seed " << seed;
      }
      cut_to = recovered.base.position.value();
    }
  }
  EXPECT_GT(torn, 100);
}

}  // namespace
}  // namespace terrane::replication
