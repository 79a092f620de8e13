// The gate for bytes from outside.
#include "document/validate.h"

#include <bson/bson.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "document/builder.h"
#include "document/limits.h"
#include "document/update.h"
#include "document/utf8.h"
#include "documents.h"

namespace terrane::document {
namespace {

using testing::HasSubstr;

// A document with one element of these bytes.
std::string Raw(std::string_view element) {
  return Builder().AppendElement(element).Finish();
}
std::string Bytes(std::initializer_list<int> bytes) {
  std::string out;
  for (int byte : bytes) out.push_back(static_cast<char>(byte));
  return out;
}
std::string Structure(std::string_view bson) {
  return ErrorOf(ValidateStructure(bson));
}
std::string Document(std::string_view bson) {
  return ErrorOf(ValidateDocument(bson));
}

// {"a": {"a": ...}} with so many levels, without recursion.
std::string Nested(int levels, char type = 3) {
  std::string out = Builder().Finish();
  for (int i = 1; i < levels; ++i) {
    out = Raw(Bytes({type}) + (type == 4 ? "0" : "a") + '\0' + out);
  }
  return out;
}

TEST(ValidateTest, AcceptsEveryType) {
  std::string doc = Doc(
      R"({"_id": 1, "a": 1.5, "b": "x\u0000y", "c": {"d": [1, [2]]}, "e": {"$binary": {"base64": "AAAA", "subType": "00"}},
      "f": {"$undefined": true}, "g": {"$oid": "0123456789abcdef01234567"}, "h": true, "i": {"$date": {"$numberLong": "5"}},
      "j": null, "k": {"$regularExpression": {"pattern": "a", "options": "i"}},
      "l": {"$dbPointer": {"$ref": "x", "$id": {"$oid": "0123456789abcdef01234567"}}}, "m": {"$code": "x"},
      "n": {"$symbol": "x"}, "o": {"$code": "x", "$scope": {"y": 1}}, "p": {"$timestamp": {"t": 1, "i": 2}},
      "q": {"$numberLong": "5"}, "r": {"$numberDecimal": "1.5"}, "s": {"$minKey": 1}, "t": {"$maxKey": 1}, "": "empty name"})");
  EXPECT_EQ(Document(doc), "OK");
  EXPECT_EQ(Document(Builder().Finish()), "OK");
}

TEST(ValidateTest, LengthsMustFit) {
  EXPECT_EQ(Structure(""), "document: length 0 does not agree with its 0 bytes");
  EXPECT_EQ(Structure(Bytes({5, 0, 0, 0})), "document: length 5 does not agree with its 4 bytes");
  EXPECT_EQ(Structure(Bytes({6, 0, 0, 0, 0})), "document: length 6 does not agree with its 5 bytes");
  EXPECT_EQ(Structure(Bytes({5, 0, 0, 0, 1})), "document: does not end with a NUL byte");
  EXPECT_EQ(Structure(Raw("\x10"
                          "abc")),
            "document: a field name has no end");
  EXPECT_EQ(Structure(Raw(Bytes({0x10, 'a', 0, 1, 2, 3}))),
            "field 'a': int does not fit into the 3 bytes that are left");
  EXPECT_EQ(Structure(Raw(Bytes({0x02, 'a', 0, 9, 0, 0, 0, 'x', 0}))),
            "field 'a': string does not fit into the 6 bytes that are left");
  EXPECT_EQ(Structure(Raw(Bytes({0x02, 'a', 0, 0, 0, 0, 0}))),
            "field 'a': string does not fit into the 4 bytes that are left");
  EXPECT_EQ(Structure(Raw(Bytes({0x02, 'a', 0, 0xFF, 0xFF, 0xFF, 0xFF, 0}))),
            "field 'a': string does not fit into the 5 bytes that are left");
  EXPECT_EQ(Structure(Raw(Bytes({0x02, 'a', 0, 2, 0, 0, 0, 'x', 'y'}))),
            "field 'a': string does not end with a NUL byte");
  EXPECT_EQ(Structure(Raw(Bytes({0x03, 'a', 0, 4, 0, 0, 0, 0}))),
            "field 'a': object does not fit into the 5 bytes that are left");
  EXPECT_EQ(Structure(Raw(Bytes({0x03, 'a', 0, 5, 0, 0, 0, 7}))), "field 'a': does not end with a NUL byte");
  EXPECT_EQ(Structure(Raw(Bytes({0x0B, 'a', 0, 'x', 0, 'i'}))),
            "field 'a': regex does not fit into the 3 bytes that are left");
  EXPECT_EQ(Structure(Raw(Bytes({0x0B, 'a', 0, 'x'}))), "field 'a': regex does not fit into the 1 bytes that are left");
  EXPECT_EQ(Structure(Raw(Bytes({0x05, 'a', 0, 4, 0, 0, 0, 2, 0, 0, 0, 1}))),
            "field 'a': binData of subtype 2 has a wrong inner length");
  EXPECT_EQ(Structure(Raw(Bytes({0x05, 'a', 0, 5, 0, 0, 0, 2, 1, 0, 0, 0, 9}))), "OK");
  EXPECT_EQ(Structure(Raw(Bytes({0x05, 'a', 0, 2, 0, 0, 0, 2, 1, 0}))),
            "field 'a': binData of subtype 2 has a wrong inner length");
  EXPECT_EQ(Structure(Raw(Bytes({0x0C, 'a', 0, 2, 0, 0, 0, 'x', 0, 1, 2}))),
            "field 'a': dbPointer does not fit into the 8 bytes that are left");
  // Code with scope: whole length, text length, text, scope.
  EXPECT_EQ(Structure(Raw(Bytes({0x0F, 'a', 0, 15, 0, 0, 0, 2, 0, 0, 0, 'x', 0, 5, 0, 0, 0, 0}))), "OK");
  EXPECT_EQ(Structure(Raw(Bytes({0x0F, 'a', 0, 15, 0, 0, 0, 3, 0, 0, 0, 'x', 0, 5, 0, 0, 0, 0}))),
            "field 'a': code does not fit into its value");
  EXPECT_EQ(Structure(Raw(Bytes({0x0F, 'a', 0, 15, 0, 0, 0, 0, 0, 0, 0, 'x', 0, 5, 0, 0, 0, 0}))),
            "field 'a': code does not fit into its value");
  EXPECT_EQ(Structure(Raw(Bytes({0x0F, 'a', 0, 15, 0, 0, 0, 1, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0}))),
            "field 'a': length 1280 does not agree with its 6 bytes");
}

TEST(ValidateTest, ContentsMustBeWhatTheirTypeSays) {
  EXPECT_EQ(Structure(Raw(Bytes({0x08, 'a', 0, 2}))), "field 'a': bool is neither 0 nor 1");
  EXPECT_EQ(Structure(Raw(Bytes({0x44, 'a', 0}))), "field 'a': unknown BSON type 68");
  EXPECT_EQ(Structure(Raw(Bytes({0x00, 'a', 0}))), "field 'a': unknown BSON type 0");
  EXPECT_EQ(Structure(Raw(Bytes({0x0A, 0xFF, 0}))), "field '(a name that is not UTF-8)': the name is not UTF-8");
  EXPECT_EQ(Structure(Builder().Append("a", "x\xFFy").Finish()), "field 'a': string is not UTF-8");
  EXPECT_EQ(Structure(Builder().Append("a", "123456789012345\xC3").Finish()), "field 'a': string is not UTF-8");
  EXPECT_EQ(Structure(Builder().Append("a", "12345678\xC3\xA4").Finish()), "OK");
  EXPECT_EQ(Structure(Builder().Append("a", "\xED\xA0\x80").Finish()),
            "field 'a': string is not UTF-8");  // a surrogate
  EXPECT_EQ(Structure(Builder().Append("a", "\xC0\x80").Finish()),
            "field 'a': string is not UTF-8");  // too long a form
  EXPECT_EQ(Structure(Builder().Append("a", "\xF4\x90\x80\x80").Finish()),
            "field 'a': string is not UTF-8");  // beyond U+10FFFF
  EXPECT_EQ(Structure(Builder().Append("a", std::string("x\0y", 3)).Finish()), "OK");
  EXPECT_EQ(Structure(Builder().Append("a", Value::Regex("\xFF", "")).Finish()), "field 'a': regex is not UTF-8");
}

// Every code point and every sequence of up to two bytes, against what Unicode's table of well-formed sequences says.
TEST(ValidateTest, Utf8IsExactlyUnicodesTable) {
  auto encode = [](uint32_t c) {
    if (c < 0x80) return Bytes({static_cast<int>(c)});
    int low = 0x80 | (c & 63), mid = 0x80 | (c >> 6 & 63), high = 0x80 | (c >> 12 & 63);
    if (c < 0x800) return Bytes({static_cast<int>(0xC0 | c >> 6), low});
    if (c < 0x10000) return Bytes({static_cast<int>(0xE0 | c >> 12), mid, low});
    return Bytes({static_cast<int>(0xF0 | c >> 18), high, mid, low});
  };
  for (uint32_t c = 0; c < 0x120000; ++c) {
    bool good = c < 0x110000 && (c < 0xD800 || c > 0xDFFF);
    ASSERT_EQ(IsUtf8(encode(c)), good) << c;
    ASSERT_EQ(IsUtf8("1234567" + encode(c) + "x"), good) << c;
    if (c < 0x80) continue;
    std::string cut = encode(c);
    cut.pop_back();
    ASSERT_FALSE(IsUtf8(cut)) << c;
    ASSERT_FALSE(IsUtf8(cut + "x")) << c;
  }
  for (int lead : {0x80, 0xBF, 0xC0, 0xC1, 0xF5, 0xF8, 0xFF})
    EXPECT_FALSE(IsUtf8(Bytes({lead, 0x80, 0x80, 0x80}))) << lead;
  EXPECT_FALSE(IsUtf8(Bytes({0xE0, 0x9F, 0xBF})));        // too long a form
  EXPECT_FALSE(IsUtf8(Bytes({0xF0, 0x8F, 0xBF, 0xBF})));  // too long a form
  EXPECT_TRUE(IsUtf8(""));
}

TEST(ValidateTest, MessagesNameThePath) {
  std::string inner = Builder().Append("name", "\xFF").Finish();
  std::string doc = Builder().Append("items", ArrayBuilder().Add(1).AddDocument(inner)).Finish();
  EXPECT_EQ(Structure(doc), "field 'items.1.name': string is not UTF-8");
  std::string name(500, 'n');
  EXPECT_EQ(Structure(Builder().Append(name, "\xFF").Finish()),
            StrCat("field '", name.substr(0, 200), "...': string is not UTF-8"));
}

TEST(ValidateTest, ArrayKeysCountFromZero) {
  auto array = [](const Builder& elements) { return Builder().AppendArray("a", elements.Finish()).Finish(); };
  EXPECT_EQ(Structure(array(Builder().Append("0", 1).Append("1", 1))), "OK");
  EXPECT_EQ(Structure(array(Builder().Append("1", 1))), "field 'a.1': array keys must be 0, 1, 2, ..., expected 0");
  EXPECT_EQ(Structure(array(Builder().Append("0", 1).Append("0", 1))),
            "field 'a.0': array keys must be 0, 1, 2, ..., expected 1");
  EXPECT_EQ(Structure(array(Builder().Append("00", 1))), "field 'a.00': array keys must be 0, 1, 2, ..., expected 0");
}

TEST(ValidateTest, NestingEndsAtTheLimitHoweverDeep) {
  EXPECT_EQ(Structure(Nested(kMaxNesting)), "OK");
  EXPECT_THAT(Structure(Nested(kMaxNesting + 1)), HasSubstr("nested deeper than 100 levels"));
  EXPECT_EQ(Document(Builder().AppendArray("a", Nested(kMaxNesting - 1, 4)).Finish()), "OK");
  EXPECT_THAT(Document(Builder().AppendArray("a", Nested(kMaxNesting, 4)).Finish()),
              HasSubstr("nested deeper than 100 levels"));
  // What crashes libbson 1.23: 100,000 levels, 800 KB. The levels are written from the inside: lengths by hand.
  constexpr uint32_t kLevels = 100'000;
  std::string deep;
  for (uint32_t i = 0; i < kLevels; ++i) {
    uint32_t size = 5 + 8 * (kLevels - 1 - i);
    deep.append(reinterpret_cast<const char*>(&size), 4);
    if (i + 1 < kLevels) deep += std::string("\3a\0", 3);
  }
  deep.append(kLevels, '\0');
  EXPECT_THAT(Structure(deep), HasSubstr("nested deeper than 100 levels"));
  EXPECT_THAT(ErrorOf(Update::Parse(deep)), HasSubstr("nested deeper than 100 levels"));
}

TEST(ValidateTest, T18_SizeEndsAtTheLimit) {
  std::string doc = Builder().Append("a", std::string(kMaxDocumentBytes - 13, 'x')).Finish();
  ASSERT_EQ(doc.size(), kMaxDocumentBytes);
  EXPECT_EQ(Document(doc), "OK");
  std::string more = Builder().Append("a", std::string(kMaxDocumentBytes - 12, 'x')).Finish();
  EXPECT_EQ(Document(more), "document has 16777217 bytes, the limit is 16777216");
}

TEST(ValidateTest, StoredDocumentsHaveEachTopLevelNameOnce) {
  std::string doc = Builder().Append("b", 1).Append("a", 1).Append("b", 2).Finish();
  EXPECT_EQ(Structure(doc), "OK");
  EXPECT_EQ(Document(doc), "field 'b' appears twice");
  EXPECT_EQ(Document(Builder().Append("a", Builder().Append("x", 1).Append("x", 1)).Finish()), "OK");
}

TEST(ValidateTest, IdsHaveATypeThatCanBeAKey) {
  auto with_id = [](const Value& id) { return Document(Builder().Append("a", 1).Append("_id", id).Finish()); };
  EXPECT_EQ(with_id(Value::Array(Builder().Finish())), "field '_id': must not be of type array");
  EXPECT_EQ(with_id(Value::Regex("a", "")), "field '_id': must not be of type regex");
  EXPECT_EQ(with_id(Value(Type::kUndefined, "")), "field '_id': must not be of type undefined");
  EXPECT_EQ(with_id(Value::Null()), "OK");
  EXPECT_EQ(with_id(Value::Document(Builder().Append("x", 1).Finish())), "OK");
  EXPECT_EQ(Structure(Builder().Append("_id", Value::Regex("a", "")).Finish()), "OK");
}

// libbson as a second opinion: what passes here passes there. And nothing crashes.
TEST(ValidateTest, DamagedDocumentsAreRefusedWhereLibbsonRefusesThem) {
  const char* given = std::getenv("TERRANE_SEED");
  uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("seed %llu (again: TERRANE_SEED=%llu)\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  const std::string whole = Doc(
      R"({"_id": 1, "b": "x\u0000ä", "c": {"d": [1, [2.5, "y"]]}, "e": {"$binary": {"base64": "AAAA", "subType": "00"}},
      "g": {"$oid": "0123456789abcdef01234567"}, "h": true, "k": {"$regularExpression": {"pattern": "a", "options": "i"}},
      "l": {"$dbPointer": {"$ref": "x", "$id": {"$oid": "0123456789abcdef01234567"}}}, "o": {"$code": "x", "$scope": {"y": 1}},
      "r": {"$numberDecimal": "1.5"}, "s": {"$minKey": 1}})");
  int accepted = 0;
  for (int i = 0; i < 30'000; ++i) {
    std::string doc = whole;
    for (size_t n = 1 + random() % 2; n > 0; --n) doc[4 + random() % (doc.size() - 4)] = static_cast<char>(random());
    bool ok = ValidateDocument(doc).ok();
    bson_t bson;
    bool theirs =
        bson_init_static(&bson, reinterpret_cast<const uint8_t*>(doc.data()), doc.size()) &&
        bson_validate(&bson, static_cast<bson_validate_flags_t>(BSON_VALIDATE_UTF8 | BSON_VALIDATE_UTF8_ALLOW_NULL),
                      nullptr);
    ASSERT_TRUE(!ok || theirs) << "change " << i;
    if (!ok) continue;
    ++accepted;
    // What was accepted can be written and read.
    ToRelaxedJson(doc);
  }
  EXPECT_GT(accepted, 300);
}

}  // namespace
}  // namespace terrane::document
