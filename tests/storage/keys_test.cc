#include "storage/keys.h"

#include <gtest/gtest.h>

#include "storage/store.h"
#include "support.h"

namespace terrane::storage {
namespace {

TEST(KeysTest, TakenApartTheyAreWhatTheyWereMadeOf) {
  std::string document_key = DocumentKey(kCopy, "shard", "id");
  auto document = ParseDocumentKey(document_key);
  ASSERT_TRUE(document);
  EXPECT_EQ(document->copy, kCopy);
  EXPECT_EQ(document->shard_key, "shard");
  EXPECT_EQ(document->id, "id");

  std::string first = RetryKey(kCopy, "shard", "id", kSession, 12);
  std::string second = RetrySecondKey(kCopy, "shard", "id", kSession, 12);
  for (auto retry : {ParseRetryKey(first), ParseRetrySecondKey(second)}) {
    ASSERT_TRUE(retry);
    EXPECT_EQ(retry->copy, kCopy);
    EXPECT_EQ(retry->shard_key, "shard");
    EXPECT_EQ(retry->id, "id");
    EXPECT_EQ(retry->session, kSession);
    EXPECT_EQ(retry->statement, 12);
  }

  std::string index_key = IndexKey(kCopy, 3, "values", "shard", "id");
  auto index = ParseIndexKey(index_key);
  ASSERT_TRUE(index);
  EXPECT_EQ(index->index, 3u);
  EXPECT_EQ(index->values, "values");
  EXPECT_EQ(index->shard_key, "shard");
  EXPECT_EQ(index->id, "id");
  EXPECT_EQ(ParseOplogKey(OplogKey(Position(77))), Position(77));
}

TEST(KeysTest, BytesThatAreNoKeyAreRefused) {
  for (std::string bytes : {"", "abc", "abcdefg"}) {
    EXPECT_FALSE(ParseDocumentKey(bytes));
    EXPECT_FALSE(ParseRetryKey(bytes));
    EXPECT_FALSE(ParseIndexKey(bytes));
    EXPECT_FALSE(ParseOplogKey(bytes));
  }
  std::string wrong_length = DocumentKey(kCopy, "shard", "id");
  wrong_length.back() = '\x7f';
  EXPECT_FALSE(ParseDocumentKey(wrong_length));
  // The orders of retry records are not taken for each other.
  EXPECT_FALSE(ParseRetryKey(RetrySecondKey(kCopy, "shard", "id", kSession, 1)));
}

// T19: the greatest key inside a range; +infinity is a bound and not a value.
TEST(KeysTest, T19_RangeEdges) {
  KeyRange all;
  RawRange raw = DocumentRange(kCopy, all);
  std::string greatest = DocumentKey(kCopy, std::string(40, '\xff'), std::string(40, '\xff'));
  EXPECT_LT(greatest, *raw.max);
  EXPECT_GE(DocumentKey(kCopy, "", ""), raw.min);
  EXPECT_GE(DocumentKey(kNeighbour, "", ""), *raw.max);
  RawRange retries = RetryRange(kCopy, all);
  EXPECT_LT(RetryKey(kCopy, std::string(40, '\xff'), "", kSession, INT64_MAX), *retries.max);
  EXPECT_GE(RetrySecondKey(kCopy, "", "", "", 0), *retries.max);

  KeyRange one{Key(5), Key(6)};
  RawRange single = DocumentRange(kCopy, one);
  EXPECT_LT(DocumentKey(kCopy, Key(5), std::string(100, '\xff')), *single.max);
  EXPECT_GE(DocumentKey(kCopy, Key(6), ""), *single.max);
  EXPECT_FALSE(CopyEnd(CopyId(UINT32_MAX)));
}

TEST(KeysTest, StatementsOfOneSessionAreKeptApart) {
  RawRange range = RetrySecondRange(kCopy, std::string(16, '\xff'), -1);
  EXPECT_GT(*range.max, RetrySecondKey(kCopy, "\xff\xff", "\xff", std::string(16, '\xff'), -1));
  RawRange next = RetrySecondRange(kCopy, kSession, 5);
  EXPECT_GE(RetrySecondKey(kCopy, "", "", kSession, 6), *next.max);
  EXPECT_LT(RetrySecondKey(kCopy, "", "", kSession, 4), next.min);
}

}  // namespace
}  // namespace terrane::storage
