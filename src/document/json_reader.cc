// Extended JSON into BSON.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "absl/strings/charconv.h"
#include "common/status.h"
#include "document/bytes.h"
#include "document/extended_json.h"
#include "document/json_tokens.h"
#include "document/json_wrappers.h"
#include "document/validate.h"

namespace terrane::document {
namespace {

using Kind = JsonToken::Kind;

// Writes the values of a token list as BSON. Recursive; the tokens are at most kMaxNesting + 3 levels deep.
class Reader {
 public:
  Reader(const JsonTokens& json, JsonMode mode) : json_(json), mode_(mode) {}

  // The document that begins at the token, without looking at its names.
  absl::Status Document(size_t object, std::string* out) {
    size_t start = OpenDocument(out);
    size_t at = object + 1;
    while (Token(at).kind != Kind::kEnd) {
      std::string_view name = json_.TextOf(Token(at));
      if (name.find('\0') != name.npos) return json_.ErrorAt(Token(at).offset, "a name holds NUL");
      TERRANE_RETURN_IF_ERROR(Element(name, at + 1, out));
      at = After(at + 1);
    }
    CloseDocument(start, out);
    return absl::OkStatus();
  }

  absl::StatusOr<Type> Any(size_t at, std::string* out) {
    const JsonToken& token = Token(at);
    switch (token.kind) {
      case Kind::kNull:
        return Type::kNull;
      case Kind::kTrue:
      case Kind::kFalse:
        out->push_back(token.kind == Kind::kTrue ? 1 : 0);
        return Type::kBool;
      case Kind::kNumber:
        return Number(token, out);
      case Kind::kString:
        return Put(Value::String(json_.TextOf(token)), out);
      case Kind::kArray:
        return Array(at, out);
      case Kind::kObject:
        return Object(at, out);
      case Kind::kName:
      case Kind::kEnd:
        break;
    }
    return Internal("JSON tokens are out of order");
  }

 private:
  const JsonToken& Token(size_t index) const { return json_.tokens()[index]; }

  // The token behind the value that begins at this one.
  size_t After(size_t at) const {
    bool container = Token(at).kind == Kind::kObject || Token(at).kind == Kind::kArray;
    return container ? Token(at).begin + 1 : at + 1;
  }

  absl::Status Element(std::string_view name, size_t at, std::string* out) {
    size_t head = out->size();
    AppendElementHead(0, name, out);
    TERRANE_ASSIGN_OR_RETURN(Type type, Any(at, out));
    (*out)[head] = static_cast<char>(type);
    return absl::OkStatus();
  }

  static Type Put(const Value& value, std::string* out) {
    out->append(value.view().bytes());
    return value.type();
  }

  absl::StatusOr<Type> Array(size_t at, std::string* out) {
    size_t start = OpenDocument(out);
    size_t index = 0;
    for (size_t i = at + 1; Token(i).kind != Kind::kEnd; i = After(i)) {
      TERRANE_RETURN_IF_ERROR(Element(std::to_string(index++), i, out));
    }
    CloseDocument(start, out);
    return Type::kArray;
  }

  absl::StatusOr<Type> Object(size_t at, std::string* out) {
    if (Token(at + 1).kind == Kind::kName) {
      std::string_view first = json_.TextOf(Token(at + 1));
      if (IsWrapperName(first)) return Wrapper(at, out);
      TERRANE_RETURN_IF_ERROR(CheckRegexIntent(at));
    }
    TERRANE_RETURN_IF_ERROR(Document(at, out));
    return Type::kDocument;
  }

  absl::StatusOr<Type> Wrapper(size_t at, std::string* out) {
    std::vector<JsonMember> members = MembersOf(json_, at);
    auto has = [&](std::string_view name) {
      return std::find_if(members.begin(), members.end(), [&](const JsonMember& m) { return m.name == name; });
    };
    auto code = has("$code"), scope = has("$scope");
    if (members.size() == 2 && code != members.end() && scope != members.end()) {
      return CodeWithScope(code->value, scope->value, out);
    }
    TERRANE_ASSIGN_OR_RETURN(Value value, ReadWrapper(json_, at));
    return Put(value, out);
  }

  absl::StatusOr<Type> CodeWithScope(size_t code, size_t scope, std::string* out) {
    if (Token(code).kind != Kind::kString) return json_.ErrorAt(Token(code).offset, "$code needs a string");
    if (Token(scope).kind != Kind::kObject) return json_.ErrorAt(Token(scope).offset, "$scope needs an object");
    size_t start = out->size();
    AppendLittle(uint32_t{0}, out);
    Put(Value::String(json_.TextOf(Token(code))), out);
    TERRANE_RETURN_IF_ERROR(Document(scope, out));
    uint32_t size = static_cast<uint32_t>(out->size() - start);
    std::memcpy(out->data() + start, &size, sizeof(size));
    return Type::kCodeWithScope;
  }

  // Version 1 wrote regular expressions like this, and its readers made values of them.
  absl::Status CheckRegexIntent(size_t at) {
    if (mode_ == JsonMode::kQuery) return absl::OkStatus();
    std::vector<JsonMember> members = MembersOf(json_, at);
    bool regex = std::any_of(members.begin(), members.end(), [&](const JsonMember& member) {
      return member.name == "$regex" && Token(member.value).kind == Kind::kString;
    });
    bool only = std::all_of(members.begin(), members.end(),
                            [](const JsonMember& m) { return m.name == "$regex" || m.name == "$options"; });
    if (!regex || !only) return absl::OkStatus();
    return json_.ErrorAt(
        Token(at).offset,
        R"(a regular expression is written {"$regularExpression": {"pattern": "..", "options": ".."}})");
  }

  absl::StatusOr<Type> Number(const JsonToken& token, std::string* out) {
    std::string_view text = json_.TextOf(token);
    const char* end = text.data() + text.size();
    if (text.find_first_of(".eE") == text.npos) {
      int64_t whole = 0;
      if (auto result = std::from_chars(text.data(), end, whole); result.ec == std::errc()) {
        bool small = whole >= std::numeric_limits<int32_t>::min() && whole <= std::numeric_limits<int32_t>::max();
        return Put(small ? Value::Int32(static_cast<int32_t>(whole)) : Value::Int64(whole), out);
      }
    }
    double value = 0;
    auto result = absl::from_chars(text.data(), end, value);
    // Too small a number is 0; too big a one has no meaning.
    bool too_big = result.ec != std::errc() && std::fabs(value) >= 1;
    if (too_big)
      return json_.ErrorAt(token.offset, StrCat("the number ", text.substr(0, 40), " is too big for a double"));
    return Put(Value::Double(value), out);
  }

  const JsonTokens& json_;
  JsonMode mode_;
};

absl::Status CheckTopLevelNames(const JsonTokens& json) {
  std::vector<JsonMember> members = MembersOf(json, 0);
  auto by_name = [](const JsonMember& a, const JsonMember& b) { return a.name < b.name; };
  std::stable_sort(members.begin(), members.end(), by_name);
  auto same = [](const JsonMember& a, const JsonMember& b) { return a.name == b.name; };
  auto twice = std::adjacent_find(members.begin(), members.end(), same);
  if (twice == members.end()) return absl::OkStatus();
  ++twice;
  return json.ErrorAt(json.tokens()[twice->name_token].offset, StrCat("field '", twice->name, "' appears twice"));
}

// The document that begins at the token, checked.
absl::StatusOr<std::string> FinishDocument(const JsonTokens& json, size_t object, JsonMode mode) {
  const JsonToken& token = json.tokens()[object];
  if (token.kind != Kind::kObject) return json.ErrorAt(token.offset, "expected an object, {...}");
  const JsonToken& next = json.tokens()[object + 1];
  if (next.kind == Kind::kName && IsWrapperName(json.TextOf(next))) {
    return json.ErrorAt(token.offset, StrCat("expected a document, ", json.TextOf(next), " makes it a single value"));
  }
  std::string out;
  TERRANE_RETURN_IF_ERROR(Reader(json, mode).Document(object, &out));
  absl::Status valid = mode == JsonMode::kDocument ? ValidateDocument(out) : ValidateStructure(out);
  if (!valid.ok()) return json.ErrorAt(token.offset, MessageOf(valid));
  return out;
}

}  // namespace

absl::StatusOr<std::string> DocumentFromJson(std::string_view text, JsonMode mode, int first_line) {
  JsonTokens json(text, first_line);
  TERRANE_RETURN_IF_ERROR(json.ReadValue());
  if (!json.AtEnd()) return json.ErrorHere("expected nothing more behind the document");
  if (mode == JsonMode::kDocument && json.tokens()[0].kind == Kind::kObject) {
    TERRANE_RETURN_IF_ERROR(CheckTopLevelNames(json));
  }
  return FinishDocument(json, 0, mode);
}

absl::StatusOr<std::vector<std::string>> DocumentsFromJson(std::string_view text, JsonMode mode) {
  JsonTokens json(text, 1);
  std::vector<std::string> out;
  while (!json.AtEnd()) {
    TERRANE_RETURN_IF_ERROR(json.ReadValue());
    const std::vector<JsonToken>& tokens = json.tokens();
    bool array = tokens[0].kind == Kind::kArray;
    for (size_t i = array ? 1 : 0; i < tokens.size() && tokens[i].kind != Kind::kEnd;) {
      TERRANE_ASSIGN_OR_RETURN(std::string document, FinishDocument(json, i, mode));
      out.push_back(std::move(document));
      i = tokens[i].begin + 1;
    }
  }
  return out;
}

absl::StatusOr<Value> ValueFromJson(std::string_view text, JsonMode mode) {
  JsonTokens json(text, 1);
  TERRANE_RETURN_IF_ERROR(json.ReadValue());
  if (!json.AtEnd()) return json.ErrorHere("expected nothing more behind the value");
  std::string bytes;
  TERRANE_ASSIGN_OR_RETURN(Type type, Reader(json, mode).Any(0, &bytes));
  // The limits hold for it as the value of a document.
  std::string document;
  size_t start = OpenDocument(&document);
  AppendElementHead(static_cast<uint8_t>(type), "value", &document);
  document += bytes;
  CloseDocument(start, &document);
  TERRANE_RETURN_IF_ERROR(ValidateStructure(document));
  return Value(type, std::move(bytes));
}

}  // namespace terrane::document
