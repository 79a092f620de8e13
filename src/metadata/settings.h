// The settings of the cluster that exist, and what they may be (docs/configuration.md). Pure.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace terrane::metadata {

// kInvalidArgument, naming what is wrong: no such setting (with those that there are), or a value that it can not have.
// An empty value takes the default again.
absl::Status CheckSetting(const std::string& name, const std::string& value);

}  // namespace terrane::metadata
