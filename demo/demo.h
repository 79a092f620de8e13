// The main job, from an empty directory to a report.
#pragma once

#include <atomic>
#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "report.h"

namespace terrane::demo {

struct DemoOptions {
  bool quick = false;               // 50,000 orders instead of 1,000,000, and only a part of the package index
  std::string plant;                // "", "lost", "duplicated", "stale"
  std::filesystem::path directory;  // of the cluster; emptied at the end unless `keep`
  bool keep = false;
  int clients = 4;
  uint64_t seed = 1;
  std::filesystem::path programs;  // terrane-shard, terrane-plant ...
  std::filesystem::path source;    // recount.py and proto/
};

// Everything that it starts has ended when it returns. kCancelled after `cancelled` was set.
absl::StatusOr<Report> RunDemo(const DemoOptions& options, const std::atomic<bool>& cancelled);

}  // namespace terrane::demo
