#include "table.h"

#include <cstdio>
#include <fstream>

#include "absl/strings/str_format.h"
#include "common/status.h"
#include "common/version.h"
#include "document/builder.h"
#include "document/extended_json.h"

namespace terrane::bench {

void Table::Add(Row row) {
  std::string line = absl::StrFormat("%-34s %-26s %12.2f %-9s", row.section, row.what, row.value, row.unit);
  if (row.limit && *row.limit != 0) {
    absl::StrAppendFormat(&line, "  %.2f x %s (%.2f)", row.value / *row.limit, row.limit_name, *row.limit);
  }
  if (!row.note.empty()) StrAppend(&line, "  ", row.note);
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
  rows_.push_back(std::move(row));
}

absl::Status Table::WriteJson(const std::string& path) const {
  document::ArrayBuilder rows;
  for (const Row& row : rows_) {
    document::Builder builder;
    builder.Append("section", row.section).Append("what", row.what).Append("value", row.value).Append("unit", row.unit);
    if (row.limit) {
      builder.Append("limit", *row.limit).Append("limit_name", row.limit_name);
      if (*row.limit != 0) builder.Append("ratio", row.value / *row.limit);
    }
    if (!row.note.empty()) builder.Append("note", row.note);
    rows.Add(builder);
  }
  std::ofstream file(path, std::ios::trunc);
  file << document::ToRelaxedJson(document::Builder().Append("commit", GitCommit()).Append("rows", rows).Finish())
       << "\n";
  file.close();
  return file ? absl::OkStatus() : DataLoss("writing ", path, " failed");
}

}  // namespace terrane::bench
