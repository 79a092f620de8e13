#include "packages.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <memory>
#include <unordered_set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/status.h"
#include "document/builder.h"

namespace terrane::demo {
namespace {

using Record = std::vector<std::pair<std::string, std::string>>;  // fields in their order

bool IsList(const std::string& name) {
  static const std::unordered_set<std::string> lists = {"depends",   "pre-depends", "recommends", "suggests",
                                                        "conflicts", "replaces",    "provides",   "breaks",
                                                        "enhances",  "tag"};
  return lists.contains(name);
}

bool IsSize(const std::string& name) {
  return name == "size" || name == "installed-size";
}

std::string Field(const Record& record, const std::string& name) {
  const auto it = std::find_if(record.begin(), record.end(), [&](const auto& field) { return field.first == name; });
  return it == record.end() ? "" : it->second;
}

std::string ToDocument(const Record& record, const std::string& id) {
  document::Builder builder;
  builder.Append("_id", id);
  for (const auto& [name, value] : record) {
    int64_t number = 0;
    if (IsSize(name) && absl::SimpleAtoi(value, &number)) {
      builder.Append(name, number);
    } else if (IsList(name)) {
      document::ArrayBuilder list;
      for (absl::string_view item : absl::StrSplit(value, ',')) {
        list.Add(std::string(absl::StripAsciiWhitespace(item)));
      }
      builder.Append(name, list);
    } else {
      builder.Append(name, value);
    }
  }
  return builder.Finish();
}

}  // namespace

absl::StatusOr<int64_t> ReadPackageIndex(const std::function<absl::Status(std::string)>& sink) {
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen("apt-cache dumpavail 2>/dev/null", "r"), pclose);
  if (pipe == nullptr) return FailedPrecondition("apt-cache cannot be started");
  char* line = nullptr;
  size_t capacity = 0;
  Record record;
  std::unordered_set<std::string> seen;
  absl::Status status;
  const auto finish = [&] {
    if (record.empty()) return;
    // A version may stand in several suites; one document each.
    const std::string id =
        StrCat(Field(record, "package"), "=", Field(record, "version"), ":", Field(record, "architecture"));
    if (seen.insert(id).second) status = sink(ToDocument(record, id));
    record.clear();
  };
  ssize_t length;
  while (status.ok() && (length = getline(&line, &capacity, pipe.get())) >= 0) {
    std::string text(line, static_cast<size_t>(length));
    while (!text.empty() && text.back() == '\n') text.pop_back();
    if (text.empty()) {
      finish();
    } else if (text[0] == ' ' || text[0] == '\t') {
      if (!record.empty()) record.back().second += "\n" + text;
    } else if (const size_t colon = text.find(':'); colon != std::string::npos) {
      std::string name = absl::AsciiStrToLower(text.substr(0, colon));
      record.emplace_back(std::move(name), std::string(absl::StripAsciiWhitespace(text.substr(colon + 1))));
    }
  }
  free(line);
  if (status.ok()) finish();
  TERRANE_RETURN_IF_ERROR(status);
  if (seen.empty()) return FailedPrecondition("the package index is empty: run apt-get update");
  return static_cast<int64_t>(seen.size());
}

}  // namespace terrane::demo
