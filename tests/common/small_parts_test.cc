#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <set>
#include <thread>

#include "common/histogram.h"
#include "common/process.h"
#include "common/random.h"
#include "common/units.h"
#include "support/temp_directory.h"

namespace terrane {
namespace {

// Made before any thread is, as in a main.
StopSignal stop;

TEST(RandomTest, TheSeedDecides) {
  Random a(7), b(7), c(8);
  EXPECT_EQ(a.Bytes(33), b.Bytes(33));
  EXPECT_NE(a.Next(), c.Next());
  for (int i = 0; i < 1000; ++i) {
    EXPECT_LT(a.Below(3), 3u);
    const int64_t n = a.Between(-2, 2);
    EXPECT_TRUE(n >= -2 && n <= 2);
    EXPECT_LT(a.Fraction(), 1.0);
  }
}

TEST(RandomTest, IdsDiffer) {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(NewUniqueId());
  EXPECT_EQ(ids.size(), 1000u);
  EXPECT_EQ(ids.begin()->size(), 32u);
}

TEST(UnitsTest, ReadsAndWrites) {
  EXPECT_EQ(ParseDuration("1m30s").value(), std::chrono::seconds(90));
  EXPECT_FALSE(ParseDuration("90").ok());
  EXPECT_FALSE(ParseDuration("-1s").ok());
  EXPECT_EQ(ParseBytes("16MiB").value(), 16 << 20);
  EXPECT_EQ(ParseBytes("4096").value(), 4096);
  EXPECT_FALSE(ParseBytes("9223372036854775807GiB").ok());
  EXPECT_FALSE(ParseBytes("x").ok());
  EXPECT_EQ(FormatCount(1'000'000), "1,000,000");
  EXPECT_EQ(FormatCount(-999), "-999");
  EXPECT_EQ(FormatCount(-1000), "-1,000");
  EXPECT_EQ(FormatBytes(812), "812 B");
  EXPECT_EQ(FormatBytes(66'100'000), "66 MB");
  EXPECT_EQ(FormatBytes(610'000'000), "0.61 GB");
  EXPECT_EQ(FormatMillis(0), "0 ms");
  EXPECT_EQ(FormatMillis(6.13), "6.1 ms");
  EXPECT_EQ(FormatMillis(1400), "1.4 s");
  EXPECT_EQ(FormatMillis(38 * 60e3), "38 min");
}

TEST(HistogramTest, PercentilesAreWithinABucket) {
  Histogram h;
  EXPECT_EQ(h.Percentile(0.5), 0u);
  for (uint64_t i = 1; i <= 100'000; ++i) h.Record(i);
  EXPECT_EQ(h.Count(), 100'000u);
  EXPECT_EQ(h.Max(), 100'000u);
  EXPECT_NEAR(h.Percentile(0.5), 50'000, 50'000 * 0.04);
  EXPECT_NEAR(h.Percentile(0.99), 99'000, 99'000 * 0.04);
  EXPECT_EQ(h.Percentile(1.0), 100'000u);
  h.Record(~uint64_t{0});
  EXPECT_EQ(h.Max(), ~uint64_t{0});
  EXPECT_EQ(h.Percentile(1.0), ~uint64_t{0});
}

TEST(HistogramTest, MergeAddsUp) {
  Histogram a, b;
  a.Record(3);
  b.Record(5);
  b.Record(1'000'000);
  a.Merge(b);
  EXPECT_EQ(a.Count(), 3u);
  EXPECT_EQ(a.Sum(), 1'000'008u);
  EXPECT_EQ(a.Percentile(0.5), 5u);
  EXPECT_EQ(a.Max(), 1'000'000u);
}

TEST(ProcessTest, StopSignalIsWaitedFor) {
  EXPECT_EQ(stop.WaitFor(std::chrono::milliseconds(1)), 0);
  StopSignal::RequestStop();
  EXPECT_EQ(stop.Wait(), SIGTERM);
  std::thread other([] { kill(getpid(), SIGINT); });
  EXPECT_EQ(stop.WaitFor(std::chrono::seconds(10)), SIGINT);
  other.join();
}

TEST(ProcessTest, ExitCodes) {
  EXPECT_EQ(ExitCodeFor(absl::OkStatus()), kExitOk);
  EXPECT_EQ(ExitCodeFor(absl::NotFoundError("")), kExitUsage);
  EXPECT_EQ(ExitCodeFor(absl::UnavailableError("")), kExitFailure);
  EXPECT_EQ(ExitCodeFor(absl::FailedPreconditionError("")), kExitWrongDirectory);
  EXPECT_EQ(ExitCodeFor(absl::DataLossError("")), kExitDamagedData);
}

TEST(ProcessTest, FilesAreWrittenWhole) {
  const TempDirectory directory("process");
  const std::filesystem::path file = directory / "address";
  ASSERT_TRUE(WriteFileAtomically(file, "127.0.0.1:1\n").ok());
  ASSERT_TRUE(WriteFileAtomically(file, "127.0.0.1:2\n").ok());
  EXPECT_EQ(ReadWholeFile(file).value(), "127.0.0.1:2\n");
  EXPECT_EQ(ReadWholeFile("/nowhere/at/all").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace terrane
