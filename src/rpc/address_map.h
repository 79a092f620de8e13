// Where this process connects to when it is told an address: behind a tunnel, or with a test's bad network in between,
// that is another one. What it tells others stays as it is. TLS expects the certificate of the address that was told.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace terrane::rpc {

// Each entry is FROM=TO, both host:port. To be called before the first channel is made; not thread-safe.
// kInvalidArgument: an entry is not of that form, or names an address twice.
absl::Status SetAddressMap(const std::vector<std::string>& entries);

// FROM becomes TO; others stay.
std::string MappedAddress(std::string_view address);

}  // namespace terrane::rpc
