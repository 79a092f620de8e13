// The bench's results: rows with the limit that was measured in the same run, for people and as JSON.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace terrane::bench {

struct Row {
  std::string section;  // "point read, 16 clients"
  std::string what;     // "throughput"
  double value = 0;
  std::string unit;             // "calls/s"
  std::optional<double> limit;  // what the bare minimum did in this run
  std::string limit_name;       // "two-hop echo"
  std::string note;
};

class Table {
 public:
  // Adds and prints the row at once: a bench takes minutes.
  void Add(Row row);
  absl::Status WriteJson(const std::string& path) const;

 private:
  std::vector<Row> rows_;
};

}  // namespace terrane::bench
