#include "common/start_number.h"

#include <gtest/gtest.h>

namespace terrane {
namespace {

TEST(StartNumber, CountsAndMarks) {
  const uint64_t first = NextStart(0, 7);
  const uint64_t second = NextStart(first, 0xffffffffffffffff);
  EXPECT_EQ(StartCount(first), 1u);
  EXPECT_EQ(StartCount(second), 2u);
  EXPECT_EQ(StartCount(NextStart(second, 0)), 3u);
  EXPECT_LT(first, second);
}

TEST(StartNumber, T51_AnOldCopyIsKnownByItsCountOrItsMark) {
  const uint64_t last_week = NextStart(0, 1);
  const uint64_t real = NextStart(last_week, 2);
  const uint64_t copy = NextStart(last_week, 3);
  EXPECT_FALSE(IsOldCopy(real, last_week));
  EXPECT_FALSE(IsOldCopy(real, real)) << "it says who it is again";
  EXPECT_TRUE(IsOldCopy(last_week, real));
  EXPECT_TRUE(IsOldCopy(copy, real)) << "of the same count";
  EXPECT_TRUE(IsOldCopy(real, copy));
}

TEST(StartNumber, NumbersFromBeforeThereWereMarks) {
  EXPECT_EQ(StartCount(5), 5u);
  EXPECT_EQ(StartCount(NextStart(5, 1)), 6u);
  EXPECT_FALSE(IsOldCopy(6, 5));
  EXPECT_TRUE(IsOldCopy(5, 6));
  EXPECT_FALSE(IsOldCopy(NextStart(5, 1), 5));
  EXPECT_TRUE(IsOldCopy(5, NextStart(5, 1)));
}

}  // namespace
}  // namespace terrane
