// Ports of 127.0.0.1 for processes that keep theirs over restarts.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/random.h"

namespace terrane::tools {

// `n` different ports on which nobody listens now, outside of the range from which the kernel serves outgoing
// connections: else any client could take the port of a process that is just being restarted.
absl::StatusOr<std::vector<uint16_t>> ChooseFreePorts(size_t n, Random& random);

}  // namespace terrane::tools
