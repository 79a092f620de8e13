// What a run of the demonstration found, for people and as demo-report.json.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace terrane::demo {

struct Percentiles {
  double p50 = 0;
  double p99 = 0;
  double max = 0;
};

struct Report {
  int64_t documents = 0;
  int64_t moves = 0;
  int64_t acknowledged_writes = 0;
  int64_t reads = 0;
  int64_t lost = 0;
  int64_t duplicated = 0;
  int64_t wrong = 0;  // found by the recount, or read by a client
  int64_t client_errors = 0;
  Percentiles write_pause_ms;  // over moves: the longest write that a probe on the moving chunk saw
  Percentiles read_pause_ms;
  Percentiles switch_write_ms;  // over moves: from F to the commit, as the coordinator measured it
  double copy_mb_per_s = 0;
  Percentiles idle_ms;           // foreground, reads and writes together, without a move
  Percentiles moving_ms;         // and with one
  int64_t digests_compared = 0;  // inside a fence, equal
  int64_t attempts_ended = 0;    // fences that were given up
  int64_t retries = 0;           // what the clients, or the proxy for them, sent again or held
  int64_t check_findings = 0;
  double wall_seconds = 0;
  std::string commit;
  std::vector<std::string> examples;  // of what went wrong

  // Nothing was lost, duplicated, wrong or seen as an error.
  bool Good() const { return lost == 0 && duplicated == 0 && wrong == 0 && client_errors == 0 && check_findings == 0; }
};

std::string ToJson(const Report& report);
std::string ForPeople(const Report& report);
// Writes demo-report.json.
absl::Status WriteReport(const Report& report, const std::string& path);

}  // namespace terrane::demo
