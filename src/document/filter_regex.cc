// Regular expressions of filters, by RE2.
#include <re2/re2.h>

#include "common/status.h"
#include "document/filter_node.h"

namespace terrane::document {

absl::StatusOr<std::unique_ptr<FilterNode>> MakeRegexNode(std::string_view path, std::string_view pattern,
                                                          std::string_view options) {
  std::string flags;
  for (char option : options) {
    switch (option) {
      case 'i':
      case 'm':
      case 's':
        flags.push_back(option);
        break;
      case 'u':
        break;  // UTF-8 is what we do
      default:
        return InvalidArgument("field '", path, "': regular expression option '", std::string(1, option),
                               "' is not supported (i, m, s are)");
    }
  }
  RE2::Options re2_options;
  re2_options.set_log_errors(false);
  std::string text = flags.empty() ? std::string(pattern) : StrCat("(?", flags, ")", pattern);
  auto regex = std::make_shared<const RE2>(re2::StringPiece(text.data(), text.size()), re2_options);
  if (!regex->ok()) {
    return InvalidArgument("field '", path, "': regular expression /", pattern, "/ is not supported: ", regex->error());
  }
  auto node = std::make_unique<FilterNode>();
  node->kind = FilterNode::Kind::kRegex;
  node->path = std::string(path);
  node->values.push_back(Value::Regex(pattern, options));
  node->regex = std::move(regex);
  return node;
}

bool RegexMatches(const FilterNode& node, ValueView value) {
  if (value.type() == Type::kRegex) return Equal(value, node.values[0]);
  if (value.type() != Type::kString && value.type() != Type::kSymbol) return false;
  std::string_view text = value.AsString();
  return RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *node.regex);
}

}  // namespace terrane::document
