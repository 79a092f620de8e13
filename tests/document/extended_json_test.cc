// Extended JSON in and out.
#include "document/extended_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

#include "document/builder.h"
#include "document/validate.h"
#include "documents.h"

namespace terrane::document {
namespace {

using testing::HasSubstr;

std::string Refusal(std::string_view json, JsonMode mode = JsonMode::kDocument) {
  return ErrorOf(DocumentFromJson(json, mode));
}

// Every type: canonical text, relaxed text ("" if the same).
struct Form {
  const char* canonical;
  const char* relaxed;
};
const Form kForms[] = {
    {R"({})", ""},
    {R"({"a": null})", ""},
    {R"({"a": true, "b": false})", ""},
    {R"({"a": "x\"\\\b\f\n\r\t\u0000\u001fä€😀/"})", ""},
    {R"({"ä\"": "\u007f"})", ""},
    {R"({"a": {"b": {}}, "c": []})", ""},
    {R"({"a": [{"$numberInt": "1"}, [null, "x"]]})", R"({"a": [1, [null, "x"]]})"},
    {R"({"a": {"$numberInt": "-2147483648"}})", R"({"a": -2147483648})"},
    {R"({"a": {"$numberLong": "9223372036854775807"}})", R"({"a": 9223372036854775807})"},
    {R"({"a": {"$numberLong": "-9223372036854775808"}})", R"({"a": -9223372036854775808})"},
    {R"({"a": {"$numberDouble": "1.0"}})", R"({"a": 1.0})"},
    {R"({"a": {"$numberDouble": "-0.0"}})", R"({"a": -0.0})"},
    {R"({"a": {"$numberDouble": "0.1"}})", R"({"a": 0.1})"},
    {R"({"a": {"$numberDouble": "1e+300"}})", R"({"a": 1e+300})"},
    {R"({"a": {"$numberDouble": "5e-324"}})", R"({"a": 5e-324})"},
    {R"({"a": {"$numberDouble": "1.7976931348623157e+308"}})", R"({"a": 1.7976931348623157e+308})"},
    {R"({"a": {"$numberDouble": "NaN"}})", ""},
    {R"({"a": {"$numberDouble": "Infinity"}})", ""},
    {R"({"a": {"$numberDouble": "-Infinity"}})", ""},
    {R"({"a": {"$numberDecimal": "1.50"}})", ""},
    {R"({"a": {"$numberDecimal": "-1E-6176"}})", ""},
    {R"({"a": {"$numberDecimal": "NaN"}})", ""},
    {R"({"a": {"$oid": "0123456789abcdef01234567"}})", ""},
    {R"({"a": {"$date": {"$numberLong": "0"}}})", R"({"a": {"$date": "1970-01-01T00:00:00Z"}})"},
    {R"({"a": {"$date": {"$numberLong": "1709164799123"}}})", R"({"a": {"$date": "2024-02-28T23:59:59.123Z"}})"},
    {R"({"a": {"$date": {"$numberLong": "253402300799999"}}})", R"({"a": {"$date": "9999-12-31T23:59:59.999Z"}})"},
    {R"({"a": {"$date": {"$numberLong": "253402300800000"}}})", ""},
    {R"({"a": {"$date": {"$numberLong": "-1"}}})", ""},
    {R"({"a": {"$binary": {"base64": "", "subType": "00"}}})", ""},
    {R"({"a": {"$binary": {"base64": "AAH/gA==", "subType": "80"}}})", ""},
    {R"({"a": {"$regularExpression": {"pattern": "^a/\"\\d", "options": "im"}}})", ""},
    {R"({"a": {"$timestamp": {"t": 4294967295, "i": 1}}})", ""},
    {R"({"a": {"$code": "f(\u0000);"}})", ""},
    {R"({"a": {"$code": "f();", "$scope": {"b": {"$oid": "0123456789abcdef01234567"}}}})", ""},
    {R"({"a": {"$symbol": "s"}})", ""},
    {R"({"a": {"$dbPointer": {"$ref": "d.c", "$id": {"$oid": "0123456789abcdef01234567"}}}})", ""},
    {R"({"a": {"$minKey": 1}, "b": {"$maxKey": 1}})", ""},
    {R"({"a": {"$undefined": true}})", ""},
    {R"({"a": {"$ref": "c", "$id": {"$numberInt": "1"}}})", R"({"a": {"$ref": "c", "$id": 1}})"},
    {R"({"a": {"$foo": "x"}, "$bar": "y"})", ""},
};

TEST(ExtendedJsonTest, CanonicalFormIsExactBothWays) {
  for (const Form& form : kForms) {
    absl::StatusOr<std::string> doc = DocumentFromJson(form.canonical);
    ASSERT_TRUE(doc.ok()) << form.canonical << doc.status();
    EXPECT_TRUE(ValidateDocument(*doc).ok()) << form.canonical;
    EXPECT_EQ(ToCanonicalJson(*doc), form.canonical);
    EXPECT_EQ(*DocumentFromJson(ToCanonicalJson(*doc)), *doc) << form.canonical;
    EXPECT_EQ(*DocumentFromJson(form.canonical, JsonMode::kQuery), *doc) << form.canonical;
  }
}

TEST(ExtendedJsonTest, RelaxedFormIsForPeopleAndReadsBackEqual) {
  for (const Form& form : kForms) {
    std::string doc = *DocumentFromJson(form.canonical);
    std::string relaxed = *form.relaxed == '\0' ? form.canonical : form.relaxed;
    EXPECT_EQ(ToRelaxedJson(doc), relaxed);
    EXPECT_TRUE(Equal(Value::Document(*DocumentFromJson(relaxed)), Value::Document(doc))) << relaxed;
  }
  EXPECT_EQ(ToRelaxedJson(Builder().Append("_id", 4711).Append("customer", "c-17").Finish()),
            R"({"_id": 4711, "customer": "c-17"})");
  EXPECT_EQ(ToRelaxedJson(Value::Int64(5)), "5");
  EXPECT_EQ(ToCanonicalJson(Value::Int64(5)), R"({"$numberLong": "5"})");
}

TEST(ExtendedJsonTest, NumbersTakeTheSmallestTypeThatHoldsThem) {
  auto read = [](const char* number) { return ToCanonicalJson(Val(number)); };
  EXPECT_EQ(read("0"), R"({"$numberInt": "0"})");
  EXPECT_EQ(read("-0"), R"({"$numberInt": "0"})");
  EXPECT_EQ(read("2147483647"), R"({"$numberInt": "2147483647"})");
  EXPECT_EQ(read("2147483648"), R"({"$numberLong": "2147483648"})");
  EXPECT_EQ(read("-2147483649"), R"({"$numberLong": "-2147483649"})");
  EXPECT_EQ(read("9223372036854775807"), R"({"$numberLong": "9223372036854775807"})");
  EXPECT_EQ(read("9223372036854775808"), R"({"$numberDouble": "9223372036854775808.0"})");
  EXPECT_EQ(read("1.0"), R"({"$numberDouble": "1.0"})");
  EXPECT_EQ(read("1e2"), R"({"$numberDouble": "100.0"})");
  EXPECT_EQ(read("1E-400"), R"({"$numberDouble": "0.0"})");
  EXPECT_EQ(read("4.9e-324"), R"({"$numberDouble": "5e-324"})");
  EXPECT_EQ(Refusal(R"({"a": 9e308})"), "column 7: the number 9e308 is too big for a double");
  EXPECT_EQ(Refusal(R"({"a": 1e400})"), "not JSON at column 7: the number is too big");
  EXPECT_EQ(Refusal(R"({"a": -9e308})"), "column 7: the number -9e308 is too big for a double");
}

TEST(ExtendedJsonTest, OtherWaysToSayTheSame) {
  auto canonical = [](const char* json) { return ToCanonicalJson(Val(json)); };
  EXPECT_EQ(canonical(R"({"$uuid": "00112233-4455-6677-8899-AABBCCDDEEFF"})"),
            R"({"$binary": {"base64": "ABEiM0RVZneImaq7zN3u/w==", "subType": "04"}})");
  EXPECT_EQ(canonical(R"({"$oid": "0123456789ABCDEF01234567"})"), R"({"$oid": "0123456789abcdef01234567"})");
  EXPECT_EQ(canonical(R"({"$binary": {"subType": "4", "base64": "AA=="}})"),
            R"({"$binary": {"base64": "AA==", "subType": "04"}})");
  EXPECT_EQ(canonical(R"({"$timestamp": {"i": 2, "t": 1}})"), R"({"$timestamp": {"t": 1, "i": 2}})");
  EXPECT_EQ(canonical(R"({"$scope": {}, "$code": "x"})"), R"({"$code": "x", "$scope": {}})");
  EXPECT_EQ(canonical(R"({"$numberDouble": "1"})"), R"({"$numberDouble": "1.0"})");
  EXPECT_EQ(canonical(R"({"$numberDouble": "+1e3"})"), R"({"$numberDouble": "1000.0"})");
  EXPECT_EQ(canonical("\"\\u00e4\\ud83d\\ude00\""), "\"ä😀\"");
  EXPECT_EQ(*DocumentFromJson("\xEF\xBB\xBF { \"a\" :\t1 }\r\n"), Doc(R"({"a": 1})"));
}

TEST(ExtendedJsonTest, Dates) {
  auto ms = [](const char* text) { return ToCanonicalJson(Val(StrCat(R"({"$date": ")", text, R"("})"))); };
  auto date = [](const char* number) { return StrCat(R"({"$date": {"$numberLong": ")", number, R"("}})"); };
  EXPECT_EQ(ms("2024-02-29T12:34:56Z"), date("1709210096000"));
  EXPECT_EQ(ms("2024-02-29T12:34:56.7Z"), date("1709210096700"));
  EXPECT_EQ(ms("2024-02-29T12:34:56.789999999Z"), date("1709210096789"));
  EXPECT_EQ(ms("2024-02-29T12:34:56+01:00"), date("1709206496000"));
  EXPECT_EQ(ms("2024-02-29T12:34:56-0130"), date("1709215496000"));
  EXPECT_EQ(ms("2024-02-29T12:34:56+01"), date("1709206496000"));
  EXPECT_EQ(ms("1969-12-31T23:59:59.999Z"), date("-1"));
  EXPECT_EQ(ms("0001-01-01T00:00:00Z"), date("-62135596800000"));
  for (const char* bad : {"2023-02-29T00:00:00Z",
                          "2024-13-01T00:00:00Z",
                          "2024-00-01T00:00:00Z",
                          "2024-01-32T00:00:00Z",
                          "2024-01-01T24:00:00Z",
                          "2024-01-01T00:60:00Z",
                          "2024-01-01T00:00:60Z",
                          "2024-01-01T00:00:00",
                          "2024-01-01",
                          "2024-01-01T00:00Z",
                          "2024-01-01 00:00:00Z",
                          "2024-01-01T00:00:00.Z",
                          "2024-01-01T00:00:00.1234567890Z",
                          "24-01-01T00:00:00Z",
                          "2024-01-01T00:00:00Zx",
                          "2024-01-01T00:00:00+24:00",
                          "2024-01-01T00:00:00+01:60",
                          "2024-01-01T00:00:00+1",
                          "x",
                          ""}) {
    EXPECT_THAT(Refusal(StrCat(R"({"a": {"$date": ")", bad, R"("}})")),
                HasSubstr(R"($date needs a time like "2024-01-31T12:00:00Z" or {"$numberLong": "milliseconds"})"))
        << bad;
  }
}

TEST(ExtendedJsonTest, WrappersWithWrongContentAreRefused) {
  struct Wrong {
    const char* json;
    const char* message;
  };
  for (const Wrong& wrong : std::initializer_list<Wrong>{
           {R"({"a": {"$oid": @"0123"}})", "$oid needs a string of 24 hex digits"},
           {R"({"a": {"$oid": @"0123456789abcdef0123456g"}})", "$oid needs a string of 24 hex digits"},
           {R"({"a": {"$oid": @5}})", "$oid needs a string of 24 hex digits"},
           {R"({"a": {"$oid": "0123456789abcdef01234567", @"b": 1}})", "'b' does not belong into $oid"},
           {R"({"a": {"$date": @17}})", R"($date needs {"$numberLong": "17"} instead of a bare number)"},
           {R"({"a": {"$date": @{"$numberLong": 5}}})",
            R"($date needs a time like "2024-01-31T12:00:00Z" or {"$numberLong": "milliseconds"})"},
           {R"({"a": {"$date": @{"$numberLong": "x"}}})",
            R"($date needs a time like "2024-01-31T12:00:00Z" or {"$numberLong": "milliseconds"})"},
           {R"({"a": {"$numberInt": @5}})", "$numberInt needs a string with a 32-bit integer"},
           {R"({"a": {"$numberInt": @"2147483648"}})", "$numberInt needs a string with a 32-bit integer"},
           {R"({"a": {"$numberInt": @"5x"}})", "$numberInt needs a string with a 32-bit integer"},
           {R"({"a": {"$numberLong": @"9223372036854775808"}})", "$numberLong needs a string with a 64-bit integer"},
           {R"({"a": {"$numberLong": @""}})", "$numberLong needs a string with a 64-bit integer"},
           {R"({"a": {"$numberLong": @1}})", "$numberLong needs a string with a 64-bit integer"},
           {R"({"a": {"$numberDouble": @"abc"}})",
            R"($numberDouble needs a string with a number, "Infinity", "-Infinity" or "NaN")"},
           {R"({"a": {"$numberDouble": @"1e400"}})",
            R"($numberDouble needs a string with a number, "Infinity", "-Infinity" or "NaN")"},
           {R"({"a": {"$numberDouble": @"nan"}})",
            R"($numberDouble needs a string with a number, "Infinity", "-Infinity" or "NaN")"},
           {R"({"a": {"$numberDouble": @"1.5.5"}})",
            R"($numberDouble needs a string with a number, "Infinity", "-Infinity" or "NaN")"},
           {R"({"a": {"$numberDouble": @1.5}})",
            R"($numberDouble needs a string with a number, "Infinity", "-Infinity" or "NaN")"},
           {R"({"a": {"$numberDecimal": @"abc"}})",
            "$numberDecimal needs a string with a decimal number of at most 34 digits"},
           {R"({"a": {"$numberDecimal": @1}})",
            "$numberDecimal needs a string with a decimal number of at most 34 digits"},
           {R"({"a": {"$binary": "AA==", @"$type": "00"}})", "'$type' does not belong into $binary"},
           {R"({"a": {"$binary": @"AA=="}})", R"($binary needs {"base64": "..", "subType": "hex"})"},
           {R"({"a": {"$binary": @{"base64": "A", "subType": "00"}}})",
            R"($binary needs {"base64": "..", "subType": "hex"})"},
           {R"({"a": {"$binary": @{"base64": "AA==", "subType": "100"}}})",
            R"($binary needs {"base64": "..", "subType": "hex"})"},
           {R"({"a": {"$binary": @{"base64": "AA==", "subType": "g"}}})",
            R"($binary needs {"base64": "..", "subType": "hex"})"},
           {R"({"a": {"$binary": @{"base64": "AA==", "subType": ""}}})",
            R"($binary needs {"base64": "..", "subType": "hex"})"},
           {R"({"a": {"$binary": @{"base64": "AA==", "x": "00"}}})",
            R"($binary needs {"base64": "..", "subType": "hex"})"},
           {R"({"a": {"$binary": @{"base64": "AA==", "subType": "00", "x": 1}}})",
            R"($binary needs {"base64": "..", "subType": "hex"})"},
           {R"({"a": {"$uuid": @"0011223344556677-8899-AABBCCDDEEFF--"}})",
            R"($uuid needs a string like "01234567-89ab-cdef-0123-456789abcdef")"},
           {R"({"a": {"$uuid": @"0011"}})", R"($uuid needs a string like "01234567-89ab-cdef-0123-456789abcdef")"},
           {R"({"a": {"$regularExpression": @"x"}})",
            R"($regularExpression needs {"pattern": "..", "options": ".."} without NUL)"},
           {R"({"a": {"$regularExpression": @{"pattern": "x"}}})",
            R"($regularExpression needs {"pattern": "..", "options": ".."} without NUL)"},
           {R"({"a": {"$regularExpression": @{"pattern": "x\u0000", "options": ""}}})",
            R"($regularExpression needs {"pattern": "..", "options": ".."} without NUL)"},
           {R"({"a": {"$timestamp": @{"t": -1, "i": 0}}})", R"($timestamp needs {"t": seconds, "i": increment})"},
           {R"({"a": {"$timestamp": @{"t": 4294967296, "i": 0}}})",
            R"($timestamp needs {"t": seconds, "i": increment})"},
           {R"({"a": {"$timestamp": @{"t": "1", "i": 0}}})", R"($timestamp needs {"t": seconds, "i": increment})"},
           {R"({"a": {"$dbPointer": @{"$ref": "x", "$id": 5}}})",
            R"($dbPointer needs {"$ref": "..", "$id": {"$oid": ".."}})"},
           {R"({"a": {"$dbPointer": {"$ref": "x", "$id": {"$oid": @"5"}}}})", "$oid needs a string of 24 hex digits"},
           {R"({"a": {"$symbol": @5}})", "$symbol needs a string"},
           {R"({"a": {"$code": @5}})", "$code needs a string"},
           {R"({"a": {"$code": @5, "$scope": {}}})", "$code needs a string"},
           {R"({"a": {"$code": "x", "$scope": @5}})", "$scope needs an object"},
           {R"({"a": @{"$scope": {}}})", "$scope needs a $code beside it"},
           {R"({"a": {"$minKey": @2}})", "$minKey needs 1"},
           {R"({"a": {"$maxKey": @"1"}})", "$maxKey needs 1"},
           {R"({"a": {"$undefined": @false}})", "$undefined needs true"},
           {R"(@{"$oid": "0123456789abcdef01234567"})", "expected a document, $oid makes it a single value"},
           {R"({@"a\u0000b": 1})", "a name holds NUL"},
           {R"({"a": 1, "b": 2, @"a": 3})", "field 'a' appears twice"},
           {R"(@{"_id": [1]})", "field '_id': must not be of type array"},
       }) {
    // The place is marked with @.
    std::string json = wrong.json;
    size_t place = json.find('@');
    json.erase(place, 1);
    EXPECT_EQ(Refusal(json), StrCat("column ", place + 1, ": ", wrong.message)) << wrong.json;
  }
}

TEST(ExtendedJsonTest, OperatorsStayOperatorsInQueries) {
  for (const char* json :
       {R"({"a": {"$type": 2}})", R"({"a": {"$type": ["string", "int"]}})", R"({"a": {"$regex": "^a", "$gt": "b"}})",
        R"({"a": {"$regex": "^a"}})", R"({"a": {"$regex": "^a", "$options": "i"}})", R"({"$set": {"a": 1}})"}) {
    EXPECT_EQ(ToRelaxedJson(*DocumentFromJson(json, JsonMode::kQuery)), json);
  }
  EXPECT_TRUE(DocumentFromJson(R"({"a": 1, "a": 2})", JsonMode::kQuery).ok());
  const char* hint = R"(a regular expression is written {"$regularExpression": {"pattern": "..", "options": ".."}})";
  EXPECT_EQ(Refusal(R"({"a": {"$regex": "^a"}})"), StrCat("column 7: ", hint));
  EXPECT_EQ(Refusal(R"({"a": {"$options": "i", "$regex": "^a"}})"), StrCat("column 7: ", hint));
  EXPECT_TRUE(DocumentFromJson(R"({"a": {"$regex": "^a", "$gt": "b"}})").ok());
  EXPECT_TRUE(DocumentFromJson(R"({"a": {"$regex": {"$regularExpression": {"pattern": "a", "options": ""}}}})").ok());
}

TEST(ExtendedJsonTest, WhatIsNoJsonIsExplained) {
  struct Wrong {
    const char* json;
    const char* message;
  };
  for (const Wrong& wrong : std::initializer_list<Wrong>{
           {R"({"_id": 4711, "amount_total": NaN})", R"(not JSON at column 31: NaN (write {"$numberDouble": "NaN"}))"},
           {R"({"a": -Infinity})", R"(not JSON at column 7: -Infinity (write {"$numberDouble": "-Infinity"}))"},
           {R"({"a": Infinity})", R"(not JSON at column 7: Infinity (write {"$numberDouble": "Infinity"}))"},
           {R"({"a": ObjectId(1)})", R"(not JSON at column 7: ObjectId (write {"$oid": ".."}))"},
           {R"({"a": None})", "not JSON at column 7: None (write null)"},
           {R"({"a": True})", "not JSON at column 7: True (write true)"},
           {R"({'a': 1})", "not JSON at column 2: ' (write strings and names in double quotes)"},
           {R"({"a": 'x'})", "not JSON at column 7: ' (write strings and names in double quotes)"},
           {R"({a: 1})", "not JSON at column 2: expected a name in double quotes"},
           {R"({"a" 1})", "not JSON at column 6: expected : after the name"},
           {R"({"a": 1 "b": 2})", "not JSON at column 9: expected , or }"},
           {R"({"a": [1 2]})", "not JSON at column 10: expected , or ]"},
           {R"({"a": 1,})", "not JSON at column 9: expected a name in double quotes"},
           {R"({"a": })", "not JSON at column 7: expected a value"},
           {R"({"a": "\ud800"})", "not JSON at column 8: half of a surrogate pair"},
           {R"({"a": "\u12g4"})", "not JSON at column 8: \\u needs four hex digits"},
           {R"({"a": "\x"})", "not JSON at column 8: unknown escape in a string"},
           {R"({"a": 1.})", "not JSON at column 9: expected digits after the point"},
           {R"({"a": 1e})", "not JSON at column 9: expected digits of the exponent"},
           {R"({"a": "x)", "not JSON at column 9: a string has no end, the text ends here"},
           {R"({"a": 1)", "not JSON at column 8: expected , or }, the text ends here"},
           {"", "not JSON at column 1: expected a value, there is none, the text ends here"},
           {R"({"a": 1} x)", "column 10: expected nothing more behind the document"},
           {"[1]", "column 1: expected an object, {...}"},
           {"5", "column 1: expected an object, {...}"},
           {"{\"a\": \"x\ny\"}",
            "not JSON at line 1 column 9: a control character in a string (write \\n, \\t, \\u0001 and so on)"},
           {"{\n  \"a\": 1,\n  \"bä\": [NaN]\n}",
            R"(not JSON at line 3 column 10: NaN (write {"$numberDouble": "NaN"}))"},
           {"{\"ä\": NaN}\n", R"(not JSON at column 7: NaN (write {"$numberDouble": "NaN"}))"},
       }) {
    EXPECT_EQ(Refusal(wrong.json), wrong.message) << wrong.json;
  }
  EXPECT_EQ(Refusal(std::string_view("{}\0{", 4)), "column 3: a NUL byte");
  EXPECT_THAT(Refusal("{\"a\": \"\xFF\"}"), HasSubstr("is not UTF-8"));
  EXPECT_THAT(Refusal(R"({"a": "\udc00"})"), HasSubstr("column"));
  EXPECT_EQ(ErrorOf(DocumentFromJson("{\n\"a\": NaN}", JsonMode::kDocument, 17)),
            R"(not JSON at line 18 column 6: NaN (write {"$numberDouble": "NaN"}))");
  EXPECT_EQ(ErrorOf(DocumentFromJson("x", JsonMode::kDocument, 17)), "not JSON at line 17 column 1: expected a value");
}

TEST(ExtendedJsonTest, NestingEndsAtTheLimitHoweverDeep) {
  auto nested = [](int levels) {
    std::string json;
    for (int i = 0; i < levels; ++i) json += R"({"a": )";
    return json + "1" + std::string(levels, '}');
  };
  EXPECT_TRUE(DocumentFromJson(nested(100)).ok());
  EXPECT_THAT(Refusal(nested(101)), HasSubstr("nested deeper than 100 levels"));
  EXPECT_THAT(Refusal(nested(104)), HasSubstr("nested deeper than 100 levels"));
  EXPECT_THAT(Refusal(nested(1'000'000)), HasSubstr("nested deeper than 100 levels"));
  EXPECT_THAT(Refusal(R"({"a": )" + std::string(1'000'000, '[')), HasSubstr("nested deeper than 100 levels"));
  // A wrapper at the last level is no level.
  std::string json = nested(100);
  json.replace(json.find('1'), 1, R"({"$dbPointer": {"$ref": "x", "$id": {"$oid": "0123456789abcdef01234567"}}})");
  EXPECT_TRUE(DocumentFromJson(json).ok()) << Refusal(json);
}

TEST(ExtendedJsonTest, SeveralDocuments) {
  auto count = [](std::string_view json) {
    absl::StatusOr<std::vector<std::string>> docs = DocumentsFromJson(json);
    return docs.ok() ? StrCat(docs->size()) : ErrorOf(docs);
  };
  EXPECT_EQ(count(""), "0");
  EXPECT_EQ(count(" \n"), "0");
  EXPECT_EQ(count(R"({"a": 1})"), "1");
  EXPECT_EQ(count(R"([{"a": 1}, {"a": {"b": []}}, {}])"), "3");
  EXPECT_EQ(count("{\"a\": 1}\n{\"b\": 2}{}\n"), "3");
  EXPECT_EQ(count("[]"), "0");
  EXPECT_EQ(count("[{}, 5]"), "column 6: expected an object, {...}");
  EXPECT_EQ(count("{}\n5"), "line 2 column 1: expected an object, {...}");
  EXPECT_EQ(count("{}\n{\"a\": NaN}"), R"(not JSON at line 2 column 7: NaN (write {"$numberDouble": "NaN"}))");
  std::vector<std::string> docs = *DocumentsFromJson(R"({"a": 1} [{"b": 2}, {"c": 3}])");
  ASSERT_EQ(docs.size(), 3u);
  EXPECT_EQ(docs[2], Doc(R"({"c": 3})"));
}

TEST(ExtendedJsonTest, SingleValues) {
  EXPECT_EQ(ValueFromJson("5")->view().AsInt32(), 5);
  EXPECT_EQ(ValueFromJson(R"( "x" )")->view().AsString(), "x");
  EXPECT_EQ(ValueFromJson(R"({"$oid": "6162636465666768696a6b6c"})")->view().AsObjectId(), "abcdefghijkl");
  EXPECT_EQ(ErrorOf(ValueFromJson("5 6")), "column 3: expected nothing more behind the value");
  EXPECT_EQ(ErrorOf(ValueFromJson("")), "not JSON at column 1: expected a value, there is none, the text ends here");
}

// Damaged text is refused or read as valid BSON that writes and reads back to the same bytes; nothing crashes.
TEST(ExtendedJsonTest, DamagedTextNeverDoesHarm) {
  const char* given = std::getenv("TERRANE_SEED");
  uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("seed %llu (again: TERRANE_SEED=%llu)\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  const std::string pieces[] = {"{",  "}",     "[",    "]",     "\"",   ",", ":",  "1",    "-",
                                "e5", "\\u00", "$oid", "$date", "null", " ", "\n", "\xC3", std::string(1, '\0')};
  size_t accepted = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string json = kForms[random() % std::size(kForms)].canonical;
    for (size_t n = 1 + random() % 2; n > 0; --n) {
      size_t at = random() % (json.size() + 1);
      switch (random() % 4) {
        case 0:
          json.insert(at, pieces[random() % std::size(pieces)]);
          break;
        case 1:
          json.erase(at, 1 + random() % 3);
          break;
        case 2:
          json.resize(at);
          break;
        default:
          if (at < json.size()) json[at] = static_cast<char>(random());
      }
    }
    absl::StatusOr<std::string> doc = DocumentFromJson(json);
    if (!doc.ok()) {
      ASSERT_EQ(doc.status().code(), absl::StatusCode::kInvalidArgument) << json;
      continue;
    }
    ++accepted;
    ASSERT_TRUE(ValidateDocument(*doc).ok()) << json;
    ASSERT_EQ(*DocumentFromJson(ToCanonicalJson(*doc)), *doc) << json;
  }
  EXPECT_GT(accepted, 300u);
}

}  // namespace
}  // namespace terrane::document
