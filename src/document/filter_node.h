// Internal: a parsed filter as a tree.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "document/filter.h"
#include "document/value.h"

namespace re2 {
class RE2;
}

namespace terrane::document {

struct FilterNode {
  enum class Kind {
    // Combine `children`, which look at the same document (or at the same value, inside of a condition).
    kAnd,
    kOr,
    kNor,  // also $not, $ne and $nin, with one child
    // Conditions on the values at `path`.
    kEqual,
    kGreater,
    kGreaterOrEqual,
    kLess,
    kLessOrEqual,
    kIn,      // values, and kRegex nodes in children
    kExists,  // number: 0 or 1
    kType,    // types, any_number
    kRegex,
    kSize,             // number
    kMod,              // divisor, number: the remainder
    kElementMatches,   // {$elemMatch: {$gt: 5}}: children look at an element itself
    kDocumentMatches,  // {$elemMatch: {a: 5}}: children look at an element as a document
    kNothing,          // {$all: []}
  };

  Kind kind;
  std::string path;
  std::vector<Value> values;
  std::vector<std::unique_ptr<FilterNode>> children;
  std::vector<Type> types;
  bool any_number = false;
  int64_t number = 0;
  int64_t divisor = 0;
  std::shared_ptr<const re2::RE2> regex;
  // A regular expression also matches a stored one that is equal to it: values[0].

  bool is_logical() const { return kind == Kind::kAnd || kind == Kind::kOr || kind == Kind::kNor; }
};

// Whether the node holds for the document.
bool MatchesDocument(const FilterNode& node, std::string_view doc);
// Whether the conditions hold for this one value, arrays not being looked into. Paths are not used.
bool MatchesValue(const FilterNode& node, ValueView value);
// The same for the value as that of a field: arrays are looked into.
bool MatchesField(const FilterNode& node, ValueView value);

// Parsing. `path` is what the nodes get.
absl::StatusOr<std::unique_ptr<FilterNode>> ParseFilterDocument(std::string_view bson);
// {$gt: 5, $lt: 7}
absl::StatusOr<std::unique_ptr<FilterNode>> ParseFieldOperators(std::string_view path, std::string_view bson);
// Whether the document holds operators rather than being a value: its first name begins with $ and is not DBRef's.
bool HoldsOperators(ValueView value);

absl::StatusOr<std::unique_ptr<FilterNode>> MakeRegexNode(std::string_view path, std::string_view pattern,
                                                          std::string_view options);
bool RegexMatches(const FilterNode& node, ValueView value);

}  // namespace terrane::document
