#include "common/logging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "common/ids.h"
#include "common/process.h"
#include "support/temp_directory.h"

namespace terrane {
namespace {

using testing::HasSubstr;

std::string Line(const LogField& field) {
  std::string line;
  field.AppendTo(&line);
  return line;
}

TEST(LoggingTest, ValuesOfEveryType) {
  EXPECT_EQ(Line({"n", 7}), " n=7");
  EXPECT_EQ(Line({"n", -7L}), " n=-7");
  EXPECT_EQ(Line({"n", uint64_t{1} << 63}), " n=9223372036854775808");
  EXPECT_EQ(Line({"position", Position(12)}), " position=12");
  EXPECT_EQ(Line({"x", 0.5}), " x=0.5");
  EXPECT_EQ(Line({"yes", true}), " yes=true");
  EXPECT_EQ(Line({"shard", "s1"}), " shard=s1");
  EXPECT_EQ(Line({"status", absl::OkStatus()}), " status=ok");
}

TEST(LoggingTest, TextIsQuotedSoThatALineStaysOneLine) {
  EXPECT_EQ(Line({"why", "two words"}), " why=\"two words\"");
  EXPECT_EQ(Line({"why", ""}), " why=\"\"");
  EXPECT_EQ(Line({"why", "a \"b\"\nc\x01"}), " why=\"a \\\"b\\\"\\nc\\x01\"");
  EXPECT_EQ(Line({"status", absl::NotFoundError("no shard s9")}), " status=\"NOT_FOUND: no shard s9\"");
}

TEST(LoggingTest, FileGetsLinesOfTheLevelAndAbove) {
  const TempDirectory directory("logging");
  const std::filesystem::path file = directory / "log";
  ASSERT_TRUE(StartLogging(LogLevel::kInfo, file.string()).ok());
  LogDebug("test", "not this one");
  LogInfo("test", "fence applied", {{"migration", 7}});
  FlushLogs();
  const std::string text = ReadWholeFile(file).value();
  EXPECT_THAT(text, HasSubstr("level=info"));
  EXPECT_THAT(text, HasSubstr("component=test msg=\"fence applied\" migration=7\n"));
  EXPECT_THAT(text, Not(HasSubstr("not this one")));
  ASSERT_TRUE(StartLogging(LogLevel::kInfo, "").ok());
  EXPECT_FALSE(StartLogging(LogLevel::kInfo, "/proc/nowhere/log").ok());
}

}  // namespace
}  // namespace terrane
