#include "document/number.h"

#include <bson/bson.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/charconv.h"
#include "document/bytes.h"

namespace terrane::document {
namespace {

constexpr int kExponentBias = 6176;
constexpr int kMaxExponent = 6111;
constexpr int kDigits = 34;

constexpr Uint128 PowerOfTen(int n) {
  Uint128 power = 1;
  for (; n > 0; --n) power *= 10;
  return power;
}
constexpr Uint128 kCoefficientEnd = PowerOfTen(kDigits);

std::string ToDigits(Uint128 value) {
  std::string digits;
  do {
    digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(value % 10)));
    value /= 10;
  } while (value != 0);
  return digits;
}

// A natural number of any size: 32-bit limbs, the least first, no leading zeros.
class Natural {
 public:
  explicit Natural(Uint128 value) {
    for (; value != 0; value >>= 32) limbs_.push_back(static_cast<uint32_t>(value));
  }

  void Multiply(uint32_t factor) {
    uint64_t carry = 0;
    for (uint32_t& limb : limbs_) {
      carry += static_cast<uint64_t>(limb) * factor;
      limb = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) limbs_.push_back(static_cast<uint32_t>(carry));
  }

  void MultiplyByPowerOfFive(int n) {
    constexpr uint32_t kFiveTo13 = 1220703125;
    for (; n >= 13; n -= 13) Multiply(kFiveTo13);
    for (; n > 0; --n) Multiply(5);
  }

  void ShiftLeft(int bits) {
    if (limbs_.empty()) return;
    limbs_.insert(limbs_.begin(), bits / 32, 0);
    if (bits % 32 != 0) Multiply(uint32_t{1} << (bits % 32));
  }

  friend std::strong_ordering operator<=>(const Natural& a, const Natural& b) {
    if (a.limbs_.size() != b.limbs_.size()) return a.limbs_.size() <=> b.limbs_.size();
    for (size_t i = a.limbs_.size(); i-- > 0;) {
      if (a.limbs_[i] != b.limbs_[i]) return a.limbs_[i] <=> b.limbs_[i];
    }
    return std::strong_ordering::equal;
  }

 private:
  std::vector<uint32_t> limbs_;
};

CanonicalNumber FromDouble(double value) {
  CanonicalNumber out;
  if (std::isnan(value)) {
    out.klass = CanonicalNumber::Class::kNaN;
  } else if (value != 0) {
    out.klass = value < 0 ? CanonicalNumber::Class::kNegative : CanonicalNumber::Class::kPositive;
    out.floor = std::fabs(value);
  }
  return out;
}

// The greatest double <= coefficient * 10^exponent; coefficient > 0.
double FloorToDouble(Uint128 coefficient, int exponent) {
  std::string text = ToDigits(coefficient);
  int magnitude = exponent + static_cast<int>(text.size());  // 10^(magnitude-1) <= number < 10^magnitude
  if (magnitude > 310) return std::numeric_limits<double>::max();
  if (magnitude < -330) return 0;
  text += "e" + std::to_string(exponent);
  double nearest = 0;
  absl::from_chars(text.data(), text.data() + text.size(), nearest);
  if (std::isinf(nearest)) nearest = std::numeric_limits<double>::max();
  return CompareDecimalWithDouble(coefficient, exponent, nearest) < 0 ? std::nextafter(nearest, 0.0) : nearest;
}

// +-coefficient * 10^exponent, coefficient < 10^34.
CanonicalNumber FromDecimal(bool negative, Uint128 coefficient, int exponent) {
  CanonicalNumber out;
  if (coefficient == 0) return out;
  out.klass = negative ? CanonicalNumber::Class::kNegative : CanonicalNumber::Class::kPositive;
  out.floor = FloorToDouble(coefficient, exponent);
  // Beyond +-400 no double other than 0 and the greatest one was possible, and these are below the number.
  out.exact = exponent >= -400 && exponent <= 400 && CompareDecimalWithDouble(coefficient, exponent, out.floor) == 0;
  if (out.exact) return out;
  while (coefficient < kCoefficientEnd / 10) {
    coefficient *= 10;
    --exponent;
  }
  out.coefficient = coefficient;
  out.exponent = exponent;
  return out;
}

CanonicalNumber FromInt64(int64_t value) {
  bool negative = value < 0;
  uint64_t magnitude = negative ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  if (magnitude <= uint64_t{1} << 53) return FromDouble(static_cast<double>(value));
  return FromDecimal(negative, magnitude, 0);
}

}  // namespace

DecimalParts TakeApart(Decimal128 value) {
  DecimalParts parts;
  parts.negative = (value.high >> 63) != 0;
  uint64_t combination = (value.high >> 58) & 0x1F;
  if (combination == 0x1F) {
    parts.kind = DecimalParts::Kind::kNaN;
  } else if (combination == 0x1E) {
    parts.kind = DecimalParts::Kind::kInfinity;
  } else if ((combination >> 3) == 3) {
    // The other form of the coefficient always exceeds 34 digits: zero.
    parts.exponent = static_cast<int>((value.high >> 47) & 0x3FFF) - kExponentBias;
  } else {
    parts.exponent = static_cast<int>((value.high >> 49) & 0x3FFF) - kExponentBias;
    parts.coefficient = static_cast<Uint128>(value.high & 0x1FFFFFFFFFFFF) << 64 | value.low;
    if (parts.coefficient >= kCoefficientEnd) parts.coefficient = 0;
  }
  return parts;
}

Decimal128 PutTogether(const DecimalParts& parts) {
  Decimal128 out;
  out.low = static_cast<uint64_t>(parts.coefficient);
  out.high = static_cast<uint64_t>(parts.coefficient >> 64);
  out.high |= static_cast<uint64_t>(parts.exponent + kExponentBias) << 49;
  if (parts.negative) out.high |= uint64_t{1} << 63;
  return out;
}

std::strong_ordering CompareDecimalWithDouble(Uint128 coefficient, int exponent, double value) {
  int binary_exponent = 0;
  double fraction = std::frexp(value, &binary_exponent);  // value = fraction * 2^binary_exponent, 0.5 <= fraction < 1
  Natural left(coefficient);
  Natural right(static_cast<uint64_t>(std::ldexp(fraction, 53)));
  binary_exponent -= 53;
  // coefficient * 5^e * 2^e against mantissa * 2^b: whatever has a negative power goes to the other side.
  (exponent >= 0 ? left : right).MultiplyByPowerOfFive(std::abs(exponent));
  (exponent >= 0 ? left : right).ShiftLeft(std::abs(exponent));
  (binary_exponent >= 0 ? right : left).ShiftLeft(std::abs(binary_exponent));
  return left <=> right;
}

CanonicalNumber Canonical(ValueView value) {
  switch (value.type()) {
    case Type::kDouble:
      return FromDouble(value.AsDouble());
    case Type::kInt32:
    case Type::kInt64:
      return FromInt64(value.AsInt64());
    default:
      break;
  }
  DecimalParts parts = TakeApart(value.AsDecimal128());
  if (parts.kind == DecimalParts::Kind::kNaN) return FromDouble(std::numeric_limits<double>::quiet_NaN());
  if (parts.kind == DecimalParts::Kind::kInfinity) {
    double infinity = std::numeric_limits<double>::infinity();
    return FromDouble(parts.negative ? -infinity : infinity);
  }
  return FromDecimal(parts.negative, parts.coefficient, parts.exponent);
}

std::strong_ordering operator<=>(const CanonicalNumber& a, const CanonicalNumber& b) {
  if (a.klass != b.klass) return a.klass <=> b.klass;
  const CanonicalNumber& left = a.klass == CanonicalNumber::Class::kNegative ? b : a;
  const CanonicalNumber& right = a.klass == CanonicalNumber::Class::kNegative ? a : b;
  auto order = [](bool less) { return less ? std::strong_ordering::less : std::strong_ordering::greater; };
  if (left.floor != right.floor) return order(left.floor < right.floor);
  if (left.exact != right.exact) return order(left.exact);
  if (left.exponent != right.exponent) return left.exponent <=> right.exponent;
  return left.coefficient <=> right.coefficient;
}

Value FromCanonical(const CanonicalNumber& number) {
  using Class = CanonicalNumber::Class;
  if (number.klass == Class::kNaN) return Value::Double(std::numeric_limits<double>::quiet_NaN());
  bool negative = number.klass == Class::kNegative;
  auto integer = [](int64_t value) {
    bool small = value >= std::numeric_limits<int32_t>::min() && value <= std::numeric_limits<int32_t>::max();
    return small ? Value::Int32(static_cast<int32_t>(value)) : Value::Int64(value);
  };
  if (number.exact) {
    double value = negative ? -number.floor : number.floor;
    bool integral = std::trunc(value) == value && value >= -0x1p63 && value < 0x1p63;
    return integral ? integer(static_cast<int64_t>(value)) : Value::Double(value);
  }
  DecimalParts parts{.negative = negative, .exponent = number.exponent, .coefficient = number.coefficient};
  while (parts.coefficient % 10 == 0 && parts.exponent < kMaxExponent) {
    parts.coefficient /= 10;
    ++parts.exponent;
  }
  constexpr int kLongDigits = 19;
  if (parts.exponent >= 0 && parts.exponent < kLongDigits && parts.coefficient < PowerOfTen(kLongDigits)) {
    Uint128 whole = parts.coefficient * PowerOfTen(parts.exponent);
    // -2^63 is a double, so it never gets here.
    if (whole < Uint128{1} << 63) return integer(negative ? -static_cast<int64_t>(whole) : static_cast<int64_t>(whole));
  }
  return Value::Decimal(PutTogether(parts));
}

std::optional<int64_t> ValueView::ToInt64() const {
  if (!IsNumber()) return std::nullopt;
  Value plain = FromCanonical(Canonical(*this));
  if (plain.type() == Type::kInt32 || plain.type() == Type::kInt64) return plain.view().AsInt64();
  return std::nullopt;
}

std::optional<Decimal128> DecimalFromString(std::string_view text) {
  if (text.find('\0') != text.npos || text.size() > 10000) return std::nullopt;
  bson_decimal128_t out;
  if (!bson_decimal128_from_string_w_len(text.data(), static_cast<int>(text.size()), &out)) return std::nullopt;
  return Decimal128{.high = out.high, .low = out.low};
}

std::string DecimalToString(Decimal128 value) {
  char text[BSON_DECIMAL128_STRING];
  bson_decimal128_t in;
  in.high = value.high;
  in.low = value.low;
  bson_decimal128_to_string(&in, text);
  return text;
}

}  // namespace terrane::document
