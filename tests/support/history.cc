#include "support/history.h"

#include "absl/strings/str_join.h"
#include "common/strings.h"

namespace terrane::testing {
namespace {

// The ends of a long list: where they differ matters.
std::string ListText(const std::vector<int64_t>& list) {
  constexpr size_t kEnds = 4;
  if (list.size() <= 2 * kEnds + 1) return StrCat("[", absl::StrJoin(list, " "), "]");
  const auto middle = static_cast<std::ptrdiff_t>(kEnds);
  return StrCat("[", absl::StrJoin(list.begin(), list.begin() + middle, " "), " .. ",
                absl::StrJoin(list.end() - middle, list.end(), " "), "] (", list.size(), " elements)");
}

}  // namespace

std::string_view ModelName(Model model) {
  switch (model) {
    case Model::kRegister:
      return "register";
    case Model::kCounter:
      return "counter";
    case Model::kList:
      return "list";
  }
  return "unknown";
}

std::string Describe(const Operation& operation, Model model) {
  switch (operation.type) {
    case Operation::Type::kRead:
      return model == Model::kList ? StrCat("read -> ", ListText(operation.list)) : StrCat("read -> ", operation.value);
    case Operation::Type::kWrite:
      return StrCat("write ", operation.value);
    case Operation::Type::kCompareAndSet:
      return StrCat("compare ", operation.expected, " and set ", operation.value,
                    operation.unknown() ? "" : (operation.applied ? " -> done" : " -> it was another"));
    case Operation::Type::kAdd:
      return StrCat("add ", operation.value);
    case Operation::Type::kPush:
      return StrCat("push ", operation.value);
  }
  return "";
}

}  // namespace terrane::testing
