#include "document/validate.h"

#include <algorithm>
#include <string>
#include <vector>

#include "common/status.h"
#include "document/bytes.h"
#include "document/limits.h"
#include "document/utf8.h"
#include "document/value.h"

namespace terrane::document {
namespace {

// A document or array that the walk is inside of.
struct Level {
  std::string_view rest;  // the elements that are still to come
  std::string_view name;  // of the field that holds it
  bool is_array;
  size_t next_index = 0;
};

class Walk {
 public:
  absl::Status Run(std::string_view bson) {
    TERRANE_RETURN_IF_ERROR(Enter(bson, "", false));
    while (!levels_.empty()) {
      if (levels_.back().rest.empty()) {
        levels_.pop_back();
      } else {
        TERRANE_RETURN_IF_ERROR(Element());
      }
    }
    return absl::OkStatus();
  }

 private:
  template <typename... Args>
  absl::Status Fail(std::string_view name, Args&&... args) const {
    std::string path;
    for (size_t i = 1; i < levels_.size(); ++i) StrAppend(&path, levels_[i].name, ".");
    StrAppend(&path, name);
    constexpr size_t kShown = 200;
    if (path.size() > kShown) path = StrCat(path.substr(0, kShown), "...");
    // Names that are no UTF-8 must not get into a message that travels as text.
    if (!IsUtf8(path)) path = "(a name that is not UTF-8)";
    return InvalidArgument(path.empty() && levels_.size() <= 1 ? "document: " : StrCat("field '", path, "': "),
                           std::forward<Args>(args)...);
  }

  // The container's own bytes: length, content, NUL.
  absl::Status Enter(std::string_view bytes, std::string_view name, bool is_array) {
    if (levels_.size() >= kMaxNesting) return Fail(name, "nested deeper than ", kMaxNesting, " levels");
    if (bytes.size() < 5 || LoadLittle<uint32_t>(bytes) != bytes.size()) {
      return Fail(name, "length ", LoadLittle<uint32_t>(bytes), " does not agree with its ", bytes.size(), " bytes");
    }
    if (bytes.back() != '\0') return Fail(name, "does not end with a NUL byte");
    levels_.push_back({.rest = bytes.substr(4, bytes.size() - 5), .name = name, .is_array = is_array});
    return absl::OkStatus();
  }

  absl::Status Element() {
    Level& level = levels_.back();
    size_t name_end = level.rest.find('\0', 1);
    if (name_end == level.rest.npos) return Fail("", "a field name has no end");
    uint8_t type_byte = static_cast<uint8_t>(level.rest[0]);
    Type type = static_cast<Type>(type_byte);
    std::string_view name = level.rest.substr(1, name_end - 1);
    if (!IsUtf8(name)) return Fail(name, "the name is not UTF-8");
    if (TypeName(type) == "unknown") return Fail(name, "unknown BSON type ", static_cast<int>(type_byte));
    std::string_view after = level.rest.substr(name_end + 1);
    std::optional<size_t> size = ValueSize(type, after);
    if (!size) return Fail(name, TypeName(type), " does not fit into the ", after.size(), " bytes that are left");
    if (level.is_array && name != std::to_string(level.next_index++)) {
      return Fail(name, "array keys must be 0, 1, 2, ..., expected ", level.next_index - 1);
    }
    level.rest = after.substr(*size);
    return Content(name, ValueView(type, after.substr(0, *size)));
  }

  // `level` references are gone after Enter(): this is the last step for an element.
  absl::Status Content(std::string_view name, ValueView value) {
    std::string_view bytes = value.bytes();
    switch (value.type()) {
      case Type::kString:
      case Type::kSymbol:
      case Type::kCode:
        return Text(name, value.type(), bytes);
      case Type::kDbPointer:
        return Text(name, value.type(), bytes.substr(0, bytes.size() - 12));
      case Type::kBool:
        if (bytes[0] != 0 && bytes[0] != 1) return Fail(name, "bool is neither 0 nor 1");
        return absl::OkStatus();
      case Type::kBinary:
        if (value.BinarySubtype() == 2 && (bytes.size() < 9 || LoadLittle<uint32_t>(bytes, 5) != bytes.size() - 9)) {
          return Fail(name, "binData of subtype 2 has a wrong inner length");
        }
        return absl::OkStatus();
      case Type::kRegex:
        if (!IsUtf8(bytes)) return Fail(name, "regex is not UTF-8");
        return absl::OkStatus();
      case Type::kDocument:
      case Type::kArray:
        return Enter(bytes, name, value.type() == Type::kArray);
      case Type::kCodeWithScope: {
        size_t text_size = LoadLittle<uint32_t>(bytes, 4);
        if (text_size < 1 || text_size > bytes.size() - 8 - 5) return Fail(name, "code does not fit into its value");
        TERRANE_RETURN_IF_ERROR(Text(name, value.type(), bytes.substr(4, 4 + text_size)));
        return Enter(bytes.substr(8 + text_size), name, false);
      }
      default:
        return absl::OkStatus();
    }
  }

  // Length, text, NUL; the length is known to fit.
  absl::Status Text(std::string_view name, Type type, std::string_view bytes) {
    if (bytes.back() != '\0') return Fail(name, TypeName(type), " does not end with a NUL byte");
    if (!IsUtf8(bytes.substr(4))) return Fail(name, TypeName(type), " is not UTF-8");
    return absl::OkStatus();
  }

  std::vector<Level> levels_;
};

absl::Status CheckNames(std::string_view bson) {
  std::vector<std::string_view> names;
  for (const Field& field : Fields(bson)) names.push_back(field.name);
  std::sort(names.begin(), names.end());
  auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) return InvalidArgument("field '", *twice, "' appears twice");
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateStructure(std::string_view bson) {
  if (bson.size() > kMaxDocumentBytes) {
    return InvalidArgument("document has ", bson.size(), " bytes, the limit is ", kMaxDocumentBytes);
  }
  return Walk().Run(bson);
}

absl::Status ValidateDocument(std::string_view bson) {
  TERRANE_RETURN_IF_ERROR(ValidateStructure(bson));
  TERRANE_RETURN_IF_ERROR(CheckNames(bson));
  std::optional<ValueView> id = FindDirect(bson, "_id");
  if (id && (id->type() == Type::kArray || id->type() == Type::kRegex || id->type() == Type::kUndefined)) {
    return InvalidArgument("field '_id': must not be of type ", TypeName(id->type()));
  }
  return absl::OkStatus();
}

}  // namespace terrane::document
