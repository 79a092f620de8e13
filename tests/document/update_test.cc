// What updates do. A case is a line: the old document, the update, the new document or the refusal.
#include "document/update.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "document/builder.h"
#include "document/limits.h"
#include "documents.h"

namespace terrane::document {
namespace {

constexpr int64_t kNow = 1700000000123;

struct Case {
  const char* doc;
  const char* update;
  const char* expected;  // a document, or the message of the refusal
};

std::string Outcome(std::string_view doc, std::string_view update) {
  absl::StatusOr<Update> parsed = Update::Parse(Doc(update));
  if (!parsed.ok()) return ErrorOf(parsed);
  absl::StatusOr<std::string> result = parsed->Apply(Doc(doc), kNow);
  return result.ok() ? ToCanonicalJson(*result) : ErrorOf(result);
}

void Check(std::initializer_list<Case> cases) {
  for (const Case& c : cases) {
    std::string expected = c.expected[0] == '{' ? ToCanonicalJson(Doc(c.expected)) : c.expected;
    EXPECT_EQ(Outcome(c.doc, c.update), expected) << c.doc << " with " << c.update;
  }
}

TEST(UpdateTest, SetKeepsPlacesAndAppendsInTheOrderOfPaths) {
  Check({
      {R"({"a": 1, "b": 2})", R"({"$set": {"a": "x"}})", R"({"a": "x", "b": 2})"},
      {R"({"a": 1})", R"({"$set": {"c": 3, "b": 2}})", R"({"a": 1, "b": 2, "c": 3})"},
      {R"({"a": 1})", R"({"$set": {"b.c.d": 1}})", R"({"a": 1, "b": {"c": {"d": 1}}})"},
      {R"({"a": {"b": 1}})", R"({"$set": {"a.c": 2}})", R"({"a": {"b": 1, "c": 2}})"},
      {R"({"a": {"b": 1}})", R"({"$set": {"a": {}}})", R"({"a": {}})"},
      {R"({"a": [1, 2]})", R"({"$set": {"a.0": 5}})", R"({"a": [5, 2]})"},
      {R"({"a": [1]})", R"({"$set": {"a.3": 5}})", R"({"a": [1, null, null, 5]})"},
      {R"({"a": [1]})", R"({"$set": {"a.1": 5}})", R"({"a": [1, 5]})"},
      {R"({"a": [1]})", R"({"$set": {"a.1.b": 5}})", R"({"a": [1, {"b": 5}]})"},
      {R"({"a": [{"b": 1}]})", R"({"$set": {"a.0.b": 5}})", R"({"a": [{"b": 5}]})"},
      {R"({"a": []})", R"({"$set": {"a.10": 10, "a.9": 9, "a.11": 11}})",
       R"({"a": [null, null, null, null, null, null, null, null, null, 9, 10, 11]})"},
      {R"({})", R"({"$set": {"a.0": 5}})", R"({"a": {"0": 5}})"},
      {R"({})", R"({"$set": {"10": 1, "9": 2, "b": 3, "a": 4}})", R"({"9": 2, "10": 1, "a": 4, "b": 3})"},
      {R"({"a": 1})", R"({"$set": {}})", R"({"a": 1})"},
      {R"({"a": 1})", R"({"$set": {"a.b": 5}})", "cannot $set field 'a.b': 'a' is of type int, not an object"},
      {R"({"x": {"a": null}})", R"({"$set": {"x.a.b": 5}})",
       "cannot $set field 'x.a.b': 'x.a' is of type null, not an object"},
      {R"({"a": [1]})", R"({"$set": {"a.b": 5}})", "cannot $set field 'a.b': 'a' is an array and 'b' no index"},
      {R"({"a": [1]})", R"({"$set": {"a.-1": 5}})", "cannot $set field 'a.-1': 'a' is an array and '-1' no index"},
      {R"({"a": [1]})", R"({"$set": {"a.100002": 5}})", "cannot $set field 'a.100002': 'a' has only 1 elements"},
  });
}

TEST(UpdateTest, AnArrayIsPaddedUpToItsLimit) {
  const auto update = Update::Parse(Doc(R"({"$set": {"a.100001": 5}})"));
  ASSERT_TRUE(update.ok()) << update.status();
  EXPECT_TRUE(update->Apply(Doc(R"({"_id": 1, "a": [1]})")).ok());
}

TEST(UpdateTest, UntouchedFieldsKeepTheirBytes) {
  std::string doc =
      Doc(R"({"_id": 1, "d": {"$numberDecimal": "1.50"}, "n": {"x": [1, {"y": {"$numberDouble": "-0.0"}}]}, "z": 1})");
  absl::StatusOr<Update> update = Update::Parse(Doc(R"({"$inc": {"z": 1}})"));
  std::string expected = doc;
  expected[expected.size() - 5] = 2;
  EXPECT_EQ(*update->Apply(doc), expected);
  absl::StatusOr<Update> nothing = Update::Parse(Doc(R"({"$unset": {"n.x.9": 1, "q": 1}, "$max": {"z": 0}})"));
  EXPECT_EQ(*nothing->Apply(doc), doc);
}

TEST(UpdateTest, Unset) {
  Check({
      {R"({"a": 1, "b": 2})", R"({"$unset": {"a": ""}})", R"({"b": 2})"},
      {R"({"a": {"b": 1, "c": 2}})", R"({"$unset": {"a.b": 1}})", R"({"a": {"c": 2}})"},
      {R"({"a": {"b": 1}})", R"({"$unset": {"a.b": 1}})", R"({"a": {}})"},
      {R"({"a": [1, 2]})", R"({"$unset": {"a.0": 1}})", R"({"a": [null, 2]})"},
      {R"({"a": 1})", R"({"$unset": {"a.b": 1}})", R"({"a": 1})"},
      {R"({"a": 1})", R"({"$unset": {"x.b": 1}})", R"({"a": 1})"},
      {R"({"a": [1]})", R"({"$unset": {"a.1": 1}})", R"({"a": [1]})"},
  });
}

TEST(UpdateTest, IncAndMulKeepOrWidenTheType) {
  Check({
      {R"({"a": 1})", R"({"$inc": {"a": 2}})", R"({"a": 3})"},
      {R"({})", R"({"$inc": {"a": {"$numberLong": "2"}}})", R"({"a": {"$numberLong": "2"}})"},
      {R"({"a": 2147483647})", R"({"$inc": {"a": 1}})", R"({"a": {"$numberLong": "2147483648"}})"},
      {R"({"a": -2147483648})", R"({"$inc": {"a": -1}})", R"({"a": {"$numberLong": "-2147483649"}})"},
      {R"({"a": 2147483646})", R"({"$inc": {"a": 1}})", R"({"a": 2147483647})"},
      {R"({"a": {"$numberLong": "1"}})", R"({"$inc": {"a": 1}})", R"({"a": {"$numberLong": "2"}})"},
      {R"({"a": 1})", R"({"$inc": {"a": {"$numberLong": "1"}}})", R"({"a": {"$numberLong": "2"}})"},
      {R"({"a": 1})", R"({"$inc": {"a": 0.5}})", R"({"a": 1.5})"},
      {R"({"a": 1.5})", R"({"$inc": {"a": 1}})", R"({"a": 2.5})"},
      {R"({"a": {"b": 1}})", R"({"$inc": {"a.b": -3}})", R"({"a": {"b": -2}})"},
      {R"({"a": {"$numberLong": "9223372036854775807"}})", R"({"$inc": {"a": 1}})",
       "cannot $inc field 'a': the result does not fit into a 64-bit integer"},
      {R"({"a": "x"})", R"({"$inc": {"a": 1}})", "cannot $inc field 'a': it is of type string"},
      {R"({"a": null})", R"({"$inc": {"a": 1}})", "cannot $inc field 'a': it is of type null"},
      {R"({"a": 1})", R"({"$inc": {"a": "x"}})", "cannot $inc field 'a' with a value of type string"},
      {R"({"a": 1})", R"({"$inc": {"a": {"$numberDecimal": "1"}}})",
       "cannot $inc field 'a': arithmetic with decimals is not supported"},
      {R"({})", R"({"$inc": {"a": {"$numberDecimal": "1.5"}}})", R"({"a": {"$numberDecimal": "1.5"}})"},
      {R"({"a": 3})", R"({"$mul": {"a": 4}})", R"({"a": 12})"},
      {R"({"a": 2147483647})", R"({"$mul": {"a": 2}})", R"({"a": {"$numberLong": "4294967294"}})"},
      {R"({"a": 3})", R"({"$mul": {"a": 0.5}})", R"({"a": 1.5})"},
      {R"({})", R"({"$mul": {"a": 4}})", R"({"a": 0})"},
      {R"({})", R"({"$mul": {"a": {"$numberLong": "4"}}})", R"({"a": {"$numberLong": "0"}})"},
      {R"({})", R"({"$mul": {"a": 4.5}})", R"({"a": 0.0})"},
      {R"({})", R"({"$mul": {"a": {"$numberDecimal": "4"}}})", R"({"a": {"$numberDecimal": "0"}})"},
      {R"({"a": {"$numberLong": "9223372036854775807"}})", R"({"$mul": {"a": 2}})",
       "cannot $mul field 'a': the result does not fit into a 64-bit integer"},
  });
}

TEST(UpdateTest, MinAndMaxFollowTheOrderOfAllTypes) {
  Check({
      {R"({"a": 5})", R"({"$min": {"a": 3}})", R"({"a": 3})"},
      {R"({"a": 5})", R"({"$min": {"a": 7}})", R"({"a": 5})"},
      {R"({"a": 5})", R"({"$max": {"a": 7}})", R"({"a": 7})"},
      {R"({"a": 5})", R"({"$max": {"a": 3}})", R"({"a": 5})"},
      {R"({"a": 5})", R"({"$max": {"a": 5.0}})", R"({"a": 5})"},
      {R"({"a": 5})", R"({"$max": {"a": "x"}})", R"({"a": "x"})"},
      {R"({"a": "x"})", R"({"$min": {"a": 5}})", R"({"a": 5})"},
      {R"({})", R"({"$min": {"a": 5}, "$max": {"b": 6}})", R"({"a": 5, "b": 6})"},
  });
}

TEST(UpdateTest, Rename) {
  Check({
      {R"({"a": 1, "b": 2})", R"({"$rename": {"a": "c"}})", R"({"b": 2, "c": 1})"},
      {R"({"a": 1, "b": 2})", R"({"$rename": {"a": "b"}})", R"({"b": 1})"},
      {R"({"a": {"x": 1, "y": 2}})", R"({"$rename": {"a.x": "b.z"}})", R"({"a": {"y": 2}, "b": {"z": 1}})"},
      {R"({"b": 2})", R"({"$rename": {"a": "b"}})", R"({"b": 2})"},
      {R"({"a": [{"x": 1}]})", R"({"$rename": {"a.0.x": "b"}})", "cannot $rename field 'b': 'a.0.x' lies in an array"},
      {R"({"a": [1], "x": 1})", R"({"$rename": {"x": "a.0"}})", "cannot $rename field 'a.0': 'a.0' lies in an array"},
      {R"({"a": 1, "x": 1})", R"({"$rename": {"x": "a.b"}})",
       "cannot $rename field 'a.b': 'a' is of type int, not an object"},
      {R"({})", R"({"$rename": {"a": 5}})", "$rename of field 'a' needs the new name as a string"},
      {R"({})", R"({"$rename": {"a": ""}})", "$rename: path '' has an empty component"},
      {R"({})", R"({"$rename": {"a": "b\u0000"}})", "$rename: the new name holds NUL"},
      {R"({})", R"({"$rename": {"a": "a"}})", "updating the path 'a' would create a conflict at 'a'"},
      {R"({})", R"({"$rename": {"a": "a.b"}})", "updating the path 'a.b' would create a conflict at 'a'"},
      {R"({"a": [1, {"b": 2}], "c": 3})", R"({"$set": {"a.1.b": 4}, "$rename": {"c": "d"}})",
       R"({"a": [1, {"b": 4}], "d": 3})"},
  });
}

TEST(UpdateTest, Push) {
  Check({
      {R"({"a": [1]})", R"({"$push": {"a": 2}})", R"({"a": [1, 2]})"},
      {R"({"a": [1]})", R"({"$push": {"a": [2]}})", R"({"a": [1, [2]]})"},
      {R"({})", R"({"$push": {"a.b": 2}})", R"({"a": {"b": [2]}})"},
      {R"({"a": [1]})", R"({"$push": {"a": {"$each": [2, 3]}}})", R"({"a": [1, 2, 3]})"},
      {R"({"a": [1, 2]})", R"({"$push": {"a": {"$each": [8, 9], "$position": 0}}})", R"({"a": [8, 9, 1, 2]})"},
      {R"({"a": [1, 2]})", R"({"$push": {"a": {"$each": [9], "$position": 1}}})", R"({"a": [1, 9, 2]})"},
      {R"({"a": [1, 2]})", R"({"$push": {"a": {"$each": [9], "$position": -1}}})", R"({"a": [1, 9, 2]})"},
      {R"({"a": [1, 2]})", R"({"$push": {"a": {"$each": [9], "$position": -9}}})", R"({"a": [9, 1, 2]})"},
      {R"({"a": [1, 2]})", R"({"$push": {"a": {"$each": [9], "$position": 77}}})", R"({"a": [1, 2, 9]})"},
      {R"({"a": [1, 2]})", R"({"$push": {"a": {"$each": [3], "$slice": 2}}})", R"({"a": [1, 2]})"},
      {R"({"a": [1, 2]})", R"({"$push": {"a": {"$each": [3], "$slice": -2}}})", R"({"a": [2, 3]})"},
      {R"({"a": [1, 2]})", R"({"$push": {"a": {"$each": [3], "$slice": -9}}})", R"({"a": [1, 2, 3]})"},
      {R"({"a": [1, 2]})", R"({"$push": {"a": {"$each": [], "$slice": 0}}})", R"({"a": []})"},
      {R"({"a": 5})", R"({"$push": {"a": 2}})", "cannot $push field 'a': it is of type int"},
      {R"({})", R"({"$push": {"a": {"$each": 2}}})", "$push of field 'a': $each needs an array"},
      {R"({})", R"({"$push": {"a": {"$each": [2], "$sort": 1}}})", "$push of field 'a': $sort is not supported"},
      {R"({})", R"({"$push": {"a": {"$each": [2], "$slice": "x"}}})",
       "$push of field 'a': $slice needs a whole number"},
      {R"({})", R"({"$push": {"a": {"$each": [2], "$position": 1.5}}})",
       "$push of field 'a': $position needs a whole number"},
      {R"({"a": [{"b": [1]}]})", R"({"$push": {"a.0.b": 2}})", R"({"a": [{"b": [1, 2]}]})"},
  });
}

TEST(UpdateTest, AddToSetPopAndPull) {
  Check({
      {R"({"a": [1]})", R"({"$addToSet": {"a": 1.0}})", R"({"a": [1]})"},
      {R"({"a": [1]})", R"({"$addToSet": {"a": 2}})", R"({"a": [1, 2]})"},
      {R"({})", R"({"$addToSet": {"a": {"$each": [1, 2, 1]}}})", R"({"a": [1, 2]})"},
      {R"({"a": 1})", R"({"$addToSet": {"a": 2}})", "cannot $addToSet field 'a': it is of type int"},
      {R"({})", R"({"$addToSet": {"a": {"$each": [1], "$slice": 1}}})",
       "$addToSet of field 'a': $slice is not supported"},
      {R"({"a": [1, 2, 3]})", R"({"$pop": {"a": 1}})", R"({"a": [1, 2]})"},
      {R"({"a": [1, 2, 3]})", R"({"$pop": {"a": -1}})", R"({"a": [2, 3]})"},
      {R"({"a": []})", R"({"$pop": {"a": 1}})", R"({"a": []})"},
      {R"({"b": 1})", R"({"$pop": {"a": 1}})", R"({"b": 1})"},
      {R"({"a": 1})", R"({"$pop": {"a": 1}})", "cannot $pop field 'a': it is of type int"},
      {R"({"a": [1]})", R"({"$pop": {"a": 2}})", "$pop of field 'a' needs 1 or -1"},
      {R"({"a": [1, 2, 1.0, "x"]})", R"({"$pull": {"a": 1}})", R"({"a": [2, "x"]})"},
      {R"({"a": [1, 5, 9]})", R"({"$pull": {"a": {"$gte": 5}}})", R"({"a": [1]})"},
      {R"({"a": [[5], 1]})", R"({"$pull": {"a": {"$gte": 5}}})", R"({"a": [1]})"},
      {R"({"a": [[5], 1]})", R"({"$pull": {"a": {"$ne": 5}}})", R"({"a": [[5]]})"},
      {R"({"a": [[5], 5]})", R"({"$pull": {"a": 5}})", R"({"a": [[5]]})"},
      {R"({"a": [["ab"], "xb"]})", R"({"$pull": {"a": {"$regex": "^a"}}})", R"({"a": ["xb"]})"},
      {R"({"a": [{"b": 1, "c": 1}, {"b": 2}]})", R"({"$pull": {"a": {"b": 1}}})", R"({"a": [{"b": 2}]})"},
      {R"({"a": ["ab", "xb"]})", R"({"$pull": {"a": {"$regex": "^a"}}})", R"({"a": ["xb"]})"},
      {R"({"b": 1})", R"({"$pull": {"a": 1}})", R"({"b": 1})"},
      {R"({"a": 1})", R"({"$pull": {"a": 1}})", "cannot $pull field 'a': it is of type int"},
      {R"({"a": [1]})", R"({"$pull": {"a": {"$near": 1}}})",
       "$pull of field 'a': filter operator $near is not supported (field '')"},
  });
}

TEST(UpdateTest, CurrentDateAndSetOnInsert) {
  Check({
      {R"({})", R"({"$currentDate": {"a": true}})", R"({"a": {"$date": {"$numberLong": "1700000000123"}}})"},
      {R"({"a": 1})", R"({"$currentDate": {"a": {"$type": "date"}}})",
       R"({"a": {"$date": {"$numberLong": "1700000000123"}}})"},
      {R"({})", R"({"$currentDate": {"a": {"$type": "timestamp"}}})",
       R"({"a": {"$timestamp": {"t": 1700000000, "i": 1}}})"},
      {R"({})", R"({"$currentDate": {"a": 5}})",
       R"($currentDate of field 'a' needs true, {$type: "date"} or {$type: "timestamp"})"},
      {R"({})", R"({"$currentDate": {"a": {"$type": "x"}}})",
       R"($currentDate of field 'a' needs true, {$type: "date"} or {$type: "timestamp"})"},
      {R"({"a": 1})", R"({"$setOnInsert": {"b": 1}, "$set": {"c": 2}})", R"({"a": 1, "c": 2})"},
  });
}

TEST(UpdateTest, RefusesByName) {
  Check({
      {R"({})", R"({"$bit": {"a": {"or": 1}}})", "update operator $bit is not supported"},
      {R"({})", R"({"$set": {"a": 1}, "b": 2})", "field 'b' stands among update operators; use $set for it"},
      {R"({})", R"({"b": 2, "$set": {"a": 1}})",
       "update operator $set stands among the fields of a replacement document"},
      {R"({})", R"({"$set": 5})", "$set needs an object, not a value of type int"},
      {R"({})", R"({"$set": {"a.$": 1}})", "$set: '$' in path 'a.$' is not supported"},
      {R"({})", R"({"$set": {"a.$[].b": 1}})", "$set: '$[]' in path 'a.$[].b' is not supported"},
      {R"({})", R"({"$set": {"a..b": 1}})", "$set: path 'a..b' has an empty component"},
      {R"({})", R"({"$set": {"": 1}})", "$set: path '' has an empty component"},
      {R"({})", R"({"$set": {"a.b": 1}, "$inc": {"a": 1}})", "updating the path 'a.b' would create a conflict at 'a'"},
      {R"({})", R"({"$set": {"a": 1}, "$unset": {"a": 1}})", "updating the path 'a' would create a conflict at 'a'"},
      {R"({})", R"({"$set": {"a": 1, "a": 2}})", "updating the path 'a' would create a conflict at 'a'"},
      {R"({"a": {}})", R"({"$set": {"a.b": 1, "ab": 2, "a.c": 3}})", R"({"a": {"b": 1, "c": 3}, "ab": 2})"},
      {R"({})", R"({"$set": {"a-b": 1, "a": 2, "a.b": 3}})", "updating the path 'a.b' would create a conflict at 'a'"},
  });
  EXPECT_EQ(ErrorOf(Update::Parse("xx")), "update: document: length 0 does not agree with its 2 bytes");
  std::string path = "a";
  for (int i = 0; i < 100; ++i) path += ".a";
  EXPECT_EQ(Outcome("{}", StrCat(R"({"$set": {")", path, R"(": 1}})")), "$set: path is deeper than 100 levels");
}

TEST(UpdateTest, IdIsImmutable) {
  const char* refused = "the update would change the field '_id', which is immutable";
  Check({
      {R"({"_id": 1, "a": 1})", R"({"$set": {"_id": 2}})", refused},
      {R"({"_id": 1, "a": 1})", R"({"$unset": {"_id": 1}})", refused},
      {R"({"_id": {"x": 1}})", R"({"$set": {"_id.x": 2}})", refused},
      {R"({"_id": 1, "a": 1})", R"({"$rename": {"_id": "b"}})", refused},
      {R"({"_id": 1, "a": 1})", R"({"$inc": {"_id": 1}})", refused},
      {R"({"_id": 1, "a": 1})", R"({"$set": {"_id": 1, "a": 2}})", R"({"_id": 1, "a": 2})"},
      {R"({"_id": 1, "a": 1})", R"({"_id": 2, "a": 1})", refused},
  });
}

TEST(UpdateTest, ReplacementKeepsTheIdInFront) {
  Check({
      {R"({"_id": 1, "a": 1})", R"({"b": 2})", R"({"_id": 1, "b": 2})"},
      {R"({"_id": 1, "a": 1})", R"({"b": 2, "_id": 1.0})", R"({"_id": 1, "b": 2})"},
      {R"({"_id": 1, "a": 1})", R"({})", R"({"_id": 1})"},
      {R"({"a": 1})", R"({"b": 2})", R"({"b": 2})"},
      {R"({"_id": 1})", R"({"a": 1, "a": 2})", "replacement document: field 'a' appears twice"},
  });
  EXPECT_TRUE(Update::Parse(Doc(R"({"b": 2})"))->is_replacement());
  EXPECT_TRUE(Update::Parse(Doc(R"({})"))->is_replacement());
  EXPECT_FALSE(Update::Parse(Doc(R"({"$set": {"b": 2}})"))->is_replacement());
}

TEST(UpdateTest, PathsNameEverythingThatChanges) {
  absl::StatusOr<Update> update =
      Update::Parse(Doc(R"({"$set": {"b.c": 2}, "$rename": {"x": "y"}, "$unset": {"a": 1}})"));
  std::vector<std::string> expected = {"b.c", "y", "x", "a"};
  EXPECT_EQ(update->paths(), expected);
  EXPECT_TRUE(Update::Parse(Doc(R"({"b": 2})"))->paths().empty());
}

TEST(UpdateTest, T18_TheLimitsHoldForTheResult) {
  std::string big(kMaxDocumentBytes - 100, 'x');
  std::string doc = Builder().Append("_id", 1).Append("a", big).Finish();
  Builder fields;
  fields.Append("b", std::string(100, 'y'));
  absl::StatusOr<Update> update = Update::Parse(Builder().Append("$set", fields).Finish());
  EXPECT_EQ(ErrorOf(update->Apply(doc)),
            StrCat("after the update: document has ", doc.size() + 3 + 4 + 101, " bytes, the limit is 16777216"));
  std::string value = "1";
  for (int i = 0; i < 60; ++i) value = StrCat(R"({"x": )", value, "}");
  std::string path = "a";
  for (int i = 0; i < 38; ++i) path += ".b";
  EXPECT_EQ(Outcome("{}", StrCat(R"({"$set": {")", path, R"(": )", value, "}}")).substr(0, 1), "{");
  EXPECT_THAT(Outcome("{}", StrCat(R"({"$set": {")", path, R"(.c.d": )", value, "}}")),
              testing::HasSubstr("nested deeper than 100 levels"));
}

// Each place in front of a new element is worth many times its bytes while the document is apart, so it must not come
// to the check of the result.
TEST(UpdateTest, T18_PlacesThatCannotFitAreRefusedBeforeTheyAreMade) {
  Builder doc, fields;
  for (int i = 0; i < 40; ++i) {
    doc.Append(StrCat("a", i), Value::Array(Builder().Finish()));
    fields.Append(StrCat("a", i, ".90000"), 1);
  }
  absl::StatusOr<Update> update = Update::Parse(Builder().Append("$set", fields).Finish());
  ASSERT_TRUE(update.ok()) << update.status();
  EXPECT_THAT(ErrorOf(update->Apply(doc.Finish())),
              testing::HasSubstr("the elements in front of it alone make the document larger than 16777216 bytes"));
}

TEST(UpdateTest, Upsert) {
  struct UpsertCase {
    const char* filter;
    const char* update;
    const char* expected;
  };
  for (const UpsertCase& c : std::initializer_list<UpsertCase>{
           {R"({"_id": 7, "a": 1})", R"({"$set": {"b": 2}})", R"({"_id": 7, "a": 1, "b": 2})"},
           {R"({"a": 1, "_id": 7})", R"({"$setOnInsert": {"b": 2}})", R"({"_id": 7, "a": 1, "b": 2})"},
           {R"({"a.b": 1, "a.c": {"$eq": 2}, "d": {"$gt": 5}})", R"({"$set": {"e": 3}})",
            R"({"a": {"b": 1, "c": 2}, "e": 3})"},
           {R"({"$and": [{"a": 1}, {"b": {"$in": [2]}}], "$or": [{"c": 1}]})", R"({"$inc": {"n": 1}})",
            R"({"a": 1, "b": 2, "c": 1, "n": 1})"},
           {R"({"$or": [{"c": 1}, {"c": 1}]})", R"({"$inc": {"n": 1}})", R"({"n": 1})"},
           {R"({"b": {"$in": [2, 3]}})", R"({"$inc": {"n": 1}})", R"({"n": 1})"},
           {R"({"a": 1, "_id": 7})", R"({"b": 2})", R"({"_id": 7, "b": 2})"},
           {R"({"a": 1})", R"({"b": 2, "_id": 9})", R"({"_id": 9, "b": 2})"},
           // Of a replacement's filter nothing but _id counts.
           {R"({"a": 1, "tags": {"$all": ["x", "y"]}, "_id": 7})", R"({"b": 2})", R"({"_id": 7, "b": 2})"},
           {R"({"a..b": 1})", R"({"b": 2})", R"({"b": 2})"},
           {R"({"_id": 7, "$and": [{"_id": 7}]})", R"({"b": 2})",
            "upsert: the filter pins one field twice: updating the path '_id' would create a conflict at '_id'"},
           {R"({"_id.x": 7})", R"({"b": 2})", "upsert: the filter names '_id.x', but must name '_id' as a whole"},
           {R"({"tags": {"$all": ["x", "y"]}})", R"({"$set": {"b": 2}})",
            "upsert: the filter pins one field twice: updating the path 'tags' would create a conflict at 'tags'"},
           {R"({"_id": 7})", R"({"$set": {"_id": 8}})", "the update would change the field '_id', which is immutable"},
           {R"({"_id": 7})", R"({"_id": 8})", "the update would change the field '_id', which is immutable"},
           {R"({"a": 1})", R"({"$set": {"_id": 8}})", R"({"_id": 8, "a": 1})"},
           {R"({"a": 1, "$and": [{"a": 2}]})", R"({"$set": {"b": 8}})",
            "upsert: the filter pins one field twice: updating the path 'a' would create a conflict at 'a'"},
           {R"({"a": 1, "a.b": 2})", R"({"$set": {"b": 8}})",
            "upsert: the filter pins one field twice: updating the path 'a.b' would create a conflict at 'a'"},
           {R"({"a": "x"})", R"({"$inc": {"a": 1}})", "cannot $inc field 'a': it is of type string"},
           {R"({"a..b": 1})", R"({"$inc": {"c": 1}})", "upsert: path 'a..b' has an empty component"},
           {R"({"_id": [1]})", R"({"$inc": {"c": 1}})", "after the update: field '_id': must not be of type array"},
       }) {
    absl::StatusOr<Filter> filter = Filter::Parse(Doc(c.filter));
    absl::StatusOr<Update> update = Update::Parse(Doc(c.update));
    ASSERT_TRUE(filter.ok() && update.ok()) << c.filter << c.update;
    absl::StatusOr<std::string> result = update->ApplyAsUpsert(*filter, kNow);
    std::string expected = c.expected[0] == '{' ? ToCanonicalJson(Doc(c.expected)) : c.expected;
    EXPECT_EQ(result.ok() ? ToCanonicalJson(*result) : ErrorOf(result), expected) << c.filter << " with " << c.update;
  }
}

}  // namespace
}  // namespace terrane::document
