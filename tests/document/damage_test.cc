// Damaged filters, updates, projections and shard keys: refused, or harmless. The run under ASan and UBSan is the
// point.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "document/filter.h"
#include "document/projection.h"
#include "document/shard_key.h"
#include "document/update.h"
#include "document/validate.h"
#include "documents.h"

namespace terrane::document {
namespace {

TEST(DamageTest, NothingThatIsParsedDoesHarm) {
  const char* given = std::getenv("TERRANE_SEED");
  uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("seed %llu (again: TERRANE_SEED=%llu)\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  const std::string doc = Doc(R"({"_id": 1, "a": [1, {"b": "x"}, [2]], "b": {"c": 1.5, "d": null}, "c": "text"})");
  const std::string inputs[] = {
      Doc(R"({"a": {"$gt": 1, "$in": [1, "x"]}, "$or": [{"b.c": 1}, {"a.0": {"$not": {"$size": 2}}}], "c": {"$regex": "t+x"}})"),
      Doc(R"({"a": {"$elemMatch": {"b": {"$type": ["string", 2]}}}, "b": {"$exists": true}, "c": {"$mod": [3, 1]}})"),
      Doc(R"({"$set": {"a.1.b": 1, "z.y": [1]}, "$inc": {"b.c": 2}, "$rename": {"c": "q"}, "$unset": {"b.d": 1}})"),
      Doc(R"({"$push": {"a": {"$each": [1, 2], "$slice": 3}}, "$max": {"c": 5}, "$currentDate": {"t": {"$type": "date"}}})"),
      Doc(R"({"$pull": {"a": {"b": {"$gte": "w"}}}, "$addToSet": {"e": 1}, "$pop": {"f": -1}, "$mul": {"_x": 2}})"),
      Doc(R"({"a.b": 1, "_id": 0, "b.c": true})"),
      Doc(R"({"a": "hashed", "b.c": 1})"),
  };
  size_t parsed = 0, applied = 0;
  for (int i = 0; i < 40'000; ++i) {
    std::string input = inputs[random() % std::size(inputs)];
    for (size_t n = 1 + random() % 3; n > 0; --n) {
      // Type bytes, names and values of one input are the likeliest to be read as something else.
      input[4 + random() % (input.size() - 5)] =
          random() % 2 == 0 ? input[random() % input.size()] : static_cast<char>(random());
    }
    absl::StatusOr<Filter> filter = Filter::Parse(input);
    absl::StatusOr<Update> update = Update::Parse(input);
    absl::StatusOr<Projection> projection = Projection::Parse(input);
    absl::StatusOr<ShardKeyPattern> pattern = ShardKeyPattern::Parse(input);
    parsed += (filter.ok() ? 1 : 0) + (projection.ok() ? 1 : 0) + (pattern.ok() ? 1 : 0);
    if (filter.ok()) {
      filter->Matches(doc);
      ShardKeyPattern().FilterTargets(*filter);
    }
    if (projection.ok()) {
      ASSERT_TRUE(ValidateDocument(projection->Apply(doc)).ok());
    }
    if (pattern.ok()) pattern->EncodeFromDocument(doc).status().IgnoreError();
    if (!update.ok()) continue;
    absl::StatusOr<std::string> result = update->Apply(doc, 5);
    if (!result.ok()) continue;
    ++applied;
    ASSERT_TRUE(ValidateDocument(*result).ok()) << ToCanonicalJson(input);
    ASSERT_TRUE(Equal(*FindDirect(*result, "_id"), *FindDirect(doc, "_id"))) << ToCanonicalJson(input);
  }
  EXPECT_GT(parsed, 500u);
  EXPECT_GT(applied, 500u);
}

}  // namespace
}  // namespace terrane::document
