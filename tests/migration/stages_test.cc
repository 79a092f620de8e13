#include "migration/stages.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace terrane::migration {
namespace {

// The picture above the enum, once more: every pair that is not here is no way.
const std::map<std::pair<Stage, Stage>, Edge> kEdges = {
    {{Stage::kPlanned, Stage::kPreparing}, Edge::kAdvance},
    {{Stage::kPreparing, Stage::kCopying}, Edge::kAdvance},
    {{Stage::kCopying, Stage::kCatchingUp}, Edge::kAdvance},
    {{Stage::kCatchingUp, Stage::kVerifying}, Edge::kAdvance},
    {{Stage::kVerifying, Stage::kFencing}, Edge::kAdvance},
    {{Stage::kFencing, Stage::kCatchingUp}, Edge::kEndAttempt},
    {{Stage::kFencing, Stage::kCommitted}, Edge::kCommit},
    {{Stage::kCommitted, Stage::kReversible}, Edge::kAdvance},
    {{Stage::kReversible, Stage::kCleaning}, Edge::kAdvance},
    {{Stage::kReversible, Stage::kRollingBack}, Edge::kAdvance},
    {{Stage::kRollingBack, Stage::kRolledBack}, Edge::kAdvance},
    {{Stage::kCleaning, Stage::kDone}, Edge::kAdvance},
    {{Stage::kPlanned, Stage::kAborting}, Edge::kEndAttempt},
    {{Stage::kPreparing, Stage::kAborting}, Edge::kEndAttempt},
    {{Stage::kCopying, Stage::kAborting}, Edge::kEndAttempt},
    {{Stage::kCatchingUp, Stage::kAborting}, Edge::kEndAttempt},
    {{Stage::kVerifying, Stage::kAborting}, Edge::kEndAttempt},
    {{Stage::kFencing, Stage::kAborting}, Edge::kEndAttempt},
    {{Stage::kAborting, Stage::kAborted}, Edge::kAdvance},
};

TEST(StagesTest, EveryPair) {
  for (Stage from : kAllStages) {
    for (Stage to : kAllStages) {
      auto found = kEdges.find({from, to});
      EXPECT_EQ(EdgeBetween(from, to), found == kEdges.end() ? Edge::kNone : found->second)
          << NameOf(from) << " -> " << NameOf(to);
    }
  }
}

TEST(StagesTest, I1_NoWayLeadsBackOverTheCommit) {
  for (Stage from : kAllStages) {
    for (Stage to : kAllStages) {
      if (EdgeBetween(from, to) == Edge::kNone || BeforeCommit(from)) continue;
      EXPECT_FALSE(BeforeCommit(to)) << NameOf(from) << " -> " << NameOf(to);
    }
  }
  // And only one way leads over it.
  for (Stage from : kAllStages) {
    EXPECT_EQ(EdgeBetween(from, Stage::kCommitted) != Edge::kNone, from == Stage::kFencing);
  }
}

TEST(StagesTest, EveryMoveCanEnd) {
  for (Stage stage : kAllStages) {
    std::set<Stage> reached{stage};
    for (size_t before = 0; before != reached.size();) {
      before = reached.size();
      for (Stage to : kAllStages) {
        for (Stage from : std::set<Stage>(reached)) {
          if (EdgeBetween(from, to) != Edge::kNone) reached.insert(to);
        }
      }
    }
    bool ends = false;
    for (Stage end : reached) ends |= IsEnded(end);
    EXPECT_TRUE(ends) << NameOf(stage);
    if (IsEnded(stage)) {
      EXPECT_EQ(reached.size(), 1u);
    }
  }
}

TEST(StagesTest, NamesAndNumbersAreThoseOfTheRecord) {
  for (Stage stage : kAllStages) {
    Stage parsed;
    ASSERT_TRUE(ParseStage(NameOf(stage), &parsed));
    EXPECT_EQ(parsed, stage);
    std::string name = v1::Migration::Stage_Name(ToProto(stage));
    for (char& c : name) c = static_cast<char>(std::tolower(c));
    EXPECT_EQ(name, NameOf(stage));
    v1::Migration record;
    record.set_stage(ToProto(stage));
    EXPECT_EQ(StageOf(record), stage);
  }
  Stage unchanged = Stage::kDone;
  EXPECT_FALSE(ParseStage("nonsense", &unchanged));
  EXPECT_EQ(unchanged, Stage::kDone);
  EXPECT_TRUE(IsKnownStage(13));
  EXPECT_FALSE(IsKnownStage(14));
}

}  // namespace
}  // namespace terrane::migration
