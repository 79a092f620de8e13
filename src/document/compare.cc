#include <algorithm>
#include <compare>

#include "document/number.h"
#include "document/value.h"

namespace terrane::document {
namespace {

int Sign(std::strong_ordering order) {
  return order < 0 ? -1 : order > 0 ? 1 : 0;
}
int CompareText(std::string_view a, std::string_view b) {
  return Sign(a <=> b);
}

template <typename T>
int CompareThree(T a, T b) {
  return Sign(a <=> b);
}

int CompareNumbers(ValueView a, ValueView b) {
  bool integers = a.type() != Type::kDouble && a.type() != Type::kDecimal128 && b.type() != Type::kDouble &&
                  b.type() != Type::kDecimal128;
  if (integers) return CompareThree(a.AsInt64(), b.AsInt64());
  return Sign(Canonical(a) <=> Canonical(b));
}

// Documents by (type, name, value) of each field, arrays without the names; what ends first is less.
int CompareContainers(std::string_view a, std::string_view b, bool names) {
  Fields left(a), right(b);
  auto i = left.begin(), j = right.begin();
  for (; i != left.end() && j != right.end(); ++i, ++j) {
    if (int by_type = CompareThree(TypeRank(i->value.type()), TypeRank(j->value.type()))) return by_type;
    if (names) {
      if (int by_name = CompareText(i->name, j->name)) return by_name;
    }
    if (int by_value = Compare(i->value, j->value)) return by_value;
  }
  return CompareThree(i != left.end(), j != right.end());
}

int CompareBinary(ValueView a, ValueView b) {
  if (int by_size = CompareThree(a.AsBinary().size(), b.AsBinary().size())) return by_size;
  if (int by_subtype = CompareThree(a.BinarySubtype(), b.BinarySubtype())) return by_subtype;
  return CompareText(a.AsBinary(), b.AsBinary());
}

int CompareDbPointers(ValueView a, ValueView b) {
  if (int by_size = CompareThree(a.bytes().size(), b.bytes().size())) return by_size;
  if (int by_ref = CompareText(a.DbPointerRef(), b.DbPointerRef())) return by_ref;
  return CompareText(a.DbPointerId(), b.DbPointerId());
}

int CompareRegexes(ValueView a, ValueView b) {
  if (int by_pattern = CompareText(a.RegexPattern(), b.RegexPattern())) return by_pattern;
  return CompareText(a.RegexOptions(), b.RegexOptions());
}

int CompareCodeWithScope(ValueView a, ValueView b) {
  if (int by_code = CompareText(a.CodeText(), b.CodeText())) return by_code;
  return CompareContainers(a.CodeScope(), b.CodeScope(), /*names=*/true);
}

}  // namespace

int TypeRank(Type type) {
  switch (type) {
    case Type::kMinKey:
      return 0;
    case Type::kUndefined:
      return 1;
    case Type::kNull:
      return 2;
    case Type::kInt32:
    case Type::kInt64:
    case Type::kDouble:
    case Type::kDecimal128:
      return 3;
    case Type::kString:
    case Type::kSymbol:
      return 4;
    case Type::kDocument:
      return 5;
    case Type::kArray:
      return 6;
    case Type::kBinary:
      return 7;
    case Type::kObjectId:
      return 8;
    case Type::kBool:
      return 9;
    case Type::kDate:
      return 10;
    case Type::kTimestamp:
      return 11;
    case Type::kRegex:
      return 12;
    case Type::kDbPointer:
      return 13;
    case Type::kCode:
      return 14;
    case Type::kCodeWithScope:
      return 15;
    case Type::kMaxKey:
      return 16;
  }
  return -1;
}

int Compare(ValueView a, ValueView b) {
  if (int by_rank = CompareThree(TypeRank(a.type()), TypeRank(b.type()))) return by_rank;
  switch (a.type()) {
    case Type::kMinKey:
    case Type::kUndefined:
    case Type::kNull:
    case Type::kMaxKey:
      return 0;
    case Type::kInt32:
    case Type::kInt64:
    case Type::kDouble:
    case Type::kDecimal128:
      return CompareNumbers(a, b);
    case Type::kString:
    case Type::kSymbol:
    case Type::kCode:
      return CompareText(a.AsString(), b.AsString());
    case Type::kDocument:
      return CompareContainers(a.AsDocument(), b.AsDocument(), /*names=*/true);
    case Type::kArray:
      return CompareContainers(a.AsDocument(), b.AsDocument(), /*names=*/false);
    case Type::kBinary:
      return CompareBinary(a, b);
    case Type::kObjectId:
      return CompareText(a.AsObjectId(), b.AsObjectId());
    case Type::kBool:
      return CompareThree(a.AsBool(), b.AsBool());
    case Type::kDate:
      return CompareThree(a.AsDateMs(), b.AsDateMs());
    case Type::kTimestamp:
      return CompareThree(a.AsTimestamp(), b.AsTimestamp());
    case Type::kRegex:
      return CompareRegexes(a, b);
    case Type::kDbPointer:
      return CompareDbPointers(a, b);
    case Type::kCodeWithScope:
      return CompareCodeWithScope(a, b);
  }
  return 0;
}

}  // namespace terrane::document
