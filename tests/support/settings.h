// Cluster-wide settings, set through a proxy.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace terrane::test {

// Tries again while the cluster is unavailable, for up to 30 s.
absl::Status SetSetting(const std::string& proxy, const std::string& name, const std::string& value);

}  // namespace terrane::test
