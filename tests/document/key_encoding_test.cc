// The encoding of keys against the order of values, and the order of values against an oracle of its own.
#include "document/key_encoding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

#include "document/builder.h"
#include "documents.h"

namespace terrane::document {
namespace {

int Sign(int n) {
  return n < 0 ? -1 : n > 0 ? 1 : 0;
}

uint64_t Seed() {
  const char* given = std::getenv("TERRANE_SEED");
  uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("seed %llu (again: TERRANE_SEED=%llu)\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(seed));
  return seed;
}

// Every pair must compare as its places in the list do; values within one line are equal.
void CheckOrder(const std::vector<std::vector<Value>>& lines) {
  for (size_t i = 0; i < lines.size(); ++i) {
    for (size_t j = 0; j < lines.size(); ++j) {
      int expected = i < j ? -1 : i > j ? 1 : 0;
      for (const Value& a : lines[i]) {
        for (const Value& b : lines[j]) {
          std::string what = StrCat(ToCanonicalJson(a.view()), " and ", ToCanonicalJson(b.view()));
          EXPECT_EQ(Sign(Compare(a, b)), expected) << what;
          EXPECT_EQ(Sign(EncodeKey(a).compare(EncodeKey(b))), expected) << what;
        }
      }
    }
  }
}

Value Long(const char* digits) {
  return Val(StrCat(R"({"$numberLong": ")", digits, R"("})"));
}
Value Decimal(const char* text) {
  std::optional<Decimal128> value = DecimalFromString(text);
  EXPECT_TRUE(value) << text;
  return Value::Decimal(value.value_or(Decimal128{}));
}
Value Double(double value) {
  return Value::Double(value);
}

TEST(KeyOrderTest, TypesInMongoDbsOrder) {
  CheckOrder({
      {Value::MinKey()},
      {Val(R"({"$undefined": true})")},
      {Value::Null()},
      {Double(std::nan("")), Decimal("NaN")},
      {Value::Int32(-1), Value::Int64(-1), Double(-1), Decimal("-1.0")},
      {Value::Int32(0), Value::Int64(0), Double(0.0), Double(-0.0), Decimal("0"), Decimal("-0E+30")},
      {Value::Int32(1), Value::Int64(1), Double(1), Decimal("1"), Decimal("1.000"), Decimal("0.1E1")},
      {Double(std::numeric_limits<double>::infinity()), Decimal("Infinity")},
      {Value::String("")},
      {Value::String("a"), Val(R"({"$symbol": "a"})")},
      {Val(R"("a\u0000")")},
      {Val(R"("a\u0000b")")},
      {Val(R"("a\u0001")")},
      {Value::String("aa")},
      {Value::String("b")},
      {Value::String("\xC3\xA4")},
      {Val("{}")},
      {Val(R"({"$x": null})")},
      {Val(R"({"a": 1})"), Val(R"({"a": 1.0})")},
      {Val(R"({"a": 1, "b": 1})")},
      {Val(R"({"a": 2})")},
      {Val(R"({"b": 0})")},
      {Val(R"({"a": ""})")},
      {Val("[]")},
      {Val("[null, 5]")},
      {Val("[1]")},
      {Val("[1, 1]")},
      {Val("[2]")},
      {Val(R"(["a"])")},
      {Val("[[]]")},
      {Value::Binary("", 0)},
      {Value::Binary("b", 0)},
      {Value::Binary("a", 1)},
      {Value::Binary("aa", 0)},
      {Value::ObjectId(std::string(12, '\0'))},
      {Value::ObjectId(std::string(12, '\xFF'))},
      {Value::Bool(false)},
      {Value::Bool(true)},
      {Value::Date(std::numeric_limits<int64_t>::min())},
      {Value::Date(-1)},
      {Value::Date(0)},
      {Value::Date(std::numeric_limits<int64_t>::max())},
      {Value::Timestamp(0, 5)},
      {Value::Timestamp(1, 0)},
      {Value::Timestamp(0xFFFFFFFF, 1)},
      {Value::Regex("", "")},
      {Value::Regex("a", "i")},
      {Value::Regex("a", "m")},
      {Value::Regex("aa", "")},
      {Val(R"({"$dbPointer": {"$ref": "b", "$id": {"$oid": "000000000000000000000001"}}})")},
      {Val(R"({"$dbPointer": {"$ref": "b", "$id": {"$oid": "000000000000000000000002"}}})")},
      {Val(R"({"$dbPointer": {"$ref": "aa", "$id": {"$oid": "000000000000000000000001"}}})")},
      {Val(R"({"$code": "a"})")},
      {Val(R"({"$code": "b"})")},
      {Val(R"({"$code": "a", "$scope": {}})")},
      {Val(R"({"$code": "a", "$scope": {"x": 1}})")},
      {Val(R"({"$code": "b", "$scope": {}})")},
      {Value::MaxKey()},
  });
}

// Neighbours at the places where doubles, longs and decimals cannot say the same.
TEST(KeyOrderTest, NumbersExactlyAcrossTypes) {
  double denormal = std::numeric_limits<double>::denorm_min();
  double greatest = std::numeric_limits<double>::max();
  std::vector<std::vector<Value>> ascending = {
      {Decimal("1E-6176")},
      {Decimal("9.999E-331")},
      {Decimal("1E-330")},
      {Decimal("1E-324")},
      {Decimal("4.94E-324")},
      {Double(denormal)},
      {Decimal("4.941E-324")},
      {Decimal("5E-324")},
      {Decimal("9.8E-324")},
      {Double(2 * denormal)},
      {Decimal("2.2250738585072013E-308")},
      {Double(std::numeric_limits<double>::min())},
      {Decimal("2.2250738585072014E-308")},
      {Decimal("0.1")},
      {Double(0.1)},
      {Decimal("0.1000000000000000055511151231257828")},
      {Decimal("0.2999999999999999888977697537484345")},
      {Double(0.3)},
      {Decimal("0.2999999999999999888977697537484346")},
      {Decimal("0.3")},
      {Double(0.5), Decimal("0.5"), Decimal("0.500")},
      {Decimal("1.1")},
      {Double(1.1)},
      {Value::Int32(2), Decimal("2")},
      {Decimal("2147483646.9")},
      {Value::Int32(2147483647), Double(2147483647.0)},
      {Long("9007199254740992"), Double(9007199254740992.0), Decimal("9007199254740992")},
      {Long("9007199254740993"), Decimal("9007199254740993"), Decimal("9007199254740993.0")},
      {Decimal("9007199254740993.1")},
      {Double(9007199254740994.0), Long("9007199254740994")},
      {Long("90071992547409930"), Decimal("9007199254740993E1")},
      {Double(90071992547409936.0)},
      {Long("9223372036854774784"), Double(9223372036854774784.0)},
      {Long("9223372036854775806")},
      {Long("9223372036854775807"), Decimal("9223372036854775807")},
      {Decimal("9223372036854775807.5")},
      {Double(9223372036854775808.0), Decimal("9223372036854775808")},
      {Decimal("9223372036854775808.1")},
      {Double(1e22), Decimal("1E22")},
      {Double(1e23)},
      {Decimal("1E23")},
      {Decimal("1.797693134862315708145274237317043E308")},
      {Double(greatest)},
      {Decimal("1.797693134862315708145274237317044E308")},
      {Decimal("1E309")},
      {Decimal("1E310")},
      {Decimal("1E311")},
      {Decimal("9.999999999999999999999999999999999E6144")},
  };
  CheckOrder(ascending);
  // The same on the other side of zero.
  auto negate = [](const Value& value) {
    ValueView view = value;
    if (view.type() == Type::kDouble) return Value::Double(-view.AsDouble());
    if (view.type() == Type::kDecimal128) {
      Decimal128 decimal = view.AsDecimal128();
      decimal.high ^= uint64_t{1} << 63;
      return Value::Decimal(decimal);
    }
    if (view.type() == Type::kInt32) return Value::Int32(-view.AsInt32());
    return Value::Int64(-view.AsInt64());
  };
  std::vector<std::vector<Value>> descending = {
      {Double(-std::numeric_limits<double>::infinity()), Decimal("-Infinity")}};
  for (auto line = ascending.rbegin(); line != ascending.rend(); ++line) {
    std::vector<Value>& negated = descending.emplace_back();
    for (const Value& value : *line) negated.push_back(negate(value));
  }
  CheckOrder(descending);
  CheckOrder({{Long("-9223372036854775808"), Double(-9223372036854775808.0)}, {Long("-9223372036854775807")}});
}

TEST(KeyEncodingTest, BytesNeverChange) {
  auto hex = [](const Value& value) {
    std::string out;
    for (char c : EncodeKey(value)) out += absl::StrCat(absl::Hex(static_cast<uint8_t>(c), absl::kZeroPad2));
    return out;
  };
  EXPECT_EQ(hex(Value::MinKey()), "05");
  EXPECT_EQ(hex(Val(R"({"$undefined": true})")), "08");
  EXPECT_EQ(hex(Value::Null()), "0a");
  EXPECT_EQ(hex(Double(std::nan(""))), "10");
  EXPECT_EQ(hex(Value::Int32(0)), "12");
  EXPECT_EQ(hex(Value::Int32(1)), "133ff000000000000000");
  EXPECT_EQ(hex(Value::Int32(-1)), "11c00fffffffffffffff");
  EXPECT_EQ(hex(Decimal("0.1")), "133fb9999999999999011b360000314dc6448d9338c15b0a00000000");
  EXPECT_EQ(hex(Value::String("ab")), "2061620001");
  EXPECT_EQ(hex(Val(R"("a\u0000")")), "206100ff0001");
  EXPECT_EQ(hex(Val(R"({"a": 1, "b": null})")),
            "28106100011"
            "33ff0000000000000000a62000100");
  EXPECT_EQ(hex(Val(R"([1, "a"])")),
            "30133ff00000000000000020610001"
            "00");
  EXPECT_EQ(hex(Value::Binary("xy", 4)), "3800000002047879");
  EXPECT_EQ(hex(Value::ObjectId("abcdefghijkl")), "406162636465666768696a6b6c");
  EXPECT_EQ(hex(Value::Bool(false)), "4800");
  EXPECT_EQ(hex(Value::Bool(true)), "4801");
  EXPECT_EQ(hex(Value::Date(1)), "508000000000000001");
  EXPECT_EQ(hex(Value::Timestamp(1, 2)), "540000000100000002");
  EXPECT_EQ(hex(Value::Regex("a", "i")), "58610001690001");
  EXPECT_EQ(hex(Val(R"({"$dbPointer": {"$ref": "b", "$id": {"$oid": "000000000000000000000001"}}})")),
            "5c0000000162000000000000000000000001");
  EXPECT_EQ(hex(Val(R"({"$code": "a"})")), "60610001");
  EXPECT_EQ(hex(Val(R"({"$code": "a", "$scope": {"x": null}})")), "646100010a78000100");
  EXPECT_EQ(hex(Value::MaxKey()), "f0");
}

// Random values, biased towards the places where things go wrong: equal values of different types, neighbours, NULs.
class Values {
 public:
  explicit Values(uint64_t seed) : random_(seed) {}

  Value Any(int depth) {
    switch (Below(depth > 0 ? 18 : 15)) {
      case 0:
        return Value::MinKey();
      case 1:
        return Value::MaxKey();
      case 2:
        return Value::Null();
      case 3:
        return Value(Type::kUndefined, "");
      case 4:
        return Value::Bool(Below(2) == 0);
      case 5:
        return Value::String(Text());
      case 6:
        return Value(Below(2) == 0 ? Type::kSymbol : Type::kCode, std::string(Value::String(Text()).view().bytes()));
      case 7:
        return Value::Date(static_cast<int64_t>(random_()) >> Below(64));
      case 8:
        return Value::Timestamp(static_cast<uint32_t>(Below(3)), static_cast<uint32_t>(Below(3)));
      case 9:
        return Value::Binary(Text(), static_cast<uint8_t>(Below(2)));
      case 10:
        return Value::ObjectId(std::string(12, static_cast<char>(Below(256))));
      case 11:
        return Value::Regex(Name(), Name());
      case 15:
        return Document(depth - 1);
      case 16:
        return Array(depth - 1);
      case 17: {
        std::string text(Value::String(Text()).view().bytes());
        std::string scope(Document(depth - 1).view().bytes());
        uint32_t size = static_cast<uint32_t>(4 + text.size() + scope.size());
        return Value(Type::kCodeWithScope, std::string(reinterpret_cast<char*>(&size), 4) + text + scope);
      }
      default:
        return Number();
    }
  }

  Value Number() {
    int64_t whole = static_cast<int64_t>(random_()) >> Below(64);
    if (Below(4) == 0) whole = (int64_t{1} << (50 + Below(13))) + static_cast<int64_t>(Below(5)) - 2;
    if (Below(2) == 0) whole = -whole;
    switch (Below(6)) {
      case 0:
        return Value::Int32(static_cast<int32_t>(whole));
      case 1:
        return Value::Int64(whole);
      case 2:
        return Value::Double(static_cast<double>(whole));
      case 3:
        return Value::Double(static_cast<double>(whole) / std::pow(10, static_cast<double>(Below(20))));
      case 4:
        return Value::Decimal(*DecimalFromString(StrCat(whole, "E", static_cast<int>(Below(40)) - 25)));
      default:
        return Value::Decimal(*DecimalFromString(StrCat(whole)));
    }
  }

  Value Document(int depth) {
    Builder out;
    for (size_t i = Below(4); i > 0; --i) out.Append(Name(), Any(depth));
    return Value::Document(out.Finish());
  }

  Value Array(int depth) {
    ArrayBuilder out;
    for (size_t i = Below(4); i > 0; --i) out.Add(Any(depth));
    return Value::Array(out.Finish());
  }

  size_t Below(size_t n) { return random_() % n; }

 private:
  std::string Text() {
    std::string out;
    for (size_t i = Below(4); i > 0; --i) out.push_back("\0\1ab"[Below(4)]);
    return out;
  }
  std::string Name() {
    std::string out;
    for (size_t i = Below(3); i > 0; --i) out.push_back("\1ab"[Below(3)]);
    return out;
  }

  std::mt19937_64 random_;
};

TEST(KeyEncodingTest, OrderOfRandomValuesIsOrderOfBytesAndDecodingGivesEqualValues) {
  Values values(Seed());
  std::vector<Value> all;
  for (int i = 0; i < 1200; ++i) all.push_back(values.Any(3));
  std::vector<std::string> keys;
  for (const Value& value : all) keys.push_back(EncodeKey(value));
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t j = 0; j < all.size(); ++j) {
      ASSERT_EQ(Sign(Compare(all[i], all[j])), Sign(keys[i].compare(keys[j])))
          << ToCanonicalJson(all[i].view()) << " and " << ToCanonicalJson(all[j].view());
      ASSERT_TRUE(keys[i] == keys[j] || !keys[j].starts_with(keys[i])) << ToCanonicalJson(all[i].view());
    }
    std::string stream = keys[i] + keys[(i + 1) % keys.size()];
    std::string_view rest = stream;
    absl::StatusOr<Value> back = DecodeKey(&rest);
    ASSERT_TRUE(back.ok()) << ToCanonicalJson(all[i].view());
    ASSERT_EQ(Compare(*back, all[i]), 0) << ToCanonicalJson(all[i].view()) << " became "
                                         << ToCanonicalJson(back->view());
    ASSERT_EQ(EncodeKey(*back), keys[i]);
    ASSERT_EQ(rest, keys[(i + 1) % keys.size()]);
    ASSERT_EQ(*KeySize(stream), keys[i].size());
  }
}

// An oracle that shares nothing with the code: sign and decimal digits as text.
struct Digits {
  bool negative = false;
  std::string whole, fraction;
};

Digits Expand(ValueView value) {
  std::string text;
  if (value.type() == Type::kDouble) {
    char buffer[1500];
    std::snprintf(buffer, sizeof(buffer), "%.1100f", value.AsDouble());
    text = buffer;
  } else if (value.type() == Type::kDecimal128) {
    text = DecimalToString(value.AsDecimal128());
  } else {
    text = std::to_string(value.AsInt64());
  }
  Digits out;
  out.negative = text[0] == '-';
  if (out.negative) text.erase(0, 1);
  int exponent = 0;
  if (size_t e = text.find('E'); e != text.npos) {
    exponent = std::atoi(text.c_str() + e + 1);
    text.resize(e);
  }
  size_t point = std::min(text.find('.'), text.size());
  out.whole = text.substr(0, point);
  if (point < text.size()) out.fraction = text.substr(point + 1);
  for (; exponent > 0; --exponent) {
    out.whole += out.fraction.empty() ? '0' : out.fraction[0];
    if (!out.fraction.empty()) out.fraction.erase(0, 1);
  }
  for (; exponent < 0; ++exponent) {
    out.fraction.insert(out.fraction.begin(), out.whole.empty() ? '0' : out.whole.back());
    if (!out.whole.empty()) out.whole.pop_back();
  }
  out.whole.erase(0, std::min(out.whole.find_first_not_of('0'), out.whole.size()));
  while (!out.fraction.empty() && out.fraction.back() == '0') out.fraction.pop_back();
  if (out.whole.empty() && out.fraction.empty()) out.negative = false;
  return out;
}

int CompareDigits(const Digits& a, const Digits& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  int order =
      a.whole.size() != b.whole.size() ? (a.whole.size() < b.whole.size() ? -1 : 1) : Sign(a.whole.compare(b.whole));
  if (order == 0) order = Sign(a.fraction.compare(b.fraction));
  return a.negative ? -order : order;
}

TEST(KeyOrderTest, RandomNumbersAgainstTheirDigits) {
  Values values(Seed());
  std::vector<Value> numbers;
  std::vector<Digits> digits;
  for (int i = 0; i < 500; ++i) {
    numbers.push_back(values.Number());
    digits.push_back(Expand(numbers.back()));
  }
  for (size_t i = 0; i < numbers.size(); ++i) {
    for (size_t j = 0; j < numbers.size(); ++j) {
      ASSERT_EQ(Sign(Compare(numbers[i], numbers[j])), CompareDigits(digits[i], digits[j]))
          << ToCanonicalJson(numbers[i].view()) << " and " << ToCanonicalJson(numbers[j].view());
    }
  }
}

TEST(KeyEncodingTest, DecodedNumbersTakeTheSmallestType) {
  auto decoded = [](const Value& value) {
    std::string key = EncodeKey(value);
    std::string_view rest = key;
    return ToCanonicalJson(DecodeKey(&rest)->view());
  };
  EXPECT_EQ(decoded(Double(-0.0)), R"({"$numberInt": "0"})");
  EXPECT_EQ(decoded(Double(7)), R"({"$numberInt": "7"})");
  EXPECT_EQ(decoded(Decimal("-2147483648")), R"({"$numberInt": "-2147483648"})");
  EXPECT_EQ(decoded(Decimal("2147483648")), R"({"$numberLong": "2147483648"})");
  EXPECT_EQ(decoded(Long("9007199254740993")), R"({"$numberLong": "9007199254740993"})");
  EXPECT_EQ(decoded(Long("-9007199254740993")), R"({"$numberLong": "-9007199254740993"})");
  EXPECT_EQ(decoded(Long("90071992547409930")), R"({"$numberLong": "90071992547409930"})");
  EXPECT_EQ(decoded(Long("9223372036854775807")), R"({"$numberLong": "9223372036854775807"})");
  EXPECT_EQ(decoded(Long("-9223372036854775808")), R"({"$numberLong": "-9223372036854775808"})");
  EXPECT_EQ(decoded(Double(9223372036854775808.0)), R"({"$numberDouble": "9223372036854775808.0"})");
  EXPECT_EQ(decoded(Decimal("9223372036854775809")), R"({"$numberDecimal": "9223372036854775809"})");
  EXPECT_EQ(decoded(Decimal("-9223372036854775809")), R"({"$numberDecimal": "-9223372036854775809"})");
  EXPECT_EQ(decoded(Decimal("0.10")), R"({"$numberDecimal": "0.1"})");
  EXPECT_EQ(decoded(Decimal("0.5")), R"({"$numberDouble": "0.5"})");
  EXPECT_EQ(decoded(Decimal("1E6144")), R"({"$numberDecimal": "1.000000000000000000000000000000000E+6144"})");
  EXPECT_EQ(decoded(Decimal("1E-6176")), R"({"$numberDecimal": "1E-6176"})");
  EXPECT_EQ(decoded(Decimal("NaN")), R"({"$numberDouble": "NaN"})");
  EXPECT_EQ(decoded(Decimal("-Infinity")), R"({"$numberDouble": "-Infinity"})");
}

TEST(KeyEncodingTest, ToInt64IsExact) {
  EXPECT_EQ(Double(7).view().ToInt64(), 7);
  EXPECT_EQ(Decimal("7.0").view().ToInt64(), 7);
  EXPECT_EQ(Decimal("9007199254740993E1").view().ToInt64(), 90071992547409930);
  for (const Value& value : {Double(7.5), Double(1e300), Double(std::nan("")), Decimal("7.5"), Decimal("1E30"),
                             Value::String("7"), Value::Bool(true), Value::Null()}) {
    EXPECT_EQ(value.view().ToInt64(), std::nullopt) << ToCanonicalJson(value.view());
  }
}

// Encodings of the coefficient that the standard calls non-canonical are zero.
TEST(KeyEncodingTest, NonCanonicalDecimalsAreZero) {
  Value too_long = Value::Decimal({.high = 0x3040000000000000 | 0x1FFFFFFFFFFFF, .low = ~uint64_t{0}});
  Value other_form = Value::Decimal({.high = 0x6C10000000000000, .low = 5});
  EXPECT_EQ(EncodeKey(too_long), EncodeKey(Value::Int32(0)));
  EXPECT_EQ(EncodeKey(other_form), EncodeKey(Value::Int32(0)));
}

TEST(KeyEncodingTest, WhatIsNoEncodingIsRefusedAndNeverCrashes) {
  uint64_t seed = Seed();
  Values values(seed);
  std::mt19937_64 random(seed);
  size_t refused = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string key = EncodeKey(values.Any(3));
    switch (random() % 3) {
      case 0:
        key.resize(random() % (key.size() + 1));
        break;
      case 1:
        key[random() % key.size()] = static_cast<char>(random());
        break;
      default:
        key.insert(random() % key.size(), 1, static_cast<char>(random()));
    }
    std::string_view rest = key;
    absl::StatusOr<Value> value = DecodeKey(&rest);
    if (value.ok()) {
      // Whatever is accepted is an encoding.
      ASSERT_EQ(EncodeKey(*value), key.substr(0, key.size() - rest.size()));
    } else {
      ++refused;
      ASSERT_EQ(value.status().code(), absl::StatusCode::kDataLoss);
    }
  }
  EXPECT_GT(refused, 1000u);
  std::string deep(100000, '\x30');
  std::string_view rest = deep;
  EXPECT_EQ(DecodeKey(&rest).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(KeySize("").status().code(), absl::StatusCode::kDataLoss);
}

TEST(KeyEncodingTest, T19_PrefixEndIsTheLeastStringBeyondThePrefix) {
  EXPECT_EQ(PrefixEnd("ab"), "ac");
  EXPECT_EQ(PrefixEnd("a\xFF\xFF"), "b");
  EXPECT_EQ(PrefixEnd(std::string("a\0", 2)), "a\1");
  EXPECT_EQ(PrefixEnd("\xFF\xFF"), std::nullopt);
  EXPECT_EQ(PrefixEnd(""), std::nullopt);
}

}  // namespace
}  // namespace terrane::document
