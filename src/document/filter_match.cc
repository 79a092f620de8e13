// Evaluation of filters: which values a path leads to, and what holds for them.
#include <algorithm>
#include <cmath>

#include "document/filter_node.h"
#include "document/number.h"

namespace terrane::document {
namespace {

using Kind = FilterNode::Kind;

bool IsNaN(ValueView value) {
  if (value.type() == Type::kDouble) return std::isnan(value.AsDouble());
  static const Value kNaN = Value::Double(std::nan(""));
  return value.type() == Type::kDecimal128 && Compare(value, kNaN) == 0;
}

bool Includes(Kind kind, int order) {
  switch (kind) {
    case Kind::kEqual:
      return order == 0;
    case Kind::kGreater:
      return order > 0;
    case Kind::kGreaterOrEqual:
      return order >= 0;
    case Kind::kLess:
      return order < 0;
    case Kind::kLessOrEqual:
      return order <= 0;
    default:
      return false;
  }
}

bool IsNullLike(ValueView value) {
  return value.type() == Type::kNull || value.type() == Type::kUndefined;
}

// `value` <kind> `operand`, within one type rank; null and undefined are alike.
bool Holds(Kind kind, ValueView value, ValueView operand) {
  if (IsNullLike(value) && IsNullLike(operand)) return Includes(kind, 0);
  bool any_rank = operand.type() == Type::kMinKey || operand.type() == Type::kMaxKey;
  if (!any_rank && TypeRank(value.type()) != TypeRank(operand.type())) return false;
  if (IsNaN(value) || IsNaN(operand)) return IsNaN(value) && IsNaN(operand) && Includes(kind, 0);
  return Includes(kind, Compare(value, operand));
}

bool HasType(const FilterNode& node, ValueView value) {
  if (node.any_number && value.IsNumber()) return true;
  return std::find(node.types.begin(), node.types.end(), value.type()) != node.types.end();
}

// The number without its fraction; nullopt: none, or it does not fit.
std::optional<int64_t> Truncate(ValueView value) {
  if (value.type() == Type::kDouble) {
    const double number = std::trunc(value.AsDouble());
    if (number >= -0x1p63 && number < 0x1p63) return static_cast<int64_t>(number);
    return std::nullopt;
  }
  if (value.type() != Type::kDecimal128) return value.ToInt64();
  DecimalParts parts = TakeApart(value.AsDecimal128());
  if (parts.kind != DecimalParts::Kind::kFinite) return std::nullopt;
  for (; parts.exponent < 0 && parts.coefficient > 0; ++parts.exponent) parts.coefficient /= 10;
  if (parts.coefficient == 0) return 0;
  return Value::Decimal(PutTogether(parts)).view().ToInt64();
}

bool ModMatches(const FilterNode& node, ValueView value) {
  if (!value.IsNumber()) return false;
  const std::optional<int64_t> whole = Truncate(value);
  if (!whole) return false;
  // INT64_MIN % -1 overflows.
  return (node.divisor == -1 ? 0 : *whole % node.divisor) == node.number;
}

size_t CountElements(std::string_view array) {
  size_t count = 0;
  for ([[maybe_unused]] const Field& field : Fields(array)) ++count;
  return count;
}

bool ElementsMatch(const FilterNode& node, std::string_view array) {
  for (const Field& field : Fields(array)) {
    bool matches = node.kind == Kind::kElementMatches
                       ? MatchesValue(*node.children[0], field.value)
                       : field.value.IsContainer() && MatchesDocument(*node.children[0], field.value.AsDocument());
    if (matches) return true;
  }
  return false;
}

// Of a missing field: it is like null, and lies between MinKey and MaxKey as everything does.
bool HoldsForMissing(Kind kind, ValueView operand) {
  if (operand.type() == Type::kMinKey) return kind == Kind::kGreater || kind == Kind::kGreaterOrEqual;
  if (operand.type() == Type::kMaxKey) return kind == Kind::kLess || kind == Kind::kLessOrEqual;
  return IsNullLike(operand) && Includes(kind, 0);
}

// Whether the condition holds for this value; nullopt stands for a missing field.
bool ConditionHolds(const FilterNode& node, std::optional<ValueView> value) {
  switch (node.kind) {
    case Kind::kExists:
      return value.has_value() == (node.number != 0);
    case Kind::kEqual:
    case Kind::kGreater:
    case Kind::kGreaterOrEqual:
    case Kind::kLess:
    case Kind::kLessOrEqual:
      return value ? Holds(node.kind, *value, node.values[0]) : HoldsForMissing(node.kind, node.values[0]);
    case Kind::kIn:
      for (const Value& candidate : node.values) {
        if (value ? Holds(Kind::kEqual, *value, candidate) : IsNullLike(candidate)) return true;
      }
      return value && std::any_of(node.children.begin(), node.children.end(),
                                  [&](const auto& regex) { return RegexMatches(*regex, *value); });
    case Kind::kType:
      return value && HasType(node, *value);
    case Kind::kRegex:
      return value && RegexMatches(node, *value);
    case Kind::kMod:
      return value && ModMatches(node, *value);
    case Kind::kSize:
      return value && value->type() == Type::kArray &&
             CountElements(value->AsDocument()) == static_cast<uint64_t>(node.number);
    case Kind::kElementMatches:
    case Kind::kDocumentMatches:
      return value && value->type() == Type::kArray && ElementsMatch(node, value->AsDocument());
    case Kind::kNothing:
    case Kind::kAnd:
    case Kind::kOr:
    case Kind::kNor:
      return false;
  }
  return false;
}

// $exists, $size and $elemMatch are about the array, all others about its elements too.
bool LooksIntoArrays(Kind kind) {
  return kind != Kind::kExists && kind != Kind::kSize && kind != Kind::kElementMatches &&
         kind != Kind::kDocumentMatches;
}

bool AtLeaf(const FilterNode& node, ValueView value) {
  if (ConditionHolds(node, value)) return true;
  if (value.type() != Type::kArray || !LooksIntoArrays(node.kind)) return false;
  for (const Field& element : Fields(value.AsDocument())) {
    if (ConditionHolds(node, element.value)) return true;
  }
  return false;
}

bool IsIndex(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
         (name.size() == 1 || name[0] != '0');
}

bool InDocument(const FilterNode& node, std::string_view doc, std::string_view path);

// `path` is what follows the field that holds the array. Elements that are no documents have no fields: they lead to
// nothing, not even to a missing value. An element that an index at the end of the path names stands for itself alone:
// its own elements are not looked at.
bool InArray(const FilterNode& node, std::string_view array, std::string_view path) {
  size_t dot = path.find('.');
  std::string_view head = path.substr(0, dot);
  bool index = IsIndex(head);
  for (const Field& element : Fields(array)) {
    if (element.value.type() == Type::kDocument && InDocument(node, element.value.AsDocument(), path)) return true;
    if (!index || element.name != head) continue;
    if (dot == path.npos) {
      if (ConditionHolds(node, element.value)) return true;
    } else if (element.value.type() == Type::kDocument) {
      if (InDocument(node, element.value.AsDocument(), path.substr(dot + 1))) return true;
    } else if (element.value.type() == Type::kArray) {
      if (InArray(node, element.value.AsDocument(), path.substr(dot + 1))) return true;
    }
  }
  return false;
}

bool InDocument(const FilterNode& node, std::string_view doc, std::string_view path) {
  size_t dot = path.find('.');
  std::optional<ValueView> value = FindDirect(doc, path.substr(0, dot));
  if (!value) return ConditionHolds(node, std::nullopt);
  if (dot == path.npos) return AtLeaf(node, *value);
  std::string_view rest = path.substr(dot + 1);
  if (value->type() == Type::kDocument) return InDocument(node, value->AsDocument(), rest);
  if (value->type() == Type::kArray) return InArray(node, value->AsDocument(), rest);
  return ConditionHolds(node, std::nullopt);
}

template <typename Matches>
bool Combine(const FilterNode& node, Matches matches) {
  auto child_matches = [&](const std::unique_ptr<FilterNode>& child) { return matches(*child); };
  if (node.kind == Kind::kAnd) return std::all_of(node.children.begin(), node.children.end(), child_matches);
  bool any = std::any_of(node.children.begin(), node.children.end(), child_matches);
  return any == (node.kind == Kind::kOr);
}

}  // namespace

bool MatchesDocument(const FilterNode& node, std::string_view doc) {
  if (node.is_logical()) {
    return Combine(node, [&](const FilterNode& child) { return MatchesDocument(child, doc); });
  }
  // $exists: false holds if nothing is there, not if one of several things is missing.
  if (node.kind == Kind::kExists && node.number == 0) {
    FilterNode exists{.kind = Kind::kExists, .number = 1};
    return !InDocument(exists, doc, node.path);
  }
  return InDocument(node, doc, node.path);
}

bool MatchesValue(const FilterNode& node, ValueView value) {
  if (node.is_logical()) {
    return Combine(node, [&](const FilterNode& child) { return MatchesValue(child, value); });
  }
  return ConditionHolds(node, value);
}

bool MatchesField(const FilterNode& node, ValueView value) {
  if (node.is_logical()) {
    return Combine(node, [&](const FilterNode& child) { return MatchesField(child, value); });
  }
  return AtLeaf(node, value);
}

}  // namespace terrane::document
