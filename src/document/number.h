// Internal: BSON's four kinds of numbers on one exact number line.
#pragma once

#include <compare>
#include <cstdint>

#include "document/value.h"

namespace terrane::document {

using Uint128 = unsigned __int128;

// A decimal128 taken apart: (-1)^negative * coefficient * 10^exponent. Encodings that IEEE calls non-canonical are
// zero.
struct DecimalParts {
  enum class Kind { kFinite, kInfinity, kNaN };
  Kind kind = Kind::kFinite;
  bool negative = false;
  int exponent = 0;         // -6176 .. 6111
  Uint128 coefficient = 0;  // < 10^34
};
DecimalParts TakeApart(Decimal128 value);
// `parts` is finite and in range.
Decimal128 PutTogether(const DecimalParts& parts);

// The canonical form: equal numbers, of whatever types, have equal members; the order of numbers is the order of the
// classes and, among non-zero ones, of (floor, exact or not, exponent, coefficient), reversed for negative ones.
struct CanonicalNumber {
  enum class Class : uint8_t { kNaN, kNegative, kZero, kPositive };
  Class klass = Class::kZero;
  // The greatest double <= the magnitude; infinity only for infinity. 0 for kNaN and kZero.
  double floor = 0;
  // The magnitude is `floor`. Else it is coefficient * 10^exponent with exactly 34 digits in the coefficient: only
  // longs and decimals are ever inexact, and these have no more digits.
  bool exact = true;
  int exponent = 0;
  Uint128 coefficient = 0;
};
// `value` is a number.
CanonicalNumber Canonical(ValueView value);
std::strong_ordering operator<=>(const CanonicalNumber& a, const CanonicalNumber& b);

// The sign of coefficient * 10^exponent - value, exactly. `value` is finite and >= 0; exponent is within +-400.
std::strong_ordering CompareDecimalWithDouble(Uint128 coefficient, int exponent, double value);

// The canonical number as a BSON value: int or long if integral and small enough, else double if exact, else decimal.
Value FromCanonical(const CanonicalNumber& number);

}  // namespace terrane::document
