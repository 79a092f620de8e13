// Internal: the type wrappers of extended JSON, {"$oid": ".."} and so on.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "document/json_tokens.h"
#include "document/value.h"

namespace terrane::document {

// An object's names and the indexes of its values' first tokens.
struct JsonMember {
  std::string_view name;
  size_t name_token;
  size_t value;
};
std::vector<JsonMember> MembersOf(const JsonTokens& json, size_t object);

// Whether an object whose first name this is stands for a value of another type.
bool IsWrapperName(std::string_view name);

// The value that the wrapper object stands for, for all but {$code, $scope}, whose scope holds values of any kind.
// kInvalidArgument at the place of what is wrong.
absl::StatusOr<Value> ReadWrapper(const JsonTokens& json, size_t object);

}  // namespace terrane::document
