// Closed-loop load: n clients, each sends its next call when the last one is answered.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"

namespace terrane::bench {

struct LoadResult {
  double calls_per_second = 0;
  double p50_ms = 0;
  double p99_ms = 0;
  double max_ms = 0;
  int64_t calls = 0;
};

// One call of client `number`; `sequence` counts its calls from 0.
using LoadCall = std::function<absl::Status(int number, int64_t sequence)>;

// Runs `clients` threads for `warm_up` without and then for `length` with counting. The first error ends it.
absl::StatusOr<LoadResult> RunLoad(int clients, std::chrono::milliseconds warm_up, std::chrono::milliseconds length,
                                   const LoadCall& call);

}  // namespace terrane::bench
