#include "document/json_tokens.h"

#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>

#include "common/status.h"
#include "document/limits.h"

namespace terrane::document {
namespace {

constexpr size_t kMaxTextBytes = 512 * 1024 * 1024;
// Wrappers nest, too: {"$dbPointer": {"$id": {"$oid": ..}}}.
constexpr size_t kMaxJsonNesting = kMaxNesting + 3;

bool IsSpace(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
bool IsWordByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$';
}

struct Hint {
  std::string_view word;
  std::string_view instead;
};
constexpr Hint kHints[] = {
    {"NaN", R"({"$numberDouble": "NaN"})"},
    {"Infinity", R"({"$numberDouble": "Infinity"})"},
    {"-Infinity", R"({"$numberDouble": "-Infinity"})"},
    {"undefined", "null"},
    {"None", "null"},
    {"True", "true"},
    {"False", "false"},
    {"ObjectId", R"({"$oid": ".."})"},
    {"ISODate", R"({"$date": "2024-01-31T12:00:00Z"})"},
    {"Date", R"({"$date": "2024-01-31T12:00:00Z"})"},
    {"NumberInt", R"({"$numberInt": ".."})"},
    {"NumberLong", R"({"$numberLong": ".."})"},
    {"NumberDecimal", R"({"$numberDecimal": ".."})"},
    {"Timestamp", R"({"$timestamp": {"t": .., "i": ..}})"},
    {"BinData", R"({"$binary": {"base64": "..", "subType": ".."}})"},
    {"UUID", R"({"$uuid": ".."})"},
    {"MinKey", R"({"$minKey": 1})"},
    {"MaxKey", R"({"$maxKey": 1})"},
};

std::string_view Expected(rapidjson::ParseErrorCode code) {
  switch (code) {
    case rapidjson::kParseErrorDocumentEmpty:
      return "expected a value, there is none";
    case rapidjson::kParseErrorValueInvalid:
      return "expected a value";
    case rapidjson::kParseErrorObjectMissName:
      return "expected a name in double quotes";
    case rapidjson::kParseErrorObjectMissColon:
      return "expected : after the name";
    case rapidjson::kParseErrorObjectMissCommaOrCurlyBracket:
      return "expected , or }";
    case rapidjson::kParseErrorArrayMissCommaOrSquareBracket:
      return "expected , or ]";
    case rapidjson::kParseErrorStringUnicodeEscapeInvalidHex:
      return "\\u needs four hex digits";
    case rapidjson::kParseErrorStringUnicodeSurrogateInvalid:
      return "half of a surrogate pair";
    case rapidjson::kParseErrorStringEscapeInvalid:
      return "unknown escape in a string";
    case rapidjson::kParseErrorStringMissQuotationMark:
      return "a string has no end";
    case rapidjson::kParseErrorStringInvalidEncoding:
      return "a string is not UTF-8";
    case rapidjson::kParseErrorNumberTooBig:
      return "the number is too big";
    case rapidjson::kParseErrorNumberMissFraction:
      return "expected digits after the point";
    case rapidjson::kParseErrorNumberMissExponent:
      return "expected digits of the exponent";
    default:
      return "not understood";
  }
}

}  // namespace

// Takes RapidJSON's events down as tokens. Places are found by walking over what may stand between two tokens.
class JsonTokens::Handler {
 public:
  Handler(JsonTokens* owner, const rapidjson::MemoryStream& stream, size_t stream_start)
      : owner_(*owner), stream_(stream), stream_start_(stream_start), at_(owner->position_) {}

  bool Null() { return Literal(JsonToken::Kind::kNull, 4); }
  bool Bool(bool value) { return Literal(value ? JsonToken::Kind::kTrue : JsonToken::Kind::kFalse, value ? 4 : 5); }
  bool RawNumber(const char* text, rapidjson::SizeType size, bool) {
    Add(JsonToken::Kind::kNumber, {text, size});
    at_ += size;
    return true;
  }
  bool String(const char* text, rapidjson::SizeType size, bool) { return Text(JsonToken::Kind::kString, text, size); }
  bool Key(const char* text, rapidjson::SizeType size, bool) { return Text(JsonToken::Kind::kName, text, size); }
  bool StartObject() { return Open(JsonToken::Kind::kObject); }
  bool StartArray() { return Open(JsonToken::Kind::kArray); }
  bool EndObject(rapidjson::SizeType) { return Close(); }
  bool EndArray(rapidjson::SizeType) { return Close(); }
  // Numbers come as their text.
  bool Int(int) { return false; }
  bool Uint(unsigned) { return false; }
  bool Int64(int64_t) { return false; }
  bool Uint64(uint64_t) { return false; }
  bool Double(double) { return false; }

  bool too_deep() const { return open_.size() >= kMaxJsonNesting; }
  size_t at() const { return at_; }

 private:
  void Add(JsonToken::Kind kind, std::string_view text) {
    auto between = [](char c) { return IsSpace(c) || c == ',' || c == ':'; };
    while (at_ < owner_.text_.size() && between(owner_.text_[at_])) ++at_;
    owner_.tokens_.push_back({.kind = kind,
                              .offset = static_cast<uint32_t>(at_),
                              .begin = static_cast<uint32_t>(owner_.texts_.size()),
                              .size = static_cast<uint32_t>(text.size())});
    owner_.texts_.append(text);
  }

  bool Literal(JsonToken::Kind kind, size_t size) {
    Add(kind, "");
    at_ += size;
    return true;
  }

  bool Text(JsonToken::Kind kind, const char* text, rapidjson::SizeType size) {
    Add(kind, {text, size});
    at_ = stream_start_ + stream_.Tell();
    return true;
  }

  bool Open(JsonToken::Kind kind) {
    if (too_deep()) return false;
    Add(kind, "");
    ++at_;
    open_.push_back(owner_.tokens_.size() - 1);
    return true;
  }

  bool Close() {
    Add(JsonToken::Kind::kEnd, "");
    ++at_;
    owner_.tokens_[open_.back()].begin = static_cast<uint32_t>(owner_.tokens_.size() - 1);
    open_.pop_back();
    return true;
  }

  JsonTokens& owner_;
  const rapidjson::MemoryStream& stream_;
  size_t stream_start_;
  size_t at_;
  std::vector<size_t> open_;  // indexes of tokens
};

JsonTokens::JsonTokens(std::string_view text, int first_line) : text_(text), first_line_(first_line) {
  if (text_.starts_with("\xEF\xBB\xBF")) position_ = 3;
}

absl::Status JsonTokens::ReadValue() {
  if (text_.size() > kMaxTextBytes)
    return InvalidArgument("JSON text has ", text_.size(), " bytes, the limit is ", kMaxTextBytes);
  if (size_t nul = text_.find('\0', position_); nul != text_.npos) return ErrorAt(nul, "a NUL byte");
  tokens_.clear();
  texts_.clear();
  rapidjson::MemoryStream stream(text_.data() + position_, text_.size() - position_);
  Handler handler(this, stream, position_);
  rapidjson::Reader reader;
  constexpr unsigned kFlags = rapidjson::kParseIterativeFlag | rapidjson::kParseNumbersAsStringsFlag |
                              rapidjson::kParseValidateEncodingFlag | rapidjson::kParseStopWhenDoneFlag;
  rapidjson::ParseResult result = reader.Parse<kFlags>(stream, handler);
  if (!result.IsError()) {
    position_ = handler.at();
    return absl::OkStatus();
  }
  size_t offset = position_ + std::min(result.Offset(), text_.size() - position_);
  if (result.Code() == rapidjson::kParseErrorTermination && handler.too_deep()) {
    return ErrorAt(offset, StrCat("nested deeper than ", kMaxNesting, " levels"));
  }
  // RapidJSON has no error of its own for these.
  bool control = result.Code() == rapidjson::kParseErrorStringEscapeInvalid && offset < text_.size() &&
                 static_cast<unsigned char>(text_[offset]) < 0x20;
  if (control) return SyntaxError(offset, "a control character in a string (write \\n, \\t, \\u0001 and so on)");
  return SyntaxError(offset, Expected(result.Code()));
}

bool JsonTokens::AtEnd() {
  while (position_ < text_.size() && IsSpace(text_[position_])) ++position_;
  return position_ == text_.size();
}

std::string JsonTokens::Place(size_t offset) const {
  std::string_view before = text_.substr(0, offset);
  size_t line_start = before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1;
  // Columns count characters, not bytes.
  std::string_view in_line = before.substr(line_start);
  auto column = 1 + std::count_if(in_line.begin(), in_line.end(), [](char c) { return (c & 0xC0) != 0x80; });
  auto line = first_line_ + std::count(before.begin(), before.end(), '\n');
  bool one_line = first_line_ == 1 && text_.find_first_of('\n') >= text_.find_last_not_of(" \t\r\n");
  return one_line ? StrCat("column ", column) : StrCat("line ", line, " column ", column);
}

absl::Status JsonTokens::ErrorAt(size_t offset, std::string_view message) const {
  return InvalidArgument(Place(offset), ": ", message);
}

absl::Status JsonTokens::SyntaxError(size_t offset, std::string_view expected) const {
  // RapidJSON may point into a word (nul); the whole word says more.
  size_t start = offset;
  while (start > 0 && offset - start < 20 && start - 1 < text_.size() && IsWordByte(text_[start - 1])) --start;
  if (start > 0 && text_[start - 1] == '-') --start;
  size_t end = start;
  if (end < text_.size() && text_[end] == '-') ++end;
  while (end < text_.size() && end - start < 20 && IsWordByte(text_[end])) ++end;
  std::string_view word = text_.substr(start, end - start);
  for (const Hint& hint : kHints) {
    if (hint.word == word) {
      return InvalidArgument("not JSON at ", Place(start), ": ", word, " (write ", hint.instead, ")");
    }
  }
  if (offset >= text_.size())
    return InvalidArgument("not JSON at ", Place(offset), ": ", expected, ", the text ends here");
  if (text_[offset] == '\'') {
    return InvalidArgument("not JSON at ", Place(offset), ": ' (write strings and names in double quotes)");
  }
  return InvalidArgument("not JSON at ", Place(offset), ": ", expected);
}

}  // namespace terrane::document
