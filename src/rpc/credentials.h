// Who may listen and how links are protected. Loopback needs nothing; any other address needs TLS, or a flag that says
// that its absence is meant.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace terrane::rpc {

// Paths of PEM files.
struct TlsFiles {
  std::string certificate;  // own chain; servers need it, clients may have one
  std::string key;
  std::string ca;  // whom to trust. On a server: if set, clients must show a certificate that it signed
  bool empty() const { return certificate.empty() && key.empty() && ca.empty(); }
};

// "127.0.0.1:7000", "localhost:0", "[::1]:7000", "unix:/path".
bool IsLoopback(std::string_view address);

// OK if a process may listen on the address. kInvalidArgument, saying what to do, if not.
absl::Status CheckListenAddress(std::string_view address, const TlsFiles& tls, bool insecure);

}  // namespace terrane::rpc
