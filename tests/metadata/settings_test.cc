#include "metadata/settings.h"

#include <gtest/gtest.h>

namespace terrane::metadata {
namespace {

TEST(SettingsTest, WhatIsWrongIsNamed) {
  EXPECT_TRUE(CheckSetting("migration.moves_per_shard", "1").ok());
  EXPECT_TRUE(CheckSetting("migration.moves_per_shard", "64").ok());
  EXPECT_TRUE(CheckSetting("migration.moves_per_shard", "").ok());
  for (const char* bad : {"0", "65", "-1", "4x", "x", " 4", "1.5"}) {
    const absl::Status refused = CheckSetting("migration.moves_per_shard", bad);
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_NE(refused.ToString().find("migration.moves_per_shard"), std::string::npos);
  }
  EXPECT_TRUE(CheckSetting("test.pause_at", "catching_up").ok());
  EXPECT_TRUE(CheckSetting("test.pause_at", "fencing.commit").ok());
  EXPECT_EQ(CheckSetting("test.pause_at", "nowhere").code(), absl::StatusCode::kInvalidArgument);
  const absl::Status unknown = CheckSetting("migration.speed", "4");
  EXPECT_NE(unknown.ToString().find("Settings: migration.moves_per_shard"), std::string::npos) << unknown;
}

}  // namespace
}  // namespace terrane::metadata
