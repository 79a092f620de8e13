#include "common/key_range.h"

#include <gtest/gtest.h>

namespace terrane {
namespace {

TEST(KeyRangeTest, T19_InfinityIsABoundNotAValue) {
  KeyRange all;
  EXPECT_TRUE(all.Contains(std::string(100, '\xff')));
  KeyRange upper{"m", std::nullopt};
  EXPECT_TRUE(upper.Contains(std::string(8, '\xff')));
  EXPECT_FALSE(upper.Contains("a"));
  EXPECT_TRUE(all.Contains(upper));
  EXPECT_FALSE(upper.Contains(all));
}

TEST(KeyRangeTest, MaximumIsExclusive) {
  KeyRange range{"b", "d"};
  EXPECT_TRUE(range.Contains("b"));
  EXPECT_TRUE(range.Contains("c\xff"));
  EXPECT_FALSE(range.Contains("d"));
}

TEST(KeyRangeTest, NeighboursDoNotOverlap) {
  KeyRange left{"a", "m"};
  KeyRange right{"m", std::nullopt};
  EXPECT_FALSE(left.Overlaps(right));
  EXPECT_TRUE(left.Overlaps(KeyRange{"l", "n"}));
  EXPECT_TRUE(left.Intersect(right).Empty());
}

}  // namespace
}  // namespace terrane
