// Documents for tests, written as people write them.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "common/status.h"
#include "document/extended_json.h"
#include "document/value.h"

namespace terrane::document {

// The BSON of an extended JSON object; operators and doubled names are allowed.
inline std::string Doc(std::string_view json) {
  absl::StatusOr<std::string> doc = DocumentFromJson(json, JsonMode::kQuery);
  EXPECT_TRUE(doc.ok()) << json << ": " << doc.status();
  return doc.ok() ? *doc : std::string("\5\0\0\0\0", 5);
}

inline Value Val(std::string_view json) {
  absl::StatusOr<Value> value = ValueFromJson(json, JsonMode::kQuery);
  EXPECT_TRUE(value.ok()) << json << ": " << value.status();
  return value.ok() ? *value : Value();
}

// The message of the error in `result`; "OK" if there is none.
template <typename T>
std::string ErrorOf(const absl::StatusOr<T>& result) {
  return result.ok() ? "OK" : std::string(MessageOf(result.status()));
}
inline std::string ErrorOf(const absl::Status& status) {
  return status.ok() ? "OK" : std::string(MessageOf(status));
}

}  // namespace terrane::document
