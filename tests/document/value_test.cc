// Views, owned values, builders, fields and paths.
#include "document/value.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "document/builder.h"
#include "document/object_id.h"
#include "document/validate.h"
#include "documents.h"

namespace terrane::document {
namespace {

TEST(ValueTest, MadeValuesReadBack) {
  EXPECT_EQ(Value::Double(1.5).view().AsDouble(), 1.5);
  EXPECT_EQ(Value::Int32(-7).view().AsInt32(), -7);
  EXPECT_EQ(Value::Int32(-7).view().AsInt64(), -7);
  EXPECT_EQ(Value::Int64(int64_t{1} << 40).view().AsInt64(), int64_t{1} << 40);
  EXPECT_TRUE(Value::Bool(true).view().AsBool());
  EXPECT_FALSE(Value::Bool(false).view().AsBool());
  EXPECT_EQ(Value::Date(-5).view().AsDateMs(), -5);
  EXPECT_EQ(Value::Timestamp(3, 4).view().AsTimestamp(), (uint64_t{3} << 32) + 4);
  EXPECT_EQ(Value::String(std::string_view("a\0b", 3)).view().AsString(), std::string_view("a\0b", 3));
  EXPECT_EQ(Value::ObjectId("abcdefghijkl").view().AsObjectId(), "abcdefghijkl");
  EXPECT_EQ(Value::Binary("xyz", 0x80).view().AsBinary(), "xyz");
  EXPECT_EQ(Value::Binary("xyz", 0x80).view().BinarySubtype(), 0x80);
  EXPECT_EQ(Value::Regex("a.b", "im").view().RegexPattern(), "a.b");
  EXPECT_EQ(Value::Regex("a.b", "im").view().RegexOptions(), "im");
  Decimal128 decimal = *DecimalFromString("-12.50");
  EXPECT_EQ(Value::Decimal(decimal).view().AsDecimal128(), decimal);
  EXPECT_EQ(DecimalToString(decimal), "-12.50");
  std::string doc = Doc(R"({"a": 1})");
  EXPECT_EQ(Value::Document(doc).view().AsDocument(), doc);
  Value pointer = Val(R"({"$dbPointer": {"$ref": "db.c", "$id": {"$oid": "6162636465666768696a6b6c"}}})");
  EXPECT_EQ(pointer.view().DbPointerRef(), "db.c");
  EXPECT_EQ(pointer.view().DbPointerId(), "abcdefghijkl");
  Value code = Val(R"({"$code": "f();", "$scope": {"a": 1}})");
  EXPECT_EQ(code.view().CodeText(), "f();");
  EXPECT_EQ(code.view().CodeScope(), doc);
  EXPECT_EQ(Value().type(), Type::kNull);
  EXPECT_EQ(ValueView().type(), Type::kNull);
  EXPECT_TRUE(Value::Int32(1).view().IsNumber() && Value::Int64(1).view().IsNumber() &&
              Value::Double(1).view().IsNumber() && Value::Decimal(decimal).view().IsNumber());
  EXPECT_FALSE(Value::String("1").view().IsNumber());
  EXPECT_TRUE(Value::Array(doc).view().IsContainer());
  EXPECT_FALSE(Value::String("").view().IsContainer());
}

TEST(ValueTest, DecimalsFromText) {
  for (const char* bad : {"", "abc", "1.2.3", "1E", "0x5", "12345678901234567890123456789012345", "1 "}) {
    EXPECT_EQ(DecimalFromString(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(DecimalFromString(std::string_view("1\0", 2)), std::nullopt);
  EXPECT_EQ(DecimalFromString(std::string(20000, '1')), std::nullopt);
  EXPECT_EQ(DecimalToString(*DecimalFromString("1234567890123456789012345678901234")),
            "1234567890123456789012345678901234");
  EXPECT_EQ(DecimalToString(*DecimalFromString("-1E-6176")), "-1E-6176");
  EXPECT_EQ(DecimalToString(*DecimalFromString("Infinity")), "Infinity");
}

TEST(ValueTest, TypeNames) {
  for (const auto& [type, name] :
       std::initializer_list<std::pair<Type, const char*>>{{Type::kDouble, "double"},
                                                           {Type::kString, "string"},
                                                           {Type::kDocument, "object"},
                                                           {Type::kArray, "array"},
                                                           {Type::kBinary, "binData"},
                                                           {Type::kUndefined, "undefined"},
                                                           {Type::kObjectId, "objectId"},
                                                           {Type::kBool, "bool"},
                                                           {Type::kDate, "date"},
                                                           {Type::kNull, "null"},
                                                           {Type::kRegex, "regex"},
                                                           {Type::kDbPointer, "dbPointer"},
                                                           {Type::kCode, "javascript"},
                                                           {Type::kSymbol, "symbol"},
                                                           {Type::kCodeWithScope, "javascriptWithScope"},
                                                           {Type::kInt32, "int"},
                                                           {Type::kTimestamp, "timestamp"},
                                                           {Type::kInt64, "long"},
                                                           {Type::kDecimal128, "decimal"},
                                                           {Type::kMinKey, "minKey"},
                                                           {Type::kMaxKey, "maxKey"},
                                                           {static_cast<Type>(0x55), "unknown"}}) {
    EXPECT_EQ(TypeName(type), name);
  }
  EXPECT_EQ(TypeRank(static_cast<Type>(0x55)), -1);
  EXPECT_EQ(ValueSize(static_cast<Type>(0x55), "abc"), std::nullopt);
}

TEST(ValueTest, FieldsInOrderWithTheirElements) {
  std::string doc = Doc(R"({"b": 1, "a": "x", "c": null})");
  std::string names, elements;
  for (const Field& field : Fields(doc)) {
    StrAppend(&names, field.name, ",");
    elements += field.element;
  }
  EXPECT_EQ(names, "b,a,c,");
  EXPECT_EQ(elements, doc.substr(4, doc.size() - 5));
  EXPECT_TRUE(Fields(Builder().Finish()).begin() == std::default_sentinel);
}

TEST(ValueTest, DamagedBytesEndTheLoop) {
  std::string doc = Doc(R"({"a": 1, "b": "xyz"})");
  for (size_t size = 0; size < doc.size(); ++size) {
    EXPECT_TRUE(Fields(doc.substr(0, size)).begin() == std::default_sentinel) << size;
  }
  std::string cut = doc;
  cut[11] = 0x7E;  // the type of b
  int count = 0;
  for ([[maybe_unused]] const Field& field : Fields(cut)) ++count;
  EXPECT_EQ(count, 1);
  EXPECT_EQ(ValueView(Type::kString, "ab").AsString(), "");
  EXPECT_EQ(ValueView(Type::kInt32, "").AsInt32(), 0);
  EXPECT_EQ(ValueView(Type::kBinary, "").AsBinary(), "");
  EXPECT_EQ(ValueView(Type::kDbPointer, "x").DbPointerId(), "");
  EXPECT_EQ(ValueView(Type::kRegex, "x").RegexOptions(), "");
  EXPECT_EQ(ValueView(Type::kCodeWithScope, "x").CodeScope(), "");
}

TEST(ValueTest, FindFieldGoesThroughDocumentsOnly) {
  std::string doc = Doc(R"({"a": {"b": {"c": 5}, "": 6}, "d": [{"e": 1}], "x.y": 7})");
  EXPECT_EQ(FindField(doc, "a.b.c")->AsInt32(), 5);
  EXPECT_EQ(FindField(doc, "a.")->AsInt32(), 6);
  EXPECT_EQ(FindField(doc, "a.b")->type(), Type::kDocument);
  for (const char* path : {"b", "a.c", "a.b.c.d", "d.e", "d.0", "x.y", ""}) EXPECT_FALSE(FindField(doc, path)) << path;
  EXPECT_EQ(FindDirect(doc, "x.y")->AsInt32(), 7);
  EXPECT_FALSE(FindDirect(doc, "a.b"));
}

TEST(BuilderTest, TypesFollowTheArgument) {
  std::string doc = Builder()
                        .Append("int", 1)
                        .Append("short", static_cast<short>(2))
                        .Append("unsigned", 4000000000u)
                        .Append("long", int64_t{3})
                        .Append("double", 0.5)
                        .Append("float", 0.25f)
                        .Append("bool", true)
                        .Append("text", "x")
                        .Append("string", std::string("y"))
                        .Append("view", std::string_view("z"))
                        .AppendNull("null")
                        .Append("value", Value::Date(5))
                        .Append("document", Builder().Append("a", 1))
                        .Append("array", ArrayBuilder().Add(1).Add("b").AddDocument(Builder().Finish()))
                        .AppendDocument("raw", Builder().Finish())
                        .AppendArray("list", ArrayBuilder().Finish())
                        .Finish();
  EXPECT_TRUE(ValidateDocument(doc).ok());
  EXPECT_EQ(doc, Doc(R"({"int": 1, "short": 2, "unsigned": {"$numberLong": "4000000000"}, "long": {"$numberLong": "3"},
                         "double": 0.5, "float": 0.25, "bool": true, "text": "x", "string": "y", "view": "z", "null": null,
                         "value": {"$date": {"$numberLong": "5"}}, "document": {"a": 1}, "array": [1, "b", {}], "raw": {},
                         "list": []})"));
  EXPECT_EQ(ArrayBuilder().Add(1).Add(2).size(), 2);
}

TEST(BuilderTest, FinishCanBeAskedAgain) {
  Builder builder;
  builder.Append("a", 1);
  EXPECT_EQ(builder.Finish(), Doc(R"({"a": 1})"));
  builder.Append("b", 2);
  EXPECT_EQ(builder.Finish(), Doc(R"({"a": 1, "b": 2})"));
}

TEST(ValueDeathTest, BrokenPromisesEndTheProcess) {
  EXPECT_DEATH(Value::String("x").view().AsInt32(), "AsInt32 of an int");
  EXPECT_DEATH(Value::Int64(1).view().AsInt32(), "AsInt32 of an int");
  EXPECT_DEATH(Value::ObjectId("x"), "an ObjectId has 12 bytes");
  EXPECT_DEATH(Builder().Append(std::string_view("a\0b", 3), 1), "a field name holds no NUL");
}

TEST(ObjectIdTest, AreNewEachTime) {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(GenerateObjectId());
  EXPECT_EQ(ids.size(), 1000u);
  EXPECT_EQ(ids.begin()->size(), 12u);
}

TEST(ObjectIdTest, WithIdPutsTheIdInFront) {
  EXPECT_EQ(WithId(Doc(R"({"_id": 1, "a": 2})")), Doc(R"({"_id": 1, "a": 2})"));
  EXPECT_EQ(WithId(Doc(R"({"a": 2, "_id": 1, "b": 3})")), Doc(R"({"_id": 1, "a": 2, "b": 3})"));
  std::string doc = WithId(Doc(R"({"a": 2, "b": 3})"));
  ASSERT_TRUE(ValidateDocument(doc).ok());
  auto field = Fields(doc).begin();
  EXPECT_EQ(field->name, "_id");
  EXPECT_EQ(field->value.type(), Type::kObjectId);
  ++field;
  EXPECT_EQ(field->name, "a");
  EXPECT_NE(WithId(Doc("{}")), WithId(Doc("{}")));
}

}  // namespace
}  // namespace terrane::document
