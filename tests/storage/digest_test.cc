#include "storage/digest.h"

#include <gtest/gtest.h>

#include <random>

#include "terrane/v1/common.pb.h"

namespace terrane::storage {
namespace {

TEST(Sum128Test, CarriesAndBorrowsBetweenTheHalves) {
  Sum128 a{1, UINT64_MAX};
  a += Sum128{0, 1};
  EXPECT_EQ(a, (Sum128{2, 0}));
  a -= Sum128{0, 1};
  EXPECT_EQ(a, (Sum128{1, UINT64_MAX}));
  Sum128 wraps{UINT64_MAX, UINT64_MAX};
  wraps += Sum128{0, 1};
  EXPECT_EQ(wraps, Sum128{});
}

TEST(DigestTest, OrderDoesNotMatterAndSubtractingUndoes) {
  ChunkDigest forward;
  ChunkDigest backward;
  for (int n = 0; n < 100; ++n) forward.AddDocument(std::to_string(n), "id", std::string(n, 'x'));
  for (int n = 99; n >= 0; --n) backward.AddDocument(std::to_string(n), "id", std::string(n, 'x'));
  EXPECT_EQ(forward, backward);
  for (int n = 0; n < 100; ++n) forward.SubtractDocument(std::to_string(n), "id", std::string(n, 'x'));
  EXPECT_EQ(forward, ChunkDigest{});
}

TEST(DigestTest, T29_SameCountAndBytesButOtherContentDiffer) {
  ChunkDigest a;
  ChunkDigest b;
  a.AddDocument("k", "i", "one");
  b.AddDocument("k", "i", "two");
  EXPECT_EQ(a.documents.count, b.documents.count);
  EXPECT_EQ(a.documents.bytes, b.documents.bytes);
  EXPECT_NE(a, b);
}

TEST(DigestTest, TheBorderBetweenKeyIdAndValueCounts) {
  EXPECT_NE(HashDocument("ab", "c", "d"), HashDocument("a", "bc", "d"));
  EXPECT_NE(HashDocument("a", "bc", "d"), HashDocument("a", "b", "cd"));
  EXPECT_NE(HashDocument("a", "b", "c"), HashRetry("a", "b", "c"));
}

// Stored and sent: must never change. Both ways of computing it (short and long records) agree by definition, so each
// is pinned.
TEST(DigestTest, TheDefinitionIsPinned) {
  ChunkDigest small;
  small.AddDocument("key", "id", "document");
  ChunkDigest large;
  large.AddDocument("key", "id", std::string(5000, 'x'));
  EXPECT_EQ(small.documents.ToString(), "1 records, 8 bytes, bafe1d24b72b752e9c617fa2eae63fb2");
  EXPECT_EQ(large.documents.ToString(), "1 records, 5000 bytes, 3d3738aa36ddba28642149b6a2f8df0f");
}

TEST(DigestTest, ShortAndLongRecordsAreHashedAlike) {
  // 1024 bytes in one call, 1025 in pieces: an error in one of the two would show as a jump between implementations, so
  // compare a record of pieces with itself through another split of key and value lengths.
  for (size_t size : {size_t{900}, size_t{1005}, size_t{1006}, size_t{1007}, size_t{4096}}) {
    std::string value(size, 'v');
    EXPECT_EQ(HashDocument("0123456", "id", value), HashDocument("0123456", "id", value));
    EXPECT_NE(HashDocument("0123456", "id", value), HashDocument("0123456", "id", value + "v"));
  }
}

TEST(DigestTest, TravelsAsProto) {
  ChunkDigest digest;
  digest.AddDocument("a", "b", "c");
  digest.AddRetry("a", "b", "record");
  EXPECT_EQ(FromProto(ToProto(digest)), digest);
}

}  // namespace
}  // namespace terrane::storage
