// Holes in the write-ahead log: what a power cut leaves of writes that were never synced.
#include "storage/wal_chain.h"

#include <fcntl.h>

#include <vector>

#include "storage/database.h"
#include "support.h"

namespace terrane::storage {
namespace {

using Processing = rocksdb::WalFilter::WalProcessingOption;

// The chain alone, with writes as a log file would give them.
class WalChainTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kStateId = 4;

  static WalChain Chain(uint64_t flushed) {
    WalChain chain(flushed);
    chain.ColumnFamilyLogNumberMap({}, {{"documents", 1}, {FamilyName(Family::kState), kStateId}});
    return chain;
  }
  // A batch without a family's handle cannot be filled but by way of its bytes: a header of 12, then Put in a family.
  static rocksdb::WriteBatch Batch(const std::vector<std::tuple<uint32_t, std::string, std::string>>& puts) {
    std::string bytes(12, '\0');
    bytes[8] = static_cast<char>(puts.size());
    for (const auto& [family, key, value] : puts) {
      bytes += '\x05';
      bytes += static_cast<char>(family);
      for (const std::string& part : {key, value}) {
        bytes += static_cast<char>(part.size());
        bytes += part;
      }
    }
    return rocksdb::WriteBatch(bytes);
  }
  static Processing See(WalChain* chain, const rocksdb::WriteBatch& batch) {
    rocksdb::WriteBatch changed;
    bool is_changed = false;
    return chain->LogRecordFound(7, "000007.log", batch, &changed, &is_changed);
  }
  static Processing See(WalChain* chain, uint64_t number) {
    return See(chain, Batch({{1, "key", "value"}, {kStateId, std::string(kWritesName), EncodeNumber(number)}}));
  }
};

TEST_F(WalChainTest, NumbersFollowOnEachOther) {
  WalChain chain = Chain(10);
  for (uint64_t number = 8; number < 20; ++number) EXPECT_EQ(See(&chain, number), Processing::kContinueProcessing);
  EXPECT_FALSE(chain.hole());
  EXPECT_EQ(See(&chain, 21), Processing::kCorruptedRecord);
  EXPECT_EQ(chain.hole(), 19u);
}

TEST_F(WalChainTest, TheFirstOneFollowsOnWhatIsInTables) {
  for (uint64_t number : {1, 10, 11}) {
    WalChain chain = Chain(10);
    EXPECT_EQ(See(&chain, number), Processing::kContinueProcessing) << number;
  }
  WalChain chain = Chain(10);
  EXPECT_EQ(See(&chain, 12), Processing::kCorruptedRecord);
  EXPECT_EQ(chain.hole(), 10u);
}

TEST_F(WalChainTest, WritesOfAnOlderProgramHaveNoNumbers) {
  WalChain chain = Chain(0);
  EXPECT_EQ(See(&chain, Batch({{1, std::string(kWritesName), EncodeNumber(500)}})), Processing::kContinueProcessing);
  EXPECT_EQ(See(&chain, 1), Processing::kContinueProcessing);
  EXPECT_EQ(See(&chain, 3), Processing::kCorruptedRecord);
}

// The same on a real log file. A record that ends where a block of 32 KiB ends, so that another one begins there; and
// zeros from some record before up to there, as of sectors that were never written.
class WalHoleTest : public StoreTest {
 protected:
  static constexpr uint64_t kBlock = 32 << 10;

  std::filesystem::path LogFile() const {
    std::filesystem::path newest;
    for (const auto& entry : std::filesystem::directory_iterator(options_.directory / "db-1")) {
      if (entry.path().extension() == ".log" && entry.path() > newest) newest = entry.path();
    }
    return newest;
  }
  uint64_t LogSize() const { return std::filesystem::file_size(LogFile()); }
  // One write with one document; returns where its record begins.
  uint64_t PutOne(size_t bytes) {
    const uint64_t begin = LogSize();
    auto batch = store_->NewBatch();
    const Position position = Next();
    batch->PutDocument(kCopy, Key(position.value()), "id", std::string(bytes, 'x'));
    EXPECT_TRUE(batch->Commit(position).ok());
    return begin;
  }
};

TEST_F(WalHoleTest, T72_ReplayEndsAtAHoleOfZeros) {
  ASSERT_NO_FATAL_FAILURE(Open());
  PutOne(1000);
  const uint64_t before = PutOne(1000);
  const uint64_t overhead = LogSize() - before - 1000;
  while (LogSize() < kBlock - 10000) PutOne(1000);
  const Position last = store_->AppliedPosition();
  const uint64_t hole = PutOne(1000);
  PutOne(1000);
  PutOne(kBlock - LogSize() - overhead);
  ASSERT_EQ(LogSize(), kBlock);
  for (int i = 0; i < 5; ++i) PutOne(1000);
  const std::filesystem::path log = LogFile();
  store_.reset();

  const int fd = open(log.c_str(), O_WRONLY);
  ASSERT_GE(fd, 0);
  const std::string zeros(kBlock - hole, '\0');
  ASSERT_EQ(pwrite(fd, zeros.data(), zeros.size(), static_cast<off_t>(hole)), static_cast<ssize_t>(zeros.size()));
  close(fd);

  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(store_->AppliedPosition(), last);
  EXPECT_EQ(Count(kCopy), static_cast<int64_t>(last.value()));
  // What was behind the hole does not come back, and numbering goes on.
  PutOne(1000);
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(store_->AppliedPosition(), Position(last.value() + 1));
  EXPECT_EQ(Count(kCopy), static_cast<int64_t>(last.value() + 1));
}

TEST_F(WalHoleTest, AStoreOfAnotherProcessIsNotLookedAt) {
  ASSERT_NO_FATAL_FAILURE(Open());
  const auto second = Store::Open(options_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition) << second.status();
}

}  // namespace
}  // namespace terrane::storage
