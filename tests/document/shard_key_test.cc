// Where documents live, and where a filter has to look.
#include "document/shard_key.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "document/builder.h"
#include "document/key_encoding.h"
#include "documents.h"

namespace terrane::document {
namespace {

ShardKeyPattern Pattern(const char* spec) {
  absl::StatusOr<ShardKeyPattern> pattern = ShardKeyPattern::Parse(Doc(spec));
  EXPECT_TRUE(pattern.ok()) << spec << pattern.status();
  return pattern.ok() ? *pattern : ShardKeyPattern();
}

std::string Refusal(const char* spec) {
  return ErrorOf(ShardKeyPattern::Parse(Doc(spec)));
}

std::string BigEndian(uint64_t value) {
  std::string out;
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
  return out;
}

// The ranges as people read bounds: "[{"a": 1}, {"a": 2})"; "-" for +infinity.
std::string RangesOf(const ShardKeyPattern& pattern, const Targets& targets) {
  std::string out;
  for (const KeyRange& range : targets.ranges) {
    StrAppend(&out, "[", pattern.DescribeKey(range.min), " ", range.max ? pattern.DescribeKey(*range.max) : "-", ")");
  }
  return out;
}

Targets TargetsOf(const ShardKeyPattern& pattern, const char* filter) {
  return pattern.FilterTargets(*Filter::Parse(Doc(filter)));
}

KeyRange Range(std::string min, std::optional<std::string> max) {
  return {.min = std::move(min), .max = std::move(max)};
}
KeyRange Everything() {
  return Range("", std::nullopt);
}
std::string Key(const char* json) {
  return EncodeKey(Val(json));
}
KeyRange Point(std::string key) {
  return {.min = key, .max = PrefixEnd(key)};
}

TEST(ShardKeyTest, ParsesSpecs) {
  ShardKeyPattern by_id;
  EXPECT_TRUE(by_id.hashed());
  EXPECT_EQ(by_id.paths(), std::vector<std::string>{"_id"});
  EXPECT_EQ(by_id.ToString(), R"({"_id": "hashed"})");
  ShardKeyPattern compound = Pattern(R"({"customer": "hashed", "order.number": 1.0})");
  EXPECT_TRUE(compound.hashed());
  EXPECT_EQ(compound.paths(), (std::vector<std::string>{"customer", "order.number"}));
  EXPECT_EQ(compound.spec(), Doc(R"({"customer": "hashed", "order.number": 1.0})"));
  EXPECT_FALSE(Pattern(R"({"a": 1})").hashed());
}

TEST(ShardKeyTest, RefusesSpecs) {
  EXPECT_EQ(Refusal("{}"), "a shard key needs at least one field");
  EXPECT_EQ(Refusal(R"({"a": -1})"), R"(shard key field 'a' must be 1 or "hashed")");
  EXPECT_EQ(Refusal(R"({"a": "hash"})"), R"(shard key field 'a' must be 1 or "hashed")");
  EXPECT_EQ(Refusal(R"({"a": 1, "b": "hashed"})"), "shard key field 'b': only the first field can be hashed");
  EXPECT_EQ(Refusal(R"({"a..b": 1})"), "shard key path 'a..b' has an empty component");
  EXPECT_EQ(Refusal(R"({"a.": 1})"), "shard key path 'a.' has an empty component");
  EXPECT_EQ(Refusal(R"({"": 1})"), "shard key path '' has an empty component");
  EXPECT_EQ(Refusal(R"({"a.$x": 1})"), "shard key path 'a.$x' has a component that begins with $");
  EXPECT_EQ(Refusal(R"({"a": 1, "a": 1})"), "shard key paths 'a' and 'a' overlap");
  EXPECT_EQ(Refusal(R"({"a": 1, "a.b": 1})"), "shard key paths 'a' and 'a.b' overlap");
  EXPECT_EQ(Refusal(R"({"a.b": 1, "a": 1})"), "shard key paths 'a.b' and 'a' overlap");
  EXPECT_EQ(Refusal(R"({"a": 1, "ab": 1})"), "OK");
  Builder many;
  for (int i = 0; i < 17; ++i) many.Append(StrCat("f", i), 1);
  EXPECT_EQ(ErrorOf(ShardKeyPattern::Parse(many.Finish())), "a shard key has at most 16 fields");
  EXPECT_EQ(ErrorOf(ShardKeyPattern::Parse("x")), "document: length 0 does not agree with its 1 bytes");
}

TEST(ShardKeyTest, EncodesTheFieldsOneAfterTheOther) {
  ShardKeyPattern pattern = Pattern(R"({"a": 1, "b.c": 1})");
  EXPECT_EQ(*pattern.EncodeFromDocument(Doc(R"({"b": {"x": 0, "c": "y"}, "a": 5})")), Key("5") + Key(R"("y")"));
  EXPECT_EQ(*pattern.EncodeFromDocument(Doc(R"({"a": null, "b": {"c": {"d": [1]}}})")),
            Key("null") + Key(R"({"d": [1]})"));
  EXPECT_EQ(ErrorOf(pattern.EncodeFromDocument(Doc(R"({"a": 1})"))), "document has no shard key field 'b.c'");
  EXPECT_EQ(ErrorOf(pattern.EncodeFromDocument(Doc(R"({"b": {"c": 1}})"))), "document has no shard key field 'a'");
  EXPECT_EQ(ErrorOf(pattern.EncodeFromDocument(Doc(R"({"a": 1, "b": 5})"))), "document has no shard key field 'b.c'");
  EXPECT_EQ(ErrorOf(pattern.EncodeFromDocument(Doc(R"({"a": [1], "b": {"c": 1}})"))),
            "shard key field 'a' must not be of type array");
  EXPECT_EQ(ErrorOf(pattern.EncodeFromDocument(Doc(R"({"a": 1, "b": [{"c": 1}]})"))),
            "shard key field 'b' must not be of type array");
  EXPECT_EQ(ErrorOf(pattern.EncodeFromDocument(
                Doc(R"({"a": {"$regularExpression": {"pattern": "x", "options": ""}}, "b": {"c": 1}})"))),
            "shard key field 'a' must not be of type regex");
  EXPECT_EQ(ErrorOf(pattern.EncodeFromDocument(Doc(R"({"a": {"$undefined": true}, "b": {"c": 1}})"))),
            "shard key field 'a' must not be of type undefined");
}

TEST(ShardKeyTest, HashesNeverChangeAndAreTheSameForEqualNumbers) {
  // Stored on disk and known to every process.
  EXPECT_EQ(HashValue(Value::Int32(7)), HashValue(Value::Double(7)));
  EXPECT_EQ(HashValue(Value::Int32(7)), HashValue(Value::Decimal(*DecimalFromString("7.0"))));
  EXPECT_EQ(HashValue(Value::Int32(7)), 4404454850337430138u);
  EXPECT_EQ(HashValue(Value::String("c-17")), 2213766459097679091u);
  ShardKeyPattern pattern = Pattern(R"({"customer": "hashed", "order": 1})");
  EXPECT_EQ(*pattern.EncodeFromDocument(Doc(R"({"customer": "c-17", "order": 3})")),
            BigEndian(HashValue(Value::String("c-17"))) + Key("3"));
}

TEST(ShardKeyTest, IdsThatAreEqualNumbersAreOneId) {
  EXPECT_EQ(EncodeId(Value::Int32(7)), EncodeId(Value::Double(7.0)));
  EXPECT_NE(EncodeId(Value::Int32(7)), EncodeId(Value::String("7")));
  EXPECT_EQ(*EncodeIdFromDocument(Doc(R"({"a": 1, "_id": 7})")), Key("7"));
  EXPECT_EQ(ErrorOf(EncodeIdFromDocument(Doc(R"({"a": 1})"))), "document has no field '_id'");
}

TEST(ShardKeyTest, DependsOnPathsInBothDirections) {
  ShardKeyPattern pattern = Pattern(R"({"a.b": 1, "c": 1})");
  for (const char* path : {"a", "a.b", "a.b.c", "c", "c.x"}) EXPECT_TRUE(pattern.DependsOn(path)) << path;
  for (const char* path : {"b", "a.c", "a.bc", "cc", "ab", "_id"}) EXPECT_FALSE(pattern.DependsOn(path)) << path;
}

TEST(ShardKeyTest, BoundsReadAndWriteForPeople) {
  ShardKeyPattern pattern = Pattern(R"({"customer": "hashed", "order": 1})");
  std::string bound = *pattern.EncodeBound(Doc(R"({"customer": {"$hash": "80000000000000ff"}, "order": 5})"));
  EXPECT_EQ(bound, BigEndian(0x80000000000000FF) + Key("5"));
  EXPECT_EQ(pattern.DescribeKey(bound), R"({"customer": {"$hash": "80000000000000ff"}, "order": 5})");
  EXPECT_EQ(pattern.DescribeKey(bound.substr(0, 8)), R"({"customer": {"$hash": "80000000000000ff"}})");
  EXPECT_EQ(pattern.DescribeKey(bound.substr(0, 7)), "80000000000000");
  EXPECT_EQ(pattern.DescribeKey(bound.substr(0, 10)), "80000000000000ff1340");
  EXPECT_EQ(pattern.DescribeKey(bound + "x"),
            "80000000000000ff13401400000000000000"
            "78");
  EXPECT_EQ(pattern.DescribeKey(""), "{}");
  EXPECT_EQ(*pattern.EncodeBound(Doc("{}")), "");
  EXPECT_EQ(*pattern.EncodeBound(Doc(R"({"customer": "c-17"})")), BigEndian(HashValue(Value::String("c-17"))));
  EXPECT_EQ(ErrorOf(pattern.EncodeBound(Doc(R"({"customer": {"$hash": "80"}})"))),
            "bound field 'customer': $hash needs a string of 16 hex digits");
  EXPECT_EQ(ErrorOf(pattern.EncodeBound(Doc(R"({"customer": {"$hash": "800000000000000g"}})"))),
            "bound field 'customer': $hash needs a string of 16 hex digits");
  EXPECT_EQ(ErrorOf(pattern.EncodeBound(Doc(R"({"order": 5})"))),
            "bound field 'order': expected 'customer', as in the shard key");
  EXPECT_EQ(ErrorOf(pattern.EncodeBound(Doc(R"({"customer": 1, "order": 5, "x": 1})"))),
            "bound field 'x' is no field of the shard key");
  EXPECT_EQ(ErrorOf(pattern.EncodeBound(Doc(R"({"customer": 1, "order": [5]})"))),
            "shard key field 'order' must not be of type array");
}

TEST(ShardKeyTest, InitialSplitPointsAreEvenlySpaced) {
  ShardKeyPattern pattern;
  EXPECT_TRUE(pattern.InitialSplitPoints(1).empty());
  EXPECT_EQ(pattern.InitialSplitPoints(2), std::vector<std::string>{BigEndian(uint64_t{1} << 63)});
  EXPECT_EQ(pattern.InitialSplitPoints(3),
            (std::vector<std::string>{BigEndian(0x5555555555555555), BigEndian(0xAAAAAAAAAAAAAAAA)}));
  EXPECT_EQ(pattern.InitialSplitPoints(256)[254], BigEndian(0xFF00000000000000));
  EXPECT_TRUE(Pattern(R"({"a": 1})").InitialSplitPoints(4).empty());
}

TEST(ShardKeyTargetsTest, HashedIdWithEqualityIsOneKey) {
  Targets targets = TargetsOf(ShardKeyPattern(), R"({"_id": 7, "x": {"$gt": 1}})");
  EXPECT_EQ(targets.shard_key, BigEndian(HashValue(Value::Int32(7))));
  EXPECT_EQ(targets.id, Key("7"));
  EXPECT_EQ(targets.ranges, std::vector<KeyRange>{Point(*targets.shard_key)});
}

TEST(ShardKeyTargetsTest, HashedFieldWithAnythingElseIsEverything) {
  for (const char* filter :
       {R"({"_id": {"$gt": 7}})", R"({"x": 7})", "{}", R"({"$or": [{"_id": 1}, {"_id": 2}]})", R"({"_id": {"$ne": 7}})",
        R"({"_id": {"$regex": "a"}})", R"({"_id": {"$undefined": true}})"}) {
    Targets targets = TargetsOf(ShardKeyPattern(), filter);
    EXPECT_EQ(targets.shard_key, std::nullopt) << filter;
    EXPECT_EQ(targets.id, std::nullopt) << filter;
    EXPECT_EQ(targets.ranges, std::vector<KeyRange>{Everything()}) << filter;
  }
}

TEST(ShardKeyTargetsTest, InGivesOneRangePerKey) {
  Targets targets = TargetsOf(ShardKeyPattern(), R"({"_id": {"$in": [1, 2, 1.0]}})");
  EXPECT_EQ(targets.shard_key, std::nullopt);
  ASSERT_EQ(targets.ranges.size(), 2u);
  EXPECT_LT(targets.ranges[0].min, targets.ranges[1].min);
  for (int id : {1, 2}) {
    std::string key = BigEndian(HashValue(Value::Int32(id)));
    EXPECT_TRUE(targets.ranges[0] == Point(key) || targets.ranges[1] == Point(key));
  }
  EXPECT_EQ(TargetsOf(ShardKeyPattern(), R"({"_id": {"$in": [1, 1.0]}})").shard_key,
            BigEndian(HashValue(Value::Int32(1))));
  EXPECT_TRUE(TargetsOf(ShardKeyPattern(), R"({"_id": {"$in": []}})").ranges.empty());
  EXPECT_TRUE(TargetsOf(ShardKeyPattern(), R"({"_id": [1]})").ranges.empty());
  EXPECT_EQ(TargetsOf(ShardKeyPattern(), R"({"_id": {"$in": [1, 2]}, "$and": [{"_id": 1}]})").shard_key,
            BigEndian(HashValue(Value::Int32(1))));
  // Too many keys are one range.
  ArrayBuilder many;
  for (int i = 0; i < 1001; ++i) many.Add(i);
  Filter filter = *Filter::Parse(Builder().Append("_id", Builder().Append("$in", many)).Finish());
  EXPECT_EQ(ShardKeyPattern().FilterTargets(filter).ranges, std::vector<KeyRange>{Everything()});
}

TEST(ShardKeyTargetsTest, T19_RangesOfOneField) {
  ShardKeyPattern pattern = Pattern(R"({"a": 1})");
  auto ranges = [&](const char* filter) { return TargetsOf(pattern, filter).ranges; };
  auto one = [](std::string min, std::optional<std::string> max) {
    return std::vector<KeyRange>{Range(std::move(min), std::move(max))};
  };
  std::string numbers_begin = "\x10", numbers_end = "\x14", strings_end = "\x21";
  EXPECT_EQ(ranges(R"({"a": {"$gte": 5}})"), one(Key("5"), numbers_end));
  EXPECT_EQ(ranges(R"({"a": {"$gt": 5}})"), one(*PrefixEnd(Key("5")), numbers_end));
  EXPECT_EQ(ranges(R"({"a": {"$lt": 5}})"), one(numbers_begin, Key("5")));
  EXPECT_EQ(ranges(R"({"a": {"$lte": 5}})"), one(numbers_begin, PrefixEnd(Key("5"))));
  EXPECT_EQ(ranges(R"({"a": {"$gte": 5, "$lt": 9}})"), one(Key("5"), Key("9")));
  EXPECT_EQ(ranges(R"({"a": {"$gte": 5, "$lt": 9, "$gt": 7, "$lte": 8}})"),
            one(*PrefixEnd(Key("7")), PrefixEnd(Key("8"))));
  EXPECT_EQ(ranges(R"({"a": {"$gte": "x"}})"), one(Key(R"("x")"), strings_end));
  EXPECT_EQ(ranges(R"({"a": {"$gt": {"$minKey": 1}}})"), one("\x06", std::nullopt));
  EXPECT_EQ(ranges(R"({"a": {"$lt": {"$maxKey": 1}}})"), one("", "\xF0"));
  EXPECT_EQ(ranges(R"({"a": null})"), one(Key("null"), PrefixEnd(Key("null"))));
  EXPECT_EQ(ranges(R"({"a": {"$lte": {"$undefined": true}}})"), std::vector<KeyRange>{Everything()});
  EXPECT_TRUE(ranges(R"({"a": {"$gt": 9, "$lt": 5}})").empty());
  EXPECT_TRUE(ranges(R"({"a": {"$gt": 9, "$lt": "x"}})").empty());
}

TEST(ShardKeyTargetsTest, CompoundKeysUsePrefixThenRange) {
  ShardKeyPattern pattern = Pattern(R"({"a": "hashed", "b": 1, "c": 1})");
  std::string prefix = BigEndian(HashValue(Value::Int32(1)));
  Targets exact = TargetsOf(pattern, R"({"a": 1, "b": 2, "c": 3})");
  EXPECT_EQ(exact.shard_key, prefix + Key("2") + Key("3"));
  EXPECT_EQ(exact.id, std::nullopt);
  EXPECT_EQ(TargetsOf(pattern, R"({"a": 1, "b": 2, "c": 3, "_id": 4})").id, Key("4"));
  EXPECT_EQ(TargetsOf(pattern, R"({"a": 1, "b": {"$gte": 2, "$lt": 4}, "c": 3})").ranges,
            std::vector<KeyRange>{Range(prefix + Key("2"), prefix + Key("4"))});
  EXPECT_EQ(TargetsOf(pattern, R"({"a": 1})").ranges, std::vector<KeyRange>{Point(prefix)});
  EXPECT_EQ(TargetsOf(pattern, R"({"a": 1, "c": 3})").ranges, std::vector<KeyRange>{Point(prefix)});
  EXPECT_EQ(TargetsOf(pattern, R"({"b": 2, "c": 3})").ranges, std::vector<KeyRange>{Everything()});
  Targets several = TargetsOf(pattern, R"({"a": 1, "b": {"$in": [5, 2]}, "c": {"$gt": 3}})");
  EXPECT_EQ(several.ranges,
            (std::vector<KeyRange>{Range(prefix + Key("2") + *PrefixEnd(Key("3")), prefix + Key("2") + "\x14"),
                                   Range(prefix + Key("5") + *PrefixEnd(Key("3")), prefix + Key("5") + "\x14")}));
  EXPECT_EQ(several.shard_key, std::nullopt);
  EXPECT_NE(RangesOf(pattern, several), "");
}

// The greatest hash there is: its range ends at +infinity.
TEST(ShardKeyTargetsTest, T19_TheLastKeyOfAll) {
  EXPECT_EQ(Point(std::string(8, '\xFF')).max, std::nullopt);
  EXPECT_EQ(Point(BigEndian(~uint64_t{0} - 1)).max, BigEndian(~uint64_t{0}));
}

// Whatever the filter, a document that matches lies in one of the ranges.
TEST(ShardKeyTargetsTest, RandomFiltersNeverMissAMatch) {
  const char* given = std::getenv("TERRANE_SEED");
  uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("seed %llu (again: TERRANE_SEED=%llu)\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  const char* values[] = {"1",
                          "2",
                          "3",
                          "2.5",
                          "null",
                          R"("x")",
                          R"({"$minKey": 1})",
                          R"({"$maxKey": 1})",
                          R"({"$numberDouble": "NaN"})",
                          R"({"q": 1})",
                          "true"};
  const char* ops[] = {"$eq", "$gt", "$gte", "$lt", "$lte", "$ne"};
  auto any = [&](auto& list) { return list[random() % std::size(list)]; };
  const char* specs[] = {R"({"a": 1})", R"({"a": "hashed"})", R"({"a": 1, "b": 1})", R"({"a": "hashed", "b": 1})",
                         R"({"_id": "hashed"})"};
  int matches = 0;
  for (int i = 0; i < 4000; ++i) {
    ShardKeyPattern pattern = Pattern(any(specs));
    std::string json = "{";
    for (const char* field : {"a", "b", "_id"}) {
      if (random() % 3 == 0) continue;
      StrAppend(&json, json.size() > 1 ? ", " : "", "\"", field, "\": ");
      if (random() % 4 == 0) {
        StrAppend(&json, R"({"$in": [)", any(values), ", ", any(values), "]}");
      } else {
        StrAppend(&json, "{\"", any(ops), "\": ", any(values), "}");
      }
    }
    json += "}";
    Filter filter = *Filter::Parse(Doc(json));
    Targets targets = pattern.FilterTargets(filter);
    for (int k = 0; k < 20; ++k) {
      std::string doc =
          Doc(StrCat(R"({"_id": )", any(values), R"(, "a": )", any(values), R"(, "b": )", any(values), "}"));
      if (!filter.Matches(doc)) continue;
      ++matches;
      std::string key = *pattern.EncodeFromDocument(doc);
      int holding = 0;
      for (const KeyRange& range : targets.ranges) holding += range.Contains(key) ? 1 : 0;
      ASSERT_EQ(holding, 1) << json << " " << ToRelaxedJson(doc) << " " << RangesOf(pattern, targets);
      ASSERT_TRUE(!targets.shard_key || *targets.shard_key == key);
      ASSERT_TRUE(!targets.id || *targets.id == *EncodeIdFromDocument(doc));
    }
  }
  EXPECT_GT(matches, 1000);
}

}  // namespace
}  // namespace terrane::document
