// Internal: JSON text as a flat list of tokens with their places, by RapidJSON.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace terrane::document {

struct JsonToken {
  enum class Kind : uint8_t { kNull, kTrue, kFalse, kNumber, kString, kName, kObject, kArray, kEnd };
  Kind kind;
  uint32_t offset;  // of its first byte in the text
  uint32_t begin;   // kNumber, kString, kName: its text; kObject, kArray: the index of its kEnd
  uint32_t size;
};

// A text that holds one JSON value or several.
class JsonTokens {
 public:
  // `text` must outlive this. Lines are counted from `first_line`.
  JsonTokens(std::string_view text, int first_line);

  // Reads the next value; its first token is first(). kInvalidArgument if it is no JSON or nested too deeply. Uses a
  // fixed amount of stack.
  absl::Status ReadValue();
  // Whether only white space is left.
  bool AtEnd();

  const std::vector<JsonToken>& tokens() const { return tokens_; }
  std::string_view TextOf(const JsonToken& token) const {
    return std::string_view(texts_).substr(token.begin, token.size);
  }

  // "column 7: message", with the line in front if the text has several.
  absl::Status ErrorAt(size_t offset, std::string_view message) const;
  // At the place where reading stands.
  absl::Status ErrorHere(std::string_view message) const { return ErrorAt(position_, message); }

 private:
  class Handler;
  absl::Status SyntaxError(size_t offset, std::string_view expected) const;
  std::string Place(size_t offset) const;

  std::string_view text_;
  int first_line_;
  size_t position_ = 0;
  std::vector<JsonToken> tokens_;
  std::string texts_;
};

}  // namespace terrane::document
