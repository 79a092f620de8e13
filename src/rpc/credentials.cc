#include "rpc/credentials.h"

#include "common/status.h"

namespace terrane::rpc {

bool IsLoopback(std::string_view address) {
  if (address.starts_with("unix:") || address.starts_with("[::1]:")) return true;
  const std::string_view host = address.substr(0, address.rfind(':'));
  if (host == "localhost") return true;
  if (!host.starts_with("127.")) return false;
  return host.find_first_not_of("0123456789.") == std::string_view::npos;
}

absl::Status CheckListenAddress(std::string_view address, const TlsFiles& tls, bool insecure) {
  if (address.find(':') == std::string_view::npos) {
    return InvalidArgument("listen address '", address, "' has no port; write host:port, for example 127.0.0.1:0");
  }
  if (!tls.empty() && (tls.certificate.empty() || tls.key.empty())) {
    return InvalidArgument("TLS needs both a certificate and its key");
  }
  if (tls.empty() && !insecure && !IsLoopback(address)) {
    return InvalidArgument("listening on ", address,
                           " would put unencrypted data on the network; configure TLS, or say --insecure");
  }
  return absl::OkStatus();
}

}  // namespace terrane::rpc
