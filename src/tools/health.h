// The standard health check (grpc.health.v1.Health) from the client's side.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/status.h"

namespace terrane::tools {

// OK if the process at `endpoint` answers SERVING for itself as a whole within the limit. Blocks. kUnavailable: nobody
// listens, or it answers NOT_SERVING; kDeadlineExceeded: it is silent (paused, half-open).
absl::Status CheckHealth(const std::string& endpoint, std::chrono::milliseconds limit);

}  // namespace terrane::tools
