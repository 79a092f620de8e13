// What filters mean. A case is a line: the document, the filter, and whether it matches.
#include "document/filter.h"

#include <gtest/gtest.h>

#include "documents.h"

namespace terrane::document {
namespace {

struct Case {
  const char* doc;
  const char* filter;
  bool matches;
};

void Check(std::initializer_list<Case> cases) {
  for (const Case& c : cases) {
    absl::StatusOr<Filter> filter = Filter::Parse(Doc(c.filter));
    ASSERT_TRUE(filter.ok()) << c.filter << ": " << filter.status();
    EXPECT_EQ(filter->Matches(Doc(c.doc)), c.matches) << c.doc << " against " << c.filter;
  }
}

std::string Refusal(const char* filter) {
  return ErrorOf(Filter::Parse(Doc(filter)));
}

TEST(FilterTest, EmptyFilterMatchesEverything) {
  Check({{R"({})", R"({})", true}, {R"({"a": 1})", R"({})", true}});
  EXPECT_TRUE(Filter().Matches(Doc(R"({"a": 1})")));
  EXPECT_TRUE(Filter().conditions().empty());
}

TEST(FilterTest, EqualityComparesNumbersByValueAndObjectsByOrder) {
  Check({
      {R"({"a": 1})", R"({"a": 1})", true},
      {R"({"a": 1})", R"({"a": 1.0})", true},
      {R"({"a": {"$numberDecimal": "1.00"}})", R"({"a": {"$numberLong": "1"}})", true},
      {R"({"a": 1})", R"({"a": 2})", false},
      {R"({"a": 1})", R"({"a": "1"})", false},
      {R"({"a": 1})", R"({"a": true})", false},
      {R"({"a": {"b": 1, "c": 2}})", R"({"a": {"b": 1, "c": 2}})", true},
      {R"({"a": {"c": 2, "b": 1}})", R"({"a": {"b": 1, "c": 2}})", false},
      {R"({"a": {"b": 1, "c": 2}})", R"({"a": {"b": 1}})", false},
      {R"({"a": {}})", R"({"a": {}})", true},
      {R"({"a": 1, "b": 2})", R"({"a": 1, "b": 2})", true},
      {R"({"a": 1, "b": 2})", R"({"a": 1, "b": 3})", false},
      {R"({"a": {"$ref": "c", "$id": 5}})", R"({"a": {"$ref": "c", "$id": 5}})", true},
      {R"({"a": {"$numberDouble": "NaN"}})", R"({"a": {"$numberDouble": "NaN"}})", true},
  });
}

TEST(FilterTest, NullMatchesMissingNullAndUndefined) {
  Check({
      {R"({})", R"({"a": null})", true},
      {R"({"a": null})", R"({"a": null})", true},
      {R"({"a": {"$undefined": true}})", R"({"a": null})", true},
      {R"({"a": 0})", R"({"a": null})", false},
      {R"({"a": [null]})", R"({"a": null})", true},
      {R"({"a": []})", R"({"a": null})", false},
      {R"({"a": 5})", R"({"a.b": null})", true},
      {R"({"a": [1, 2]})", R"({"a.b": null})", false},
      {R"({"a": [{"b": 1}, {}]})", R"({"a.b": null})", true},
      {R"({})", R"({"a": {"$gte": null}})", true},
      {R"({})", R"({"a": {"$lte": null}})", true},
      {R"({})", R"({"a": {"$gt": null}})", false},
      {R"({})", R"({"a": {"$ne": null}})", false},
      {R"({"a": 1})", R"({"a": {"$ne": null}})", true},
      {R"({})", R"({"a": {"$in": [1, null]}})", true},
      {R"({})", R"({"a": {"$nin": [1, null]}})", false},
  });
}

TEST(FilterTest, ComparisonsStayWithinOneTypeRank) {
  Check({
      {R"({"a": 5})", R"({"a": {"$gt": 4}})", true},
      {R"({"a": 5})", R"({"a": {"$gt": 5}})", false},
      {R"({"a": 5})", R"({"a": {"$gte": 5.0}})", true},
      {R"({"a": 5})", R"({"a": {"$gte": 6}})", false},
      {R"({"a": 5})", R"({"a": {"$lt": 6}})", true},
      {R"({"a": 5})", R"({"a": {"$lt": 5}})", false},
      {R"({"a": 5})", R"({"a": {"$lte": 5}})", true},
      {R"({"a": 5})", R"({"a": {"$lte": 4}})", false},
      {R"({"a": "x"})", R"({"a": {"$gt": 4}})", false},
      {R"({"a": "x"})", R"({"a": {"$lt": 4}})", false},
      {R"({"a": "b"})", R"({"a": {"$gt": "a"}})", true},
      {R"({"a": {"$date": {"$numberLong": "5"}}})", R"({"a": {"$gt": {"$date": {"$numberLong": "4"}}}})", true},
      {R"({"a": {"$numberDouble": "NaN"}})", R"({"a": {"$lt": 5}})", false},
      {R"({"a": {"$numberDecimal": "NaN"}})", R"({"a": {"$lte": {"$numberDouble": "NaN"}}})", true},
      {R"({"a": 1})", R"({"a": {"$gte": {"$numberDouble": "NaN"}}})", false},
      {R"({"a": 1})", R"({"a": {"$gt": {"$minKey": 1}}})", true},
      {R"({"a": "x"})", R"({"a": {"$lt": {"$maxKey": 1}}})", true},
      {R"({"a": "x"})", R"({"a": {"$lt": {"$minKey": 1}}})", false},
      {R"({"a": {"$minKey": 1}})", R"({"a": {"$gte": {"$minKey": 1}}})", true},
  });
}

TEST(FilterTest, AMissingFieldLiesBetweenMinKeyAndMaxKey) {
  Check({
      {R"({})", R"({"a": {"$gt": {"$minKey": 1}}})", true},
      {R"({})", R"({"a": {"$gte": {"$minKey": 1}}})", true},
      {R"({})", R"({"a": {"$lt": {"$maxKey": 1}}})", true},
      {R"({})", R"({"a": {"$lte": {"$maxKey": 1}}})", true},
      {R"({"a": 5})", R"({"a.b": {"$gt": {"$minKey": 1}}})", true},
      {R"({"a": [5]})", R"({"a.b": {"$gt": {"$minKey": 1}}})", false},  // leads to nothing, not to a missing value
      {R"({})", R"({"a": {"$lt": {"$minKey": 1}}})", false},
      {R"({})", R"({"a": {"$lte": {"$minKey": 1}}})", false},
      {R"({})", R"({"a": {"$gt": {"$maxKey": 1}}})", false},
      {R"({})", R"({"a": {"$gte": {"$maxKey": 1}}})", false},
      {R"({})", R"({"a": {"$minKey": 1}})", false},
      {R"({})", R"({"a": {"$in": [{"$maxKey": 1}]}})", false},
  });
}

TEST(FilterTest, ArraysMatchByElementOrAsAWhole) {
  Check({
      {R"({"a": [1, 2]})", R"({"a": 2})", true},
      {R"({"a": [1, 2]})", R"({"a": [1, 2]})", true},
      {R"({"a": [1, 2]})", R"({"a": [2, 1]})", false},
      {R"({"a": [[1, 2]]})", R"({"a": [1, 2]})", true},
      {R"({"a": [[1, 2]]})", R"({"a": 1})", false},
      {R"({"a": [1, 20]})", R"({"a": {"$gt": 10, "$lt": 5}})", true},  // different elements
      {R"({"a": [1, 2]})", R"({"a": {"$ne": 2}})", false},
      {R"({"a": [1, 2]})", R"({"a": {"$ne": 3}})", true},
      {R"({"a": [1, 2]})", R"({"a": {"$gt": [1, 1]}})", true},
  });
}

TEST(FilterTest, DottedPathsGoThroughDocumentsArraysAndIndexes) {
  Check({
      {R"({"a": {"b": {"c": 1}}})", R"({"a.b.c": 1})", true},
      {R"({"a": {"b": 1}})", R"({"a.c": 1})", false},
      {R"({"a": [{"b": 1}, {"b": 2}]})", R"({"a.b": 2})", true},
      {R"({"a": [{"b": 1}, {"b": 2}]})", R"({"a.b": 3})", false},
      {R"({"a": [{"b": [5, 6]}]})", R"({"a.b": 6})", true},
      {R"({"a": [{"b": 1}, {"b": 2}]})", R"({"a.1.b": 2})", true},
      {R"({"a": [{"b": 1}, {"b": 2}]})", R"({"a.0.b": 2})", false},
      {R"({"a": [7, 8]})", R"({"a.1": 8})", true},
      {R"({"a": [7, 8]})", R"({"a.2": 8})", false},
      {R"({"a": [7, 8]})", R"({"a.01": 8})", false},
      {R"({"a": [[{"b": 1}]]})", R"({"a.b": 1})", false},
      {R"({"a": [[{"b": 1}]]})", R"({"a.0.b": 1})", true},
      {R"({"a": [[7, 8]]})", R"({"a.0.1": 8})", true},
      {R"({"a": {"0": 3}})", R"({"a.0": 3})", true},
      {R"({"a": [{"0": 3}]})", R"({"a.0": 3})", true},
      {R"({"a": [{"0": [3, 4]}]})", R"({"a.0": 4})", true},
  });
}

// The element that an index names stands for itself; a field of a document is looked into.
TEST(FilterTest, AnIndexAtTheEndOfAPathNamesTheElementAlone) {
  Check({
      {R"({"m": [[1, 2], [3]]})", R"({"m.0": 2})", false},
      {R"({"m": [[1, 2], [3]]})", R"({"m.0": [1, 2]})", true},
      {R"({"m": [[1, 2], [3]]})", R"({"m.0": {"$gt": 1}})", false},
      {R"({"m": [[1, 2], [3]]})", R"({"m.0": {"$ne": 2}})", true},
      {R"({"m": [[1, 2], [3]]})", R"({"m.0": {"$in": [2]}})", false},
      {R"({"m": [[1, 2], [3]]})", R"({"m.0": {"$nin": [2]}})", true},
      {R"({"m": [[1, 2], [3]]})", R"({"m.0": {"$type": "int"}})", false},
      {R"({"m": [[1, 2], [3]]})", R"({"m.0": {"$type": "array"}})", true},
      {R"({"m": [[1, 2], [3]]})", R"({"m.0": {"$size": 2}})", true},
      {R"({"m": [[1, 2], [3]]})", R"({"m.0": {"$elemMatch": {"$gt": 1}}})", true},
      {R"({"m": [[[1, 2]]]})", R"({"m.0.0": 2})", false},
      {R"({"m": [["ab"]]})", R"({"m.0": {"$regex": "a"}})", false},
      {R"({"m": ["ab"]})", R"({"m.0": {"$regex": "a"}})", true},
  });
}

TEST(FilterTest, InAndNin) {
  Check({
      {R"({"a": 2})", R"({"a": {"$in": [1, 2.0]}})", true},
      {R"({"a": 3})", R"({"a": {"$in": [1, 2]}})", false},
      {R"({"a": 3})", R"({"a": {"$in": []}})", false},
      {R"({"a": [9, 2]})", R"({"a": {"$in": [1, 2]}})", true},
      {R"({"a": 3})", R"({"a": {"$nin": [1, 2]}})", true},
      {R"({"a": [9, 2]})", R"({"a": {"$nin": [1, 2]}})", false},
      {R"({"a": "abc"})", R"({"a": {"$in": [1, {"$regularExpression": {"pattern": "^ab", "options": ""}}]}})", true},
      {R"({"a": "xab"})", R"({"a": {"$in": [1, {"$regularExpression": {"pattern": "^ab", "options": ""}}]}})", false},
  });
}

TEST(FilterTest, ExistsAndType) {
  Check({
      {R"({"a": null})", R"({"a": {"$exists": true}})", true},
      {R"({})", R"({"a": {"$exists": true}})", false},
      {R"({})", R"({"a": {"$exists": false}})", true},
      {R"({"a": 1})", R"({"a": {"$exists": 0}})", false},
      {R"({"a": [{"b": 1}, {}]})", R"({"a.b": {"$exists": true}})", true},
      {R"({"a": [{"b": 1}, {}]})", R"({"a.b": {"$exists": false}})", false},
      {R"({"a": []})", R"({"a.b": {"$exists": false}})", true},
      {R"({"a": 1})", R"({"a": {"$type": "int"}})", true},
      {R"({"a": 1})", R"({"a": {"$type": 16}})", true},
      {R"({"a": 1})", R"({"a": {"$type": "long"}})", false},
      {R"({"a": 1.5})", R"({"a": {"$type": "number"}})", true},
      {R"({"a": "x"})", R"({"a": {"$type": "number"}})", false},
      {R"({"a": "x"})", R"({"a": {"$type": ["string", "int"]}})", true},
      {R"({"a": ["x"]})", R"({"a": {"$type": "string"}})", true},
      {R"({"a": ["x"]})", R"({"a": {"$type": "array"}})", true},
      {R"({"a": {"$minKey": 1}})", R"({"a": {"$type": -1}})", true},
      {R"({"a": {"$maxKey": 1}})", R"({"a": {"$type": 127}})", true},
      {R"({})", R"({"a": {"$type": "null"}})", false},
      {R"({"a": null})", R"({"a": {"$type": 10}})", true},
  });
}

TEST(FilterTest, LogicalOperators) {
  Check({
      {R"({"a": 1, "b": 2})", R"({"$and": [{"a": 1}, {"b": 2}]})", true},
      {R"({"a": 1, "b": 2})", R"({"$and": [{"a": 1}, {"b": 3}]})", false},
      {R"({"a": 1})", R"({"$or": [{"a": 2}, {"a": 1}]})", true},
      {R"({"a": 1})", R"({"$or": [{"a": 2}, {"a": 3}]})", false},
      {R"({"a": 1})", R"({"$nor": [{"a": 2}, {"a": 3}]})", true},
      {R"({"a": 1})", R"({"$nor": [{"a": 2}, {"a": 1}]})", false},
      {R"({"a": 1})", R"({"a": {"$not": {"$gt": 1}}})", true},
      {R"({"a": 2})", R"({"a": {"$not": {"$gt": 1}}})", false},
      {R"({})", R"({"a": {"$not": {"$gt": 1}}})", true},
      {R"({"a": "abc"})", R"({"a": {"$not": {"$regularExpression": {"pattern": "b", "options": ""}}}})", false},
      {R"({"a": 1, "b": 1})", R"({"a": 1, "$or": [{"b": 2}, {"b": 1}]})", true},
  });
}

TEST(FilterTest, RegularExpressions) {
  Check({
      {R"({"a": "abc"})", R"({"a": {"$regex": "^ab"}})", true},
      {R"({"a": "ABC"})", R"({"a": {"$regex": "^ab"}})", false},
      {R"({"a": "ABC"})", R"({"a": {"$regex": "^ab", "$options": "i"}})", true},
      {R"({"a": "x\nabc"})", R"({"a": {"$regex": "^ab"}})", false},
      {R"({"a": "x\nabc"})", R"({"a": {"$options": "m", "$regex": "^ab"}})", true},
      {R"({"a": "x\ny"})", R"({"a": {"$regex": "x.y"}})", false},
      {R"({"a": "x\ny"})", R"({"a": {"$regex": "x.y", "$options": "s"}})", true},
      {R"({"a": "abc"})", R"({"a": {"$regularExpression": {"pattern": "B", "options": "i"}}})", true},
      {R"({"a": ["x", "abc"]})", R"({"a": {"$regex": "b"}})", true},
      {R"({"a": {"$symbol": "abc"}})", R"({"a": {"$regex": "b"}})", true},
      {R"({"a": 5})", R"({"a": {"$regex": "5"}})", false},
      {R"({"a": "b"})", R"({"a": {"$regex": "^a", "$gt": "b"}})", false},
      {R"({"a": ["ax", "c"]})", R"({"a": {"$regex": "^a", "$gt": "b"}})", true},
      {R"({"a": {"$regularExpression": {"pattern": "b", "options": "i"}}})",
       R"({"a": {"$regularExpression": {"pattern": "b", "options": "i"}}})", true},
      {R"({"a": {"$regularExpression": {"pattern": "b", "options": ""}}})",
       R"({"a": {"$regularExpression": {"pattern": "b", "options": "i"}}})", false},
      {R"({"a": "x\u0000y"})", R"({"a": {"$regex": "y$"}})", true},
  });
}

TEST(FilterTest, ArrayOperators) {
  Check({
      {R"({"a": [1, 2]})", R"({"a": {"$size": 2}})", true},
      {R"({"a": [1, 2]})", R"({"a": {"$size": 1}})", false},
      {R"({"a": [[1, 2], 5, 6]})", R"({"a": {"$size": 2}})", false},
      {R"({"a": "xy"})", R"({"a": {"$size": 2}})", false},
      {R"({"a": []})", R"({"a": {"$size": 0}})", true},
      {R"({"a": [1, 2, 3]})", R"({"a": {"$all": [1, 3]}})", true},
      {R"({"a": [1, 2]})", R"({"a": {"$all": [1, 3]}})", false},
      {R"({"a": 1})", R"({"a": {"$all": [1]}})", true},
      {R"({"a": [1]})", R"({"a": {"$all": []}})", false},
      {R"({"a": ["xay", 1]})", R"({"a": {"$all": [1, {"$regularExpression": {"pattern": "a", "options": ""}}]}})",
       true},
      {R"({"a": [{"b": 1}, {"b": 2}]})", R"({"a": {"$all": [{"$elemMatch": {"b": 1}}, {"$elemMatch": {"b": 2}}]}})",
       true},
      {R"({"a": [{"b": 1}]})", R"({"a": {"$all": [{"$elemMatch": {"b": 1}}, {"$elemMatch": {"b": 2}}]}})", false},
      {R"({"a": [1, 20]})", R"({"a": {"$elemMatch": {"$gt": 10, "$lt": 5}}})", false},
      {R"({"a": [1, 20, 7]})", R"({"a": {"$elemMatch": {"$gt": 5, "$lt": 10}}})", true},
      {R"({"a": [{"b": 1, "c": 2}, {"b": 2, "c": 1}]})", R"({"a": {"$elemMatch": {"b": 1, "c": 1}}})", false},
      {R"({"a": [{"b": 1, "c": 2}]})", R"({"a": {"$elemMatch": {"b": 1, "c": 2}}})", true},
      {R"({"a": [{"b": 1}]})", R"({"a": {"$elemMatch": {"$or": [{"b": 1}, {"b": 5}]}}})", true},
      {R"({"a": {"b": 1}})", R"({"a": {"$elemMatch": {"b": 1}}})", false},
      {R"({"a": [[1, 2]]})", R"({"a": {"$elemMatch": {"0": 1}}})", true},
      {R"({"a": [5]})", R"({"a": {"$elemMatch": {}}})", false},
      {R"({"a": [1, 2]})", R"({"a": {"$elemMatch": {"$not": {"$gt": 1}}}})", true},
      {R"({"a": [2, 3]})", R"({"a": {"$elemMatch": {"$not": {"$gt": 1}}}})", false},
  });
}

TEST(FilterTest, Mod) {
  Check({
      {R"({"a": 7})", R"({"a": {"$mod": [5, 2]}})", true},
      {R"({"a": 8})", R"({"a": {"$mod": [5, 2]}})", false},
      {R"({"a": -7})", R"({"a": {"$mod": [5, -2]}})", true},
      {R"({"a": 7.9})", R"({"a": {"$mod": [5, 2]}})", true},
      {R"({"a": {"$numberDecimal": "7"}})", R"({"a": {"$mod": [5, 2]}})", true},
      {R"({"a": {"$numberDecimal": "7.9"}})", R"({"a": {"$mod": [5, 2]}})", true},
      {R"({"a": {"$numberDecimal": "-7.9"}})", R"({"a": {"$mod": [5, -2]}})", true},
      {R"({"a": {"$numberDecimal": "1E-6000"}})", R"({"a": {"$mod": [5, 0]}})", true},
      {R"({"a": {"$numberDecimal": "7E+1"}})", R"({"a": {"$mod": [100, 70]}})", true},
      {R"({"a": {"$numberDecimal": "-9223372036854775808.5"}})", R"({"a": {"$mod": [10, -8]}})", true},
      {R"({"a": {"$numberDecimal": "9223372036854775807.5"}})", R"({"a": {"$mod": [10, 7]}})", true},
      {R"({"a": {"$numberDecimal": "9223372036854775808.5"}})", R"({"a": {"$mod": [1, 0]}})", false},
      {R"({"a": {"$numberDecimal": "1E+6000"}})", R"({"a": {"$mod": [1, 0]}})", false},
      {R"({"a": {"$numberDecimal": "NaN"}})", R"({"a": {"$mod": [1, 0]}})", false},
      {R"({"a": {"$numberDecimal": "-Infinity"}})", R"({"a": {"$mod": [1, 0]}})", false},
      {R"({"a": 1e300})", R"({"a": {"$mod": [5, 0]}})", false},
      {R"({"a": "7"})", R"({"a": {"$mod": [5, 2]}})", false},
      {R"({"a": {"$numberLong": "-9223372036854775808"}})", R"({"a": {"$mod": [-1, 0]}})", true},
  });
}

TEST(FilterTest, RefusesByName) {
  EXPECT_EQ(Refusal(R"({"$where": "x"})"), "filter operator $where is not supported");
  EXPECT_EQ(Refusal(R"({"$expr": {}})"), "filter operator $expr is not supported");
  EXPECT_EQ(Refusal(R"({"a": {"$near": 1}})"), "filter operator $near is not supported (field 'a')");
  EXPECT_EQ(Refusal(R"({"a": {"$gt": 1, "b": 2}})"), "field 'a': 'b' stands among filter operators but is none");
  EXPECT_EQ(Refusal(R"({"a": {"$in": 5}})"), "filter operator $in of field 'a' needs an array: it is of type int");
  EXPECT_EQ(Refusal(R"({"a": {"$in": [{"$gt": 5}]}})"), "filter operator $in of field 'a' cannot hold operators");
  EXPECT_EQ(Refusal(R"({"a": {"$nin": 5}})"), "filter operator $nin of field 'a' needs an array: it is of type int");
  EXPECT_EQ(Refusal(R"({"$and": []})"), "filter operator $and needs at least one filter");
  EXPECT_EQ(Refusal(R"({"$or": {}})"), "filter operator $or needs an array");
  EXPECT_EQ(Refusal(R"({"$nor": [1]})"), "filter operator $nor needs an array of filters: element 0 is of type int");
  EXPECT_EQ(Refusal(R"({"a": {"$size": -1}})"),
            "filter operator $size of field 'a' needs a whole number that is not negative");
  EXPECT_EQ(Refusal(R"({"a": {"$size": 1.5}})"),
            "filter operator $size of field 'a' needs a whole number that is not negative");
  EXPECT_EQ(Refusal(R"({"a": {"$type": "strnig"}})"), "filter operator $type of field 'a' knows no type 'strnig'");
  EXPECT_EQ(Refusal(R"({"a": {"$type": 99}})"), "filter operator $type of field 'a' knows no type 99");
  EXPECT_EQ(Refusal(R"({"a": {"$type": null}})"),
            "filter operator $type of field 'a' needs names or numbers of types: it is of type null");
  EXPECT_EQ(Refusal(R"({"a": {"$type": []}})"), "filter operator $type of field 'a' needs at least one type");
  EXPECT_EQ(Refusal(R"({"a": {"$mod": [5]}})"),
            "filter operator $mod of field 'a' needs an array of divisor and remainder");
  EXPECT_EQ(Refusal(R"({"a": {"$mod": [0, 1]}})"), "filter operator $mod of field 'a' has the divisor 0");
  EXPECT_EQ(Refusal(R"({"a": {"$mod": [1.5, 1]}})"), "filter operator $mod of field 'a' needs whole numbers");
  EXPECT_EQ(Refusal(R"({"a": {"$not": 5}})"),
            "filter operator $not of field 'a' needs operators or a regular expression");
  EXPECT_EQ(Refusal(R"({"a": {"$all": 5}})"), "filter operator $all of field 'a' needs an array: it is of type int");
  EXPECT_EQ(Refusal(R"({"a": {"$all": [{"$gt": 1}]}})"),
            "filter operator $all of field 'a' can hold values and $elemMatch only");
  EXPECT_EQ(Refusal(R"({"a": {"$elemMatch": 5}})"),
            "filter operator $elemMatch of field 'a' needs an object: it is of type int");
  EXPECT_EQ(Refusal(R"({"a": {"$options": "i"}})"), "filter operator $options of field 'a' needs a $regex");
  EXPECT_EQ(Refusal(R"({"a": {"$regex": "x", "$options": 1}})"),
            "filter operator $options of field 'a' needs a string");
  EXPECT_EQ(Refusal(R"({"a": {"$regex": 1}})"),
            "filter operator $regex of field 'a' needs a string or a regular expression: it is of type int");
  EXPECT_EQ(Refusal(R"({"a": {"$regex": "x", "$options": "x"}})"),
            "field 'a': regular expression option 'x' is not supported (i, m, s are)");
  EXPECT_EQ(Refusal(R"({"a": {"$regex": "x\u0000"}})"), "filter operator $regex of field 'a' must not hold NUL");
  const char* regex_twice =
      R"({"a": {"$regex": {"$regularExpression": {"pattern": "x", "options": "i"}}, "$options": "m"}})";
  EXPECT_EQ(Refusal(regex_twice), "filter operator $options of field 'a' is given twice");
  EXPECT_EQ(Refusal(R"({"a": {"$gt": {"$regularExpression": {"pattern": "x", "options": ""}}}})"),
            "filter operator $gt of field 'a' cannot take a regular expression");
  EXPECT_EQ(Refusal(R"({"a": {"$ne": {"$regularExpression": {"pattern": "x", "options": ""}}}})"),
            "filter operator $ne of field 'a' cannot take a regular expression");
  EXPECT_EQ(Refusal(R"j({"a": {"$regex": "a(?=b)"}})j"),
            "field 'a': regular expression /a(?=b)/ is not supported: invalid perl operator: (?=");
  EXPECT_EQ(Refusal(R"({"a": {"$regex": "(a)\\1"}})"),
            "field 'a': regular expression /(a)\\1/ is not supported: invalid escape sequence: \\1");
  EXPECT_EQ(ErrorOf(Filter::Parse("xx")), "filter: document: length 0 does not agree with its 2 bytes");
}

TEST(FilterTest, ConditionsAreWhatHoldsUnconditionally) {
  absl::StatusOr<Filter> filter = Filter::Parse(
      Doc(R"({"a": 1, "$and": [{"b": {"$gt": 2, "$lte": 9}}, {"c": {"$in": [3]}}], "$or": [{"d": 4}, {"d": 5}],
              "e": {"$ne": 6}, "f": null, "g": {"$in": [1, 2]}, "h": {"$gte": 1, "$lt": 3}})"));
  ASSERT_TRUE(filter.ok());
  using Op = FieldCondition::Op;
  std::vector<std::pair<std::string, Op>> seen;
  for (const FieldCondition& condition : filter->conditions()) seen.emplace_back(condition.path, condition.op);
  std::vector<std::pair<std::string, Op>> expected = {
      {"a", Op::kEqual}, {"b", Op::kGreater}, {"b", Op::kLessOrEqual},    {"c", Op::kIn},
      {"f", Op::kEqual}, {"g", Op::kIn},      {"h", Op::kGreaterOrEqual}, {"h", Op::kLess}};
  EXPECT_EQ(seen, expected);
  EXPECT_EQ(filter->PinnedValue("a")->ToInt64(), 1);
  EXPECT_EQ(filter->PinnedValue("c")->ToInt64(), 3);
  for (const char* path : {"b", "d", "e", "f", "g", "z"}) EXPECT_FALSE(filter->PinnedValue(path)) << path;
  filter = Filter::Parse(Doc(R"({"$or": [{"a": 1, "b": {"$gt": 2}}]})"));
  ASSERT_TRUE(filter.ok());
  EXPECT_EQ(filter->conditions().size(), 2u) << "an $or of one filter is that filter";
  EXPECT_EQ(filter->PinnedValue("a")->ToInt64(), 1);
}

TEST(FilterTest, ElementFilters) {
  struct ElementCase {
    const char* conditions;
    const char* element;
    bool matches;
  };
  for (const ElementCase& c : std::initializer_list<ElementCase>{
           {"5", "5.0", true},
           {"5", "6", false},
           {R"({"$gt": 5})", "6", true},
           {R"({"$gt": 5})", "5", false},
           {R"({"b": 1})", R"({"b": 1, "c": 2})", true},
           {R"({"b": 1})", R"({"b": 2})", false},
           {R"({"b": 1})", "1", false},
           {R"({"b": {"$gt": 1}})", R"({"b": 2})", true},
           {R"({"$or": [{"b": 1}, {"c": 1}]})", R"({"c": 1})", true},
           {R"([1, 2])", R"([1, 2])", true},
           {R"({"$regularExpression": {"pattern": "^a", "options": ""}})", R"("abc")", true},
           {R"({"$regularExpression": {"pattern": "^a", "options": ""}})", R"("xabc")", false},
           {R"({"$in": [1, 2]})", "2", true},
           // Operators look into an element that is an array; a plain value is that element.
           {"5", "[5]", false},
           {R"({"$eq": 5})", "[5]", true},
           {R"({"$gte": 5})", "[5]", true},
           {R"({"$gte": 5})", "[4]", false},
           {R"({"$ne": 5})", "[5]", false},
           {R"({"$ne": 5})", "[4]", true},
           {R"({"$in": [1, 2]})", "[7, 2]", true},
           {R"({"$not": {"$gt": 4}})", "[5]", false},
           {R"({"$size": 1})", "[[1, 2]]", true},
           {R"({"$size": 2})", "[[1, 2]]", false},
           {R"({"$elemMatch": {"$gt": 4}})", "[5]", true},
           {R"({"$elemMatch": {"$gt": 4}})", "[[5]]", false},
           {R"({"$regularExpression": {"pattern": "^a", "options": ""}})", R"(["x", "abc"])", true},
       }) {
    Value conditions = Val(c.conditions);
    absl::StatusOr<Filter> filter = Filter::ParseForElements(conditions);
    ASSERT_TRUE(filter.ok()) << c.conditions << filter.status();
    EXPECT_EQ(filter->MatchesElement(Val(c.element)), c.matches) << c.element << " against " << c.conditions;
  }
  EXPECT_EQ(ErrorOf(Filter::ParseForElements(Val(R"({"b": {"$near": 1}})"))),
            "filter operator $near is not supported (field 'b')");
}

}  // namespace
}  // namespace terrane::document
