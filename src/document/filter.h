// Filters: which documents a find, update, delete or count is about. MongoDB's meaning, or refused by name.
//
// Supported: {field: value} (equality), {field: {operators}} with $eq $ne $gt $gte $lt $lte $in $nin $exists $type $not
// $regex/$options $size $all $elemMatch $mod, and $and $or $nor. Dotted paths go through documents and arrays; a
// condition holds for an array if it holds for one of its elements or the array as a whole, but where an index ends the
// path ({"a.0": 5}) for that element only; comparisons are within one type rank ({$gt: 5} never matches a string);
// {a: null} also matches documents without `a`, and so do {$gt: MinKey} and {$lt: MaxKey}.
// Regular expressions are RE2's: linear time, no look-around, no back references (refused by name); options i, m, s.
//
// Immutable after Parse: cheap to copy, thread-safe, never blocks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "document/value.h"

namespace terrane::document {

struct FilterNode;

// A condition on one field that every matching document fulfils. (On fields that may hold arrays several conditions on
// one path may be fulfilled by different elements.)
struct FieldCondition {
  enum class Op { kEqual, kGreater, kGreaterOrEqual, kLess, kLessOrEqual, kIn };
  std::string path;
  Op op;
  std::vector<Value> values;  // one; for kIn any number, none of them a regular expression
};

class Filter {
 public:
  // Matches every document.
  Filter();

  // kInvalidArgument: not valid BSON, an operator that is not supported ("filter operator $where is not supported"), an
  // operand of the wrong type; the message names operator and field.
  static absl::StatusOr<Filter> Parse(std::string_view bson);

  // `doc` is a validated document.
  bool Matches(std::string_view doc) const;

  // Matches one value that is not in a document, as $pull does: `conditions` is {$gt: 5} and the like or a regular
  // expression, which hold for an array if they do for one of its elements; or, for documents, a filter on their
  // fields; anything else means equality.
  static absl::StatusOr<Filter> ParseForElements(ValueView conditions);
  bool MatchesElement(ValueView element) const;

  // Conditions that stand at the top level, inside of $and or in an $or of one filter; what only other $or, $nor or
  // $not say is left out. For
  // choosing shards and indexes: necessary for a match, not sufficient.
  const std::vector<FieldCondition>& conditions() const { return *conditions_; }

  // The value that the filter pins `path` to with an equality (not null: that also matches a missing field; no array;
  // {$in: [x]} counts), if there is one.
  std::optional<ValueView> PinnedValue(std::string_view path) const;

 private:
  std::shared_ptr<const FilterNode> root_;
  std::shared_ptr<const std::vector<FieldCondition>> conditions_;
};

}  // namespace terrane::document
