// What projections keep. A case is a line: the document, the projection, what is left or the refusal.
#include "document/projection.h"

#include <gtest/gtest.h>

#include "documents.h"

namespace terrane::document {
namespace {

struct Case {
  const char* doc;
  const char* projection;
  const char* expected;
};

void Check(std::initializer_list<Case> cases) {
  for (const Case& c : cases) {
    absl::StatusOr<Projection> projection = Projection::Parse(Doc(c.projection));
    std::string expected = c.expected[0] == '{' ? ToCanonicalJson(Doc(c.expected)) : c.expected;
    EXPECT_EQ(projection.ok() ? ToCanonicalJson(projection->Apply(Doc(c.doc))) : ErrorOf(projection), expected)
        << c.doc << " with " << c.projection;
  }
}

TEST(ProjectionTest, InclusionKeepsTheIdUnlessItSaysOtherwise) {
  Check({
      {R"({"_id": 1, "a": 2, "b": 3})", R"({"a": 1})", R"({"_id": 1, "a": 2})"},
      {R"({"_id": 1, "a": 2, "b": 3})", R"({"a": true, "_id": 0})", R"({"a": 2})"},
      {R"({"_id": 1, "a": 2, "b": 3})", R"({"_id": 1})", R"({"_id": 1})"},
      {R"({"_id": 1, "a": 2, "b": 3})", R"({"b": 1, "a": 1, "_id": 1})", R"({"_id": 1, "a": 2, "b": 3})"},
      {R"({"_id": 1, "a": 2})", R"({"x": 1})", R"({"_id": 1})"},
      {R"({"a": {"b": 1, "c": 2}, "d": 3})", R"({"a.b": 1})", R"({"a": {"b": 1}})"},
      {R"({"a": {"b": 1, "c": 2, "d": 3}})", R"({"a.b": 1, "a.d": 1})", R"({"a": {"b": 1, "d": 3}})"},
      {R"({"a": {"x": 1}})", R"({"a.b": 1})", R"({"a": {}})"},
      {R"({"a": 5})", R"({"a.b": 1})", R"({})"},
      {R"({"a": [{"b": 1, "c": 2}, 5, [{"b": 3, "c": 4}, 6]]})", R"({"a.b": 1})", R"({"a": [{"b": 1}, [{"b": 3}]]})"},
      {R"({"a": [1, 2]})", R"({"a": 1})", R"({"a": [1, 2]})"},
  });
}

TEST(ProjectionTest, ExclusionLeavesOut) {
  Check({
      {R"({"_id": 1, "a": 2, "b": 3})", R"({"a": 0})", R"({"_id": 1, "b": 3})"},
      {R"({"_id": 1, "a": 2, "b": 3})", R"({"_id": 0})", R"({"a": 2, "b": 3})"},
      {R"({"_id": 1, "a": 2, "b": 3})", R"({"a": false, "_id": 0})", R"({"b": 3})"},
      {R"({"_id": 1, "a": 2, "b": 3})", R"({"a": 0.0, "_id": 1})", R"({"_id": 1, "b": 3})"},
      {R"({"a": {"b": 1, "c": 2}, "d": 3})", R"({"a.b": 0})", R"({"a": {"c": 2}, "d": 3})"},
      {R"({"a": 5})", R"({"a.b": 0})", R"({"a": 5})"},
      {R"({"a": [{"b": 1, "c": 2}, 5, [{"b": 3}]]})", R"({"a.b": 0})", R"({"a": [{"c": 2}, 5, [{}]]})"},
  });
}

TEST(ProjectionTest, EmptyProjectionKeepsEverything) {
  Check({{R"({"_id": 1, "a": 2})", R"({})", R"({"_id": 1, "a": 2})"}});
  EXPECT_TRUE(Projection().keeps_everything());
  EXPECT_TRUE(Projection::Parse(Doc("{}"))->keeps_everything());
  EXPECT_FALSE(Projection::Parse(Doc(R"({"a": 1})"))->keeps_everything());
  EXPECT_EQ(Projection().Apply(Doc(R"({"a": 1})")), Doc(R"({"a": 1})"));
}

TEST(ProjectionTest, RefusesByName) {
  Check({
      {"{}", R"({"a": 1, "b": 0})", "projection of field 'b': fields to keep and to leave out cannot be mixed"},
      {"{}", R"({"a": {"$slice": 1}})", "projection of field 'a': $slice is not supported"},
      {"{}", R"({"a": "x"})", "projection of field 'a' needs 1 or 0, not a value of type string"},
      {"{}", R"({"a": {}})", "projection of field 'a' needs 1 or 0, not a value of type object"},
      {"{}", R"({"a.$": 1})", "projection: '$' in 'a.$' is not supported"},
      {"{}", R"({"a..b": 1})", "projection path 'a..b' has an empty component"},
      {"{}", R"({"a": 1, "a.b": 1})", "projection path 'a.b' lies in another one"},
      {"{}", R"({"a.b": 1, "a": 1})", "projection path 'a' is there twice or holds another one"},
      {"{}", R"({"a": 1, "a": 1})", "projection path 'a' is there twice or holds another one"},
      {"{}", R"({"_id": 1, "_id": 1})", "projection path '_id' is there twice"},
      {"{}", R"({"_id.x": 1, "_id": 1})", "projection paths '_id' and inside of it collide"},
  });
  EXPECT_EQ(ErrorOf(Projection::Parse("x")), "projection: document: length 0 does not agree with its 1 bytes");
}

}  // namespace
}  // namespace terrane::document
