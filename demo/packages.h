// The machine's own Debian package index as documents: real data of real irregularity.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace terrane::demo {

// Runs `apt-cache dumpavail` and gives each record to `sink` as a BSON document: _id is "name=version:architecture",
// every field of the record under its own name in lower case, sizes as numbers, dependencies as arrays. Returns how
// many there were. kFailedPrecondition if there are none (run `apt-get update`). A status of `sink` ends it and is
// returned.
absl::StatusOr<int64_t> ReadPackageIndex(const std::function<absl::Status(std::string document)>& sink);

}  // namespace terrane::demo
