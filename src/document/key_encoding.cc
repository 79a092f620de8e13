#include "document/key_encoding.h"

#include <bit>
#include <cmath>
#include <limits>

#include "common/status.h"
#include "document/bytes.h"
#include "document/limits.h"
#include "document/number.h"

namespace terrane::document {
namespace {

// Stored on disk: never change a number.
enum Tag : uint8_t {
  kEnd = 0x00,
  kMinKeyTag = 0x05,
  kUndefinedTag = 0x08,
  kNullTag = 0x0A,
  kNaNTag = 0x10,
  kNegativeTag = 0x11,
  kZeroTag = 0x12,
  kPositiveTag = 0x13,
  kStringTag = 0x20,
  kDocumentTag = 0x28,
  kArrayTag = 0x30,
  kBinaryTag = 0x38,
  kObjectIdTag = 0x40,
  kBoolTag = 0x48,
  kDateTag = 0x50,
  kTimestampTag = 0x54,
  kRegexTag = 0x58,
  kDbPointerTag = 0x5C,
  kCodeTag = 0x60,
  kCodeWithScopeTag = 0x64,
  kMaxKeyTag = 0xF0,
};

constexpr int kExponentOffset = 7000;
constexpr size_t kInexactBytes = 2 + 16;
constexpr uint64_t kSignBit = uint64_t{1} << 63;

void AppendText(std::string_view text, std::string* out) {
  for (;;) {
    size_t nul = text.find('\0');
    out->append(text.substr(0, nul));
    if (nul == text.npos) break;
    out->append("\x00\xFF", 2);
    text.remove_prefix(nul + 1);
  }
  out->append("\x00\x01", 2);
}

Tag NumberTag(const CanonicalNumber& number) {
  switch (number.klass) {
    case CanonicalNumber::Class::kNaN:
      return kNaNTag;
    case CanonicalNumber::Class::kNegative:
      return kNegativeTag;
    case CanonicalNumber::Class::kZero:
      return kZeroTag;
    case CanonicalNumber::Class::kPositive:
      return kPositiveTag;
  }
  return kNaNTag;
}

Tag TagOf(ValueView value) {
  switch (value.type()) {
    case Type::kMinKey:
      return kMinKeyTag;
    case Type::kUndefined:
      return kUndefinedTag;
    case Type::kNull:
      return kNullTag;
    case Type::kInt32:
    case Type::kInt64:
    case Type::kDouble:
    case Type::kDecimal128:
      return NumberTag(Canonical(value));
    case Type::kString:
    case Type::kSymbol:
      return kStringTag;
    case Type::kDocument:
      return kDocumentTag;
    case Type::kArray:
      return kArrayTag;
    case Type::kBinary:
      return kBinaryTag;
    case Type::kObjectId:
      return kObjectIdTag;
    case Type::kBool:
      return kBoolTag;
    case Type::kDate:
      return kDateTag;
    case Type::kTimestamp:
      return kTimestampTag;
    case Type::kRegex:
      return kRegexTag;
    case Type::kDbPointer:
      return kDbPointerTag;
    case Type::kCode:
      return kCodeTag;
    case Type::kCodeWithScope:
      return kCodeWithScopeTag;
    case Type::kMaxKey:
      return kMaxKeyTag;
  }
  return kMaxKeyTag;
}

void AppendNumberBody(const CanonicalNumber& number, std::string* out) {
  if (number.klass == CanonicalNumber::Class::kNaN || number.klass == CanonicalNumber::Class::kZero) return;
  size_t start = out->size();
  AppendBig(std::bit_cast<uint64_t>(number.floor), out);
  out->push_back(number.exact ? 0 : 1);
  if (!number.exact) {
    AppendBig(static_cast<uint16_t>(number.exponent + kExponentOffset), out);
    AppendBig(static_cast<uint64_t>(number.coefficient >> 64), out);
    AppendBig(static_cast<uint64_t>(number.coefficient), out);
  }
  if (number.klass != CanonicalNumber::Class::kNegative) return;
  for (size_t i = start; i < out->size(); ++i) (*out)[i] = static_cast<char>(~(*out)[i]);
}

void AppendBody(ValueView value, std::string* out);

void AppendDocumentBody(std::string_view bson, std::string* out) {
  for (const Field& field : Fields(bson)) {
    size_t tag = out->size();
    out->push_back(static_cast<char>(TagOf(field.value)));
    // Numbers of one rank have four tags, and the name comes before the value: the rank first, the class with the
    // value.
    if (field.value.IsNumber()) (*out)[tag] = static_cast<char>(kNaNTag);
    AppendText(field.name, out);
    if (field.value.IsNumber()) out->push_back(static_cast<char>(TagOf(field.value)));
    AppendBody(field.value, out);
  }
  out->push_back(kEnd);
}

void AppendBody(ValueView value, std::string* out) {
  switch (value.type()) {
    case Type::kMinKey:
    case Type::kUndefined:
    case Type::kNull:
    case Type::kMaxKey:
      return;
    case Type::kInt32:
    case Type::kInt64:
    case Type::kDouble:
    case Type::kDecimal128:
      return AppendNumberBody(Canonical(value), out);
    case Type::kString:
    case Type::kSymbol:
    case Type::kCode:
      return AppendText(value.AsString(), out);
    case Type::kDocument:
      return AppendDocumentBody(value.AsDocument(), out);
    case Type::kArray:
      for (const Field& field : Fields(value.AsDocument())) AppendKey(field.value, out);
      out->push_back(kEnd);
      return;
    case Type::kBinary:
      AppendBig(static_cast<uint32_t>(value.AsBinary().size()), out);
      out->push_back(static_cast<char>(value.BinarySubtype()));
      out->append(value.AsBinary());
      return;
    case Type::kObjectId:
      out->append(value.AsObjectId());
      return;
    case Type::kBool:
      out->push_back(value.AsBool() ? 1 : 0);
      return;
    case Type::kDate:
      return AppendBig(static_cast<uint64_t>(value.AsDateMs()) ^ kSignBit, out);
    case Type::kTimestamp:
      return AppendBig(value.AsTimestamp(), out);
    case Type::kRegex:
      AppendText(value.RegexPattern(), out);
      AppendText(value.RegexOptions(), out);
      return;
    case Type::kDbPointer:
      AppendBig(static_cast<uint32_t>(value.DbPointerRef().size()), out);
      out->append(value.DbPointerRef());
      out->append(value.DbPointerId());
      return;
    case Type::kCodeWithScope:
      AppendText(value.CodeText(), out);
      AppendDocumentBody(value.CodeScope(), out);
      return;
  }
}

bool IsNumberTag(char tag) {
  return tag >= kNaNTag && tag <= kPositiveTag;
}

// Reads what the functions above wrote.
class Decoder {
 public:
  explicit Decoder(std::string_view* rest) : rest_(*rest) {}

  // One value with its tag. False if the bytes are no encoding.
  bool Read(Value* out, int depth) {
    std::string_view tag;
    return Take(1, &tag) && Body(static_cast<uint8_t>(tag[0]), out, depth);
  }

 private:
  bool Take(size_t size, std::string_view* out) {
    if (rest_.size() < size) return false;
    *out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  bool Text(std::string* out) {
    for (;;) {
      size_t nul = rest_.find('\0');
      if (nul == rest_.npos || nul + 1 >= rest_.size()) return false;
      out->append(rest_.substr(0, nul));
      uint8_t after = static_cast<uint8_t>(rest_[nul + 1]);
      rest_.remove_prefix(nul + 2);
      if (after == 0x01) return true;
      if (after != 0xFF) return false;
      out->push_back('\0');
    }
  }

  bool Number(bool negative, Value* out) {
    std::string_view raw;
    if (!Take(9, &raw)) return false;
    std::string bytes(raw);
    bool inexact = (static_cast<uint8_t>(bytes[8]) ^ (negative ? 0xFF : 0)) != 0;
    if (inexact) {
      if (!Take(kInexactBytes, &raw)) return false;
      bytes += raw;
    }
    if (negative) {
      for (char& c : bytes) c = static_cast<char>(~c);
    }
    CanonicalNumber number;
    number.klass = negative ? CanonicalNumber::Class::kNegative : CanonicalNumber::Class::kPositive;
    number.floor = std::bit_cast<double>(LoadBig<uint64_t>(bytes));
    number.exact = !inexact;
    if (inexact) {
      number.exponent = LoadBig<uint16_t>(std::string_view(bytes).substr(9)) - kExponentOffset;
      number.coefficient = static_cast<Uint128>(LoadBig<uint64_t>(std::string_view(bytes).substr(11))) << 64 |
                           LoadBig<uint64_t>(std::string_view(bytes).substr(19));
    }
    if (bytes[8] != 0 && bytes[8] != 1) return false;
    *out = FromCanonical(number);
    // Only what encodes to these very bytes was an encoding.
    std::string again;
    AppendNumberBody(Canonical(*out), &again);
    if (negative) {
      for (char& c : bytes) c = static_cast<char>(~c);
    }
    return again == bytes;
  }

  bool Document(Value* out, int depth) {
    std::string bson;
    size_t start = OpenDocument(&bson);
    std::string_view tag;
    for (;;) {
      if (!Take(1, &tag)) return false;
      if (tag[0] == kEnd) break;
      std::string name;
      if (!Text(&name) || name.find('\0') != name.npos) return false;
      Value value;
      // The rank of a number, then, behind the name, its class.
      if (IsNumberTag(tag[0]) && (tag[0] != kNaNTag || !Take(1, &tag) || !IsNumberTag(tag[0]))) return false;
      if (!Body(static_cast<uint8_t>(tag[0]), &value, depth + 1)) return false;
      AppendElementHead(static_cast<uint8_t>(value.type()), name, &bson);
      bson += value.view().bytes();
    }
    CloseDocument(start, &bson);
    *out = Value(Type::kDocument, std::move(bson));
    return true;
  }

  bool Array(Value* out, int depth) {
    std::string bson;
    size_t start = OpenDocument(&bson);
    for (int index = 0;; ++index) {
      if (rest_.empty()) return false;
      if (rest_[0] == kEnd) break;
      Value value;
      if (!Read(&value, depth + 1)) return false;
      AppendElementHead(static_cast<uint8_t>(value.type()), std::to_string(index), &bson);
      bson += value.view().bytes();
    }
    rest_.remove_prefix(1);
    CloseDocument(start, &bson);
    *out = Value(Type::kArray, std::move(bson));
    return true;
  }

  bool Binary(Value* out) {
    std::string_view head, data;
    if (!Take(5, &head) || !Take(LoadBig<uint32_t>(head), &data)) return false;
    *out = Value::Binary(data, static_cast<uint8_t>(head[4]));
    return true;
  }

  bool Regex(Value* out) {
    std::string pattern, options;
    if (!Text(&pattern) || !Text(&options)) return false;
    if (pattern.find('\0') != pattern.npos || options.find('\0') != options.npos) return false;
    *out = Value::Regex(pattern, options);
    return true;
  }

  bool DbPointer(Value* out) {
    std::string_view head, ref, id;
    if (!Take(4, &head) || !Take(LoadBig<uint32_t>(head), &ref) || !Take(12, &id)) return false;
    *out = Value(Type::kDbPointer, std::string(Value::String(ref).view().bytes()).append(id));
    return true;
  }

  bool CodeWithScope(Value* out, int depth) {
    std::string code;
    Value scope;
    if (!Text(&code) || !Document(&scope, depth)) return false;
    std::string text(Value::String(code).view().bytes());
    std::string bytes;
    AppendLittle(static_cast<uint32_t>(4 + text.size() + scope.view().bytes().size()), &bytes);
    *out = Value(Type::kCodeWithScope, bytes.append(text).append(scope.view().bytes()));
    return true;
  }

  bool Body(uint8_t tag, Value* out, int depth) {
    if (depth > kMaxNesting) return false;
    std::string text;
    std::string_view raw;
    switch (tag) {
      case kMinKeyTag:
        *out = Value::MinKey();
        return true;
      case kUndefinedTag:
        *out = Value(Type::kUndefined, "");
        return true;
      case kNullTag:
        *out = Value::Null();
        return true;
      case kMaxKeyTag:
        *out = Value::MaxKey();
        return true;
      case kNaNTag:
        *out = Value::Double(std::numeric_limits<double>::quiet_NaN());
        return true;
      case kZeroTag:
        *out = Value::Int32(0);
        return true;
      case kNegativeTag:
        return Number(true, out);
      case kPositiveTag:
        return Number(false, out);
      case kStringTag:
        if (!Text(&text)) return false;
        *out = Value::String(text);
        return true;
      case kCodeTag:
        if (!Text(&text)) return false;
        *out = Value(Type::kCode, std::string(Value::String(text).view().bytes()));
        return true;
      case kDocumentTag:
        return Document(out, depth);
      case kArrayTag:
        return Array(out, depth);
      case kBinaryTag:
        return Binary(out);
      case kObjectIdTag:
        if (!Take(12, &raw)) return false;
        *out = Value::ObjectId(raw);
        return true;
      case kBoolTag:
        if (!Take(1, &raw) || (raw[0] != 0 && raw[0] != 1)) return false;
        *out = Value::Bool(raw[0] != 0);
        return true;
      case kDateTag:
        if (!Take(8, &raw)) return false;
        *out = Value::Date(static_cast<int64_t>(LoadBig<uint64_t>(raw) ^ kSignBit));
        return true;
      case kTimestampTag: {
        if (!Take(8, &raw)) return false;
        uint64_t value = LoadBig<uint64_t>(raw);
        *out = Value::Timestamp(static_cast<uint32_t>(value >> 32), static_cast<uint32_t>(value));
        return true;
      }
      case kRegexTag:
        return Regex(out);
      case kDbPointerTag:
        return DbPointer(out);
      case kCodeWithScopeTag:
        return CodeWithScope(out, depth);
      default:
        return false;
    }
  }

 public:
  std::string_view rest_;
};

}  // namespace

void AppendKey(ValueView value, std::string* out) {
  if (value.IsNumber()) {
    CanonicalNumber number = Canonical(value);
    out->push_back(static_cast<char>(NumberTag(number)));
    return AppendNumberBody(number, out);
  }
  out->push_back(static_cast<char>(TagOf(value)));
  AppendBody(value, out);
}

std::string EncodeKey(ValueView value) {
  std::string out;
  AppendKey(value, &out);
  return out;
}

absl::StatusOr<Value> DecodeKey(std::string_view* rest) {
  Decoder decoder(rest);
  Value value;
  if (!decoder.Read(&value, 0)) return DataLoss("the bytes are no encoded key");
  *rest = decoder.rest_;
  return value;
}

absl::StatusOr<size_t> KeySize(std::string_view bytes) {
  std::string_view rest = bytes;
  absl::StatusOr<Value> value = DecodeKey(&rest);
  if (!value.ok()) return value.status();
  return bytes.size() - rest.size();
}

std::optional<std::string> PrefixEnd(std::string_view prefix) {
  while (!prefix.empty() && static_cast<uint8_t>(prefix.back()) == 0xFF) prefix.remove_suffix(1);
  if (prefix.empty()) return std::nullopt;
  std::string end(prefix);
  end.back() = static_cast<char>(end.back() + 1);
  return end;
}

}  // namespace terrane::document
