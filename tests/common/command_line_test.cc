#include "common/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "common/process.h"
#include "support/temp_directory.h"

namespace terrane {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

struct Settings {
  std::string dir;
  int64_t replica = 1;
  bool tls = false;
  milliseconds hold{2000};
  std::vector<std::string> metadata;
  int64_t reserve = 1 << 30;
};

std::optional<int> Parse(Settings* settings, std::vector<const char*> arguments) {
  CommandLine line("test", "A test", "test 1");
  line.Add("dir", &settings->dir, "Directory");
  line.Add("replica", &settings->replica, 1, 5, "Replica");
  line.Add("tls", &settings->tls, "TLS");
  line.Add("max-hold", &settings->hold, "Hold");
  line.Add("metadata", &settings->metadata, "Endpoints");
  line.AddBytes("reserve", &settings->reserve, "Reserve");
  line.Require("dir");
  arguments.insert(arguments.begin(), "test");
  return line.Parse(static_cast<int>(arguments.size()), arguments.data());
}

TEST(CommandLineTest, FlagsOfEveryType) {
  Settings s;
  ASSERT_FALSE(Parse(&s, {"--dir", "/d", "--replica=3", "--tls", "--max-hold", "1m30s", "--metadata", "a:1,b:2",
                          "--reserve", "16MiB"}));
  EXPECT_EQ(s.dir, "/d");
  EXPECT_EQ(s.replica, 3);
  EXPECT_TRUE(s.tls);
  EXPECT_EQ(s.hold, milliseconds(90'000));
  EXPECT_THAT(s.metadata, ElementsAre("a:1", "b:2"));
  EXPECT_EQ(s.reserve, 16 << 20);
}

TEST(CommandLineTest, FlagBeatsEnvironmentBeatsFileBeatsDefault) {
  const TempDirectory directory("command-line");
  const std::filesystem::path file = directory / "settings.toml";
  ASSERT_TRUE(WriteFileAtomically(file,
                                  "# comment\nreplica = 2\nmax-hold = \"2s\"\ndir = \"/from/file\"\n"
                                  "tls = true\nmetadata = \"a:1,b:2\"\n")
                  .ok());
  setenv("TERRANE_REPLICA", "3", 1);
  setenv("TERRANE_MAX_HOLD", "3s", 1);
  Settings s;
  const auto exit = Parse(&s, {"--config", file.c_str(), "--max-hold", "4s"});
  unsetenv("TERRANE_REPLICA");
  unsetenv("TERRANE_MAX_HOLD");
  ASSERT_FALSE(exit);
  EXPECT_EQ(s.hold, milliseconds(4000));
  EXPECT_EQ(s.replica, 3);
  EXPECT_EQ(s.dir, "/from/file");
  EXPECT_TRUE(s.tls);
  EXPECT_THAT(s.metadata, ElementsAre("a:1", "b:2"));
  EXPECT_EQ(s.reserve, 1 << 30);
}

TEST(CommandLineTest, AnEmptyVariableOfTheEnvironmentIsNone) {
  setenv("TERRANE_DIR", "", 1);
  Settings s;
  const auto exit = Parse(&s, {"--dir=/d", "--replica=3"});
  unsetenv("TERRANE_DIR");
  ASSERT_FALSE(exit);
  EXPECT_EQ(s.dir, "/d");
  EXPECT_EQ(s.replica, 3);
}

TEST(CommandLineTest, BadValuesNameTheSetting) {
  for (const auto& [argument, message] : std::vector<std::pair<const char*, const char*>>{
           {"--replica=six", "--replica: \"six\" is not a whole number from 1 to 5"},
           {"--replica=6", "--replica: \"6\" is not a whole number from 1 to 5"},
           {"--max-hold=5", "--max-hold: \"5\" is not a duration"},
           {"--reserve=lots", "--reserve: \"lots\" is not a size"},
           {"--max-hodl=5s", "--max-hodl"}}) {
    Settings s;
    testing::internal::CaptureStderr();
    EXPECT_EQ(Parse(&s, {"--dir=/d", argument}), kExitUsage) << argument;
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr(message));
  }
}

TEST(CommandLineTest, UnknownNameInTheFileIsRefused) {
  const TempDirectory directory("command-line");
  const std::filesystem::path file = directory / "settings.toml";
  ASSERT_TRUE(WriteFileAtomically(file, "dir = \"/d\"\nreplcia = 2\n").ok());
  Settings s;
  testing::internal::CaptureStderr();
  EXPECT_EQ(Parse(&s, {"--config", file.c_str()}), kExitUsage);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("replcia"));
}

TEST(CommandLineTest, WhatIsRequiredAndMissingIsNamed) {
  Settings s;
  testing::internal::CaptureStderr();
  EXPECT_EQ(Parse(&s, {}), kExitUsage);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("--dir is required"));
}

}  // namespace
}  // namespace terrane
