#include "document/json_wrappers.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "absl/strings/charconv.h"
#include "absl/strings/escaping.h"
#include "common/status.h"
#include "document/json_dates.h"

namespace terrane::document {
namespace {

using Kind = JsonToken::Kind;

constexpr std::string_view kWrappers[] = {
    "$oid",           "$date",      "$numberInt", "$numberLong",        "$numberDouble",
    "$numberDecimal", "$binary",    "$uuid",      "$regularExpression", "$timestamp",
    "$code",          "$scope",     "$symbol",    "$dbPointer",         "$minKey",
    "$maxKey",        "$undefined",
};

// One wrapper object.
class Wrapper {
 public:
  Wrapper(const JsonTokens& json, size_t object) : json_(json), object_(object), members_(MembersOf(json, object)) {}

  absl::StatusOr<Value> Read() {
    std::string_view name = members_[0].name;
    if (members_.size() != 1) {
      return json_.ErrorAt(Offset(members_[1].name_token),
                           StrCat("'", members_[1].name, "' does not belong into ", name));
    }
    if (name == "$oid") return ReadOid(members_[0].value);
    if (name == "$date") return ReadDate();
    if (name == "$numberInt") return ReadInt32();
    if (name == "$numberLong") return ReadInt64(members_[0].value);
    if (name == "$numberDouble") return ReadDouble();
    if (name == "$numberDecimal") return ReadDecimal();
    if (name == "$binary") return ReadBinary();
    if (name == "$uuid") return ReadUuid();
    if (name == "$regularExpression") return ReadRegex();
    if (name == "$timestamp") return ReadTimestamp();
    if (name == "$dbPointer") return ReadDbPointer();
    if (name == "$symbol" || name == "$code") return ReadText(name == "$symbol" ? Type::kSymbol : Type::kCode);
    if (name == "$minKey" || name == "$maxKey") return ReadKeyEnd(name == "$minKey");
    if (name == "$undefined") return ReadUndefined();
    return json_.ErrorAt(Offset(object_), "$scope needs a $code beside it");
  }

 private:
  const JsonToken& Token(size_t index) const { return json_.tokens()[index]; }
  size_t Offset(size_t index) const { return Token(index).offset; }

  absl::Status Needs(size_t token, std::string_view what) const {
    return json_.ErrorAt(Offset(token), StrCat(members_[0].name, " needs ", what));
  }

  std::optional<std::string_view> String(size_t token) const {
    if (Token(token).kind != Kind::kString) return std::nullopt;
    return json_.TextOf(Token(token));
  }

  // The values of exactly these members of the wrapper's object; none if it is anything else.
  std::vector<size_t> Inner(std::initializer_list<std::string_view> names) const {
    if (Token(members_[0].value).kind != Kind::kObject) return {};
    std::vector<JsonMember> members = MembersOf(json_, members_[0].value);
    if (members.size() != names.size()) return {};
    std::vector<size_t> values;
    for (std::string_view name : names) {
      auto member = std::find_if(members.begin(), members.end(), [&](const JsonMember& m) { return m.name == name; });
      if (member == members.end()) return {};
      values.push_back(member->value);
    }
    return values;
  }

  template <typename T>
  static std::optional<T> Integer(std::string_view text) {
    T value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
  }

  absl::StatusOr<Value> ReadOid(size_t token) const {
    std::optional<std::string_view> text = String(token);
    bool hex = text && text->size() == 24 && text->find_first_not_of("0123456789abcdefABCDEF") == text->npos;
    if (!hex) return json_.ErrorAt(Offset(token), "$oid needs a string of 24 hex digits");
    return Value::ObjectId(absl::HexStringToBytes(ToAbsl(*text)));
  }

  absl::StatusOr<Value> ReadDate() const {
    size_t token = members_[0].value;
    if (std::vector<size_t> inner = Inner({"$numberLong"}); !inner.empty()) {
      std::optional<std::string_view> text = String(inner[0]);
      std::optional<int64_t> ms = text ? Integer<int64_t>(*text) : std::nullopt;
      if (ms) return Value::Date(*ms);
    }
    if (std::optional<std::string_view> text = String(token)) {
      if (std::optional<int64_t> ms = ParseIsoDate(*text)) return Value::Date(*ms);
    }
    if (Token(token).kind == Kind::kNumber) {
      return Needs(token, StrCat(R"({"$numberLong": ")", json_.TextOf(Token(token)), R"("} instead of a bare number)"));
    }
    return Needs(token, R"(a time like "2024-01-31T12:00:00Z" or {"$numberLong": "milliseconds"})");
  }

  absl::StatusOr<Value> ReadInt32() const {
    std::optional<std::string_view> text = String(members_[0].value);
    std::optional<int32_t> value = text ? Integer<int32_t>(*text) : std::nullopt;
    if (!value) return Needs(members_[0].value, "a string with a 32-bit integer");
    return Value::Int32(*value);
  }

  absl::StatusOr<Value> ReadInt64(size_t token) const {
    std::optional<std::string_view> text = String(token);
    std::optional<int64_t> value = text ? Integer<int64_t>(*text) : std::nullopt;
    if (!value) return Needs(token, "a string with a 64-bit integer");
    return Value::Int64(*value);
  }

  absl::StatusOr<Value> ReadDouble() const {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    std::optional<std::string_view> text = String(members_[0].value);
    if (text == "NaN") return Value::Double(std::numeric_limits<double>::quiet_NaN());
    if (text == "Infinity") return Value::Double(kInfinity);
    if (text == "-Infinity") return Value::Double(-kInfinity);
    double value = 0;
    bool ok = text && !text->empty() && text->find_first_not_of("+-.0123456789eE") == text->npos;
    if (ok) {
      size_t sign = (*text)[0] == '+' ? 1 : 0;
      const char* end = text->data() + text->size();
      auto result = absl::from_chars(text->data() + sign, end, value);
      ok = result.ptr == end && (result.ec == std::errc() || std::fabs(value) < 1);
    }
    if (!ok) return Needs(members_[0].value, R"(a string with a number, "Infinity", "-Infinity" or "NaN")");
    return Value::Double(value);
  }

  absl::StatusOr<Value> ReadDecimal() const {
    std::optional<std::string_view> text = String(members_[0].value);
    std::optional<Decimal128> value = text ? DecimalFromString(*text) : std::nullopt;
    if (!value) return Needs(members_[0].value, "a string with a decimal number of at most 34 digits");
    return Value::Decimal(*value);
  }

  absl::StatusOr<Value> ReadBinary() const {
    std::vector<size_t> inner = Inner({"base64", "subType"});
    std::optional<std::string_view> data, subtype;
    if (!inner.empty()) {
      data = String(inner[0]);
      subtype = String(inner[1]);
    }
    std::string bytes;
    bool hex = subtype && !subtype->empty() && subtype->size() <= 2 &&
               subtype->find_first_not_of("0123456789abcdefABCDEF") == subtype->npos;
    if (!data || !hex || !absl::Base64Unescape(ToAbsl(*data), &bytes)) {
      return Needs(members_[0].value, R"({"base64": "..", "subType": "hex"})");
    }
    unsigned number = 0;
    std::from_chars(subtype->data(), subtype->data() + subtype->size(), number, 16);
    return Value::Binary(bytes, static_cast<uint8_t>(number));
  }

  absl::StatusOr<Value> ReadUuid() const {
    std::optional<std::string_view> text = String(members_[0].value);
    std::string hex;
    bool ok = text && text->size() == 36;
    for (size_t i = 0; ok && i < 36; ++i) {
      bool dash = i == 8 || i == 13 || i == 18 || i == 23;
      ok = dash ? (*text)[i] == '-' : std::isxdigit(static_cast<unsigned char>((*text)[i])) != 0;
      if (!dash) hex.push_back((*text)[i]);
    }
    if (!ok) return Needs(members_[0].value, "a string like \"01234567-89ab-cdef-0123-456789abcdef\"");
    return Value::Binary(absl::HexStringToBytes(hex), 4);
  }

  absl::StatusOr<Value> ReadRegex() const {
    std::vector<size_t> inner = Inner({"pattern", "options"});
    std::optional<std::string_view> pattern, options;
    if (!inner.empty()) {
      pattern = String(inner[0]);
      options = String(inner[1]);
    }
    bool ok = pattern && options && pattern->find('\0') == pattern->npos && options->find('\0') == options->npos;
    if (!ok) return Needs(members_[0].value, R"({"pattern": "..", "options": ".."} without NUL)");
    return Value::Regex(*pattern, *options);
  }

  absl::StatusOr<Value> ReadTimestamp() const {
    std::vector<size_t> inner = Inner({"t", "i"});
    std::optional<uint32_t> parts[2];
    for (size_t k = 0; k < inner.size(); ++k) {
      if (Token(inner[k]).kind == Kind::kNumber) parts[k] = Integer<uint32_t>(json_.TextOf(Token(inner[k])));
    }
    if (!parts[0] || !parts[1]) return Needs(members_[0].value, R"({"t": seconds, "i": increment})");
    return Value::Timestamp(*parts[0], *parts[1]);
  }

  absl::StatusOr<Value> ReadDbPointer() const {
    std::vector<size_t> inner = Inner({"$ref", "$id"});
    std::optional<std::string_view> ref;
    if (!inner.empty()) ref = String(inner[0]);
    std::vector<JsonMember> id;
    if (ref && Token(inner[1]).kind == Kind::kObject) id = MembersOf(json_, inner[1]);
    if (id.size() != 1 || id[0].name != "$oid")
      return Needs(members_[0].value, R"({"$ref": "..", "$id": {"$oid": ".."}})");
    TERRANE_ASSIGN_OR_RETURN(Value oid, ReadOid(id[0].value));
    return Value(Type::kDbPointer, StrCat(Value::String(*ref).view().bytes(), oid.view().bytes()));
  }

  absl::StatusOr<Value> ReadText(Type type) const {
    std::optional<std::string_view> text = String(members_[0].value);
    if (!text) return Needs(members_[0].value, "a string");
    return Value(type, std::string(Value::String(*text).view().bytes()));
  }

  absl::StatusOr<Value> ReadKeyEnd(bool min) const {
    const JsonToken& token = Token(members_[0].value);
    if (token.kind != Kind::kNumber || json_.TextOf(token) != "1") return Needs(members_[0].value, "1");
    return min ? Value::MinKey() : Value::MaxKey();
  }

  absl::StatusOr<Value> ReadUndefined() const {
    if (Token(members_[0].value).kind != Kind::kTrue) return Needs(members_[0].value, "true");
    return Value(Type::kUndefined, "");
  }

  const JsonTokens& json_;
  size_t object_;
  std::vector<JsonMember> members_;
};

}  // namespace

std::vector<JsonMember> MembersOf(const JsonTokens& json, size_t object) {
  std::vector<JsonMember> members;
  const std::vector<JsonToken>& tokens = json.tokens();
  for (size_t i = object + 1; tokens[i].kind != Kind::kEnd;) {
    members.push_back({.name = json.TextOf(tokens[i]), .name_token = i, .value = i + 1});
    bool container = tokens[i + 1].kind == Kind::kObject || tokens[i + 1].kind == Kind::kArray;
    i = container ? tokens[i + 1].begin + 1 : i + 2;
  }
  return members;
}

bool IsWrapperName(std::string_view name) {
  return std::find(std::begin(kWrappers), std::end(kWrappers), name) != std::end(kWrappers);
}

absl::StatusOr<Value> ReadWrapper(const JsonTokens& json, size_t object) {
  return Wrapper(json, object).Read();
}

}  // namespace terrane::document
