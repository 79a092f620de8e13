#include "document/value.h"

#include <cmath>

#include "document/bytes.h"

namespace terrane::document {
namespace {

// The part up to the first NUL, without it; everything if there is none.
std::string_view CString(std::string_view bytes) {
  return bytes.substr(0, bytes.find('\0'));
}

// A length-prefixed string with its NUL: the text.
std::string_view LengthPrefixed(std::string_view bytes) {
  size_t size = LoadLittle<uint32_t>(bytes);
  if (size == 0 || bytes.size() < 4 || size > bytes.size() - 4) return {};
  return bytes.substr(4, size - 1);
}

std::string LengthPrefix(std::string_view text) {
  std::string out;
  AppendLittle<uint32_t>(static_cast<uint32_t>(text.size() + 1), &out);
  out.append(text);
  out.push_back('\0');
  return out;
}

template <typename T>
std::string Little(T value) {
  std::string out;
  AppendLittle(value, &out);
  return out;
}

}  // namespace

std::string_view TypeName(Type type) {
  switch (type) {
    case Type::kDouble:
      return "double";
    case Type::kString:
      return "string";
    case Type::kDocument:
      return "object";
    case Type::kArray:
      return "array";
    case Type::kBinary:
      return "binData";
    case Type::kUndefined:
      return "undefined";
    case Type::kObjectId:
      return "objectId";
    case Type::kBool:
      return "bool";
    case Type::kDate:
      return "date";
    case Type::kNull:
      return "null";
    case Type::kRegex:
      return "regex";
    case Type::kDbPointer:
      return "dbPointer";
    case Type::kCode:
      return "javascript";
    case Type::kSymbol:
      return "symbol";
    case Type::kCodeWithScope:
      return "javascriptWithScope";
    case Type::kInt32:
      return "int";
    case Type::kTimestamp:
      return "timestamp";
    case Type::kInt64:
      return "long";
    case Type::kDecimal128:
      return "decimal";
    case Type::kMaxKey:
      return "maxKey";
    case Type::kMinKey:
      return "minKey";
  }
  return "unknown";
}

bool ValueView::IsNumber() const {
  return type_ == Type::kInt32 || type_ == Type::kInt64 || type_ == Type::kDouble || type_ == Type::kDecimal128;
}

double ValueView::AsDouble() const {
  Require(type_ == Type::kDouble, "AsDouble of a double");
  return LoadLittle<double>(bytes_);
}

int32_t ValueView::AsInt32() const {
  Require(type_ == Type::kInt32, "AsInt32 of an int");
  return LoadLittle<int32_t>(bytes_);
}

int64_t ValueView::AsInt64() const {
  if (type_ == Type::kInt32) return LoadLittle<int32_t>(bytes_);
  Require(type_ == Type::kInt64, "AsInt64 of an int or long");
  return LoadLittle<int64_t>(bytes_);
}

Decimal128 ValueView::AsDecimal128() const {
  Require(type_ == Type::kDecimal128, "AsDecimal128 of a decimal");
  return {.high = LoadLittle<uint64_t>(bytes_, 8), .low = LoadLittle<uint64_t>(bytes_)};
}

bool ValueView::AsBool() const {
  Require(type_ == Type::kBool, "AsBool of a bool");
  return LoadLittle<uint8_t>(bytes_) != 0;
}

int64_t ValueView::AsDateMs() const {
  Require(type_ == Type::kDate, "AsDateMs of a date");
  return LoadLittle<int64_t>(bytes_);
}

uint64_t ValueView::AsTimestamp() const {
  Require(type_ == Type::kTimestamp, "AsTimestamp of a timestamp");
  return LoadLittle<uint64_t>(bytes_);
}

std::string_view ValueView::AsString() const {
  Require(type_ == Type::kString || type_ == Type::kSymbol || type_ == Type::kCode, "AsString of a string");
  return LengthPrefixed(bytes_);
}

std::string_view ValueView::AsDocument() const {
  Require(IsContainer(), "AsDocument of an object or array");
  return bytes_;
}

std::string_view ValueView::AsObjectId() const {
  Require(type_ == Type::kObjectId, "AsObjectId of an objectId");
  return bytes_;
}

std::string_view ValueView::AsBinary() const {
  Require(type_ == Type::kBinary, "AsBinary of a binData");
  return bytes_.substr(std::min<size_t>(5, bytes_.size()));
}

uint8_t ValueView::BinarySubtype() const {
  Require(type_ == Type::kBinary, "BinarySubtype of a binData");
  return LoadLittle<uint8_t>(bytes_, 4);
}

std::string_view ValueView::RegexPattern() const {
  Require(type_ == Type::kRegex, "RegexPattern of a regex");
  return CString(bytes_);
}

std::string_view ValueView::RegexOptions() const {
  return CString(bytes_.substr(std::min(RegexPattern().size() + 1, bytes_.size())));
}

std::string_view ValueView::DbPointerRef() const {
  Require(type_ == Type::kDbPointer, "DbPointerRef of a dbPointer");
  return LengthPrefixed(bytes_);
}

std::string_view ValueView::DbPointerId() const {
  Require(type_ == Type::kDbPointer, "DbPointerId of a dbPointer");
  return bytes_.size() < 12 ? std::string_view() : bytes_.substr(bytes_.size() - 12);
}

std::string_view ValueView::CodeText() const {
  Require(type_ == Type::kCodeWithScope, "CodeText of code with scope");
  return LengthPrefixed(bytes_.substr(std::min<size_t>(4, bytes_.size())));
}

std::string_view ValueView::CodeScope() const {
  return bytes_.substr(std::min(8 + CodeText().size() + 1, bytes_.size()));
}

Value Value::Null() {
  return Value();
}
Value Value::Bool(bool value) {
  return {Type::kBool, std::string(1, value ? '\1' : '\0')};
}
Value Value::Int32(int32_t value) {
  return {Type::kInt32, Little(value)};
}
Value Value::Int64(int64_t value) {
  return {Type::kInt64, Little(value)};
}
Value Value::Double(double value) {
  return {Type::kDouble, Little(value)};
}
Value Value::Decimal(Decimal128 value) {
  return {Type::kDecimal128, Little(value.low) + Little(value.high)};
}
Value Value::String(std::string_view value) {
  return {Type::kString, LengthPrefix(value)};
}
Value Value::Date(int64_t ms) {
  return {Type::kDate, Little(ms)};
}
Value Value::Timestamp(uint32_t seconds, uint32_t increment) {
  return {Type::kTimestamp, Little(increment) + Little(seconds)};
}
Value Value::ObjectId(std::string_view twelve_bytes) {
  Require(twelve_bytes.size() == 12, "an ObjectId has 12 bytes");
  return {Type::kObjectId, std::string(twelve_bytes)};
}
Value Value::Binary(std::string_view data, uint8_t subtype) {
  std::string bytes = Little(static_cast<uint32_t>(data.size()));
  bytes.push_back(static_cast<char>(subtype));
  return {Type::kBinary, bytes.append(data)};
}
Value Value::Regex(std::string_view pattern, std::string_view options) {
  Require(pattern.find('\0') == pattern.npos && options.find('\0') == options.npos, "a regex holds no NUL");
  std::string bytes(pattern);
  bytes.push_back('\0');
  bytes.append(options).push_back('\0');
  return {Type::kRegex, std::move(bytes)};
}
Value Value::Document(std::string_view bson) {
  return {Type::kDocument, std::string(bson)};
}
Value Value::Array(std::string_view bson) {
  return {Type::kArray, std::string(bson)};
}
Value Value::MinKey() {
  return {Type::kMinKey, ""};
}
Value Value::MaxKey() {
  return {Type::kMaxKey, ""};
}

std::optional<size_t> ValueSize(Type type, std::string_view rest) {
  auto fixed = [&](size_t size) { return size <= rest.size() ? std::optional(size) : std::nullopt; };
  auto prefixed = [&](size_t least, size_t extra) -> std::optional<size_t> {
    if (rest.size() < 4) return std::nullopt;
    size_t size = LoadLittle<uint32_t>(rest);
    if (size < least || size > rest.size() || size + extra > rest.size()) return std::nullopt;
    return size + extra;
  };
  switch (type) {
    case Type::kUndefined:
    case Type::kNull:
    case Type::kMinKey:
    case Type::kMaxKey:
      return 0;
    case Type::kBool:
      return fixed(1);
    case Type::kInt32:
      return fixed(4);
    case Type::kDouble:
    case Type::kDate:
    case Type::kTimestamp:
    case Type::kInt64:
      return fixed(8);
    case Type::kObjectId:
      return fixed(12);
    case Type::kDecimal128:
      return fixed(16);
    case Type::kString:
    case Type::kSymbol:
    case Type::kCode:
      return prefixed(1, 4);
    case Type::kDbPointer:
      return prefixed(1, 4 + 12);
    case Type::kBinary:
      return prefixed(0, 5);
    case Type::kDocument:
    case Type::kArray:
      return prefixed(5, 0);
    case Type::kCodeWithScope:
      return prefixed(14, 0);
    case Type::kRegex: {
      size_t pattern = rest.find('\0');
      if (pattern == rest.npos) return std::nullopt;
      size_t options = rest.find('\0', pattern + 1);
      return options == rest.npos ? std::nullopt : std::optional(options + 1);
    }
  }
  return std::nullopt;
}

Fields::Iterator Fields::begin() const {
  size_t size = LoadLittle<uint32_t>(bson_);
  if (size < 5 || size > bson_.size()) return Iterator("");
  return Iterator(bson_.substr(4, size - 5));
}

void Fields::Iterator::Read() {
  done_ = true;
  if (rest_.empty()) return;
  size_t name_end = rest_.find('\0', 1);
  if (name_end == rest_.npos) return;
  Type type = static_cast<Type>(static_cast<uint8_t>(rest_[0]));
  std::string_view after = rest_.substr(name_end + 1);
  std::optional<size_t> size = ValueSize(type, after);
  if (!size) return;
  field_ = {.name = rest_.substr(1, name_end - 1),
            .value = ValueView(type, after.substr(0, *size)),
            .element = rest_.substr(0, name_end + 1 + *size)};
  rest_ = after.substr(*size);
  done_ = false;
}

std::optional<ValueView> FindDirect(std::string_view bson, std::string_view name) {
  for (const Field& field : Fields(bson)) {
    if (field.name == name) return field.value;
  }
  return std::nullopt;
}

std::optional<ValueView> FindField(std::string_view bson, std::string_view path) {
  for (;;) {
    size_t dot = path.find('.');
    std::optional<ValueView> value = FindDirect(bson, path.substr(0, dot));
    if (!value || dot == path.npos) return value;
    if (value->type() != Type::kDocument) return std::nullopt;
    bson = value->AsDocument();
    path.remove_prefix(dot + 1);
  }
}

}  // namespace terrane::document
