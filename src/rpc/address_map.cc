#include "rpc/address_map.h"

#include <map>

#include "common/status.h"

namespace terrane::rpc {
namespace {

std::map<std::string, std::string, std::less<>>& Map() {
  static auto& map = *new std::map<std::string, std::string, std::less<>>();
  return map;
}

}  // namespace

absl::Status SetAddressMap(const std::vector<std::string>& entries) {
  std::map<std::string, std::string, std::less<>> map;
  for (const std::string& entry : entries) {
    const size_t equals = entry.find('=');
    const std::string from = entry.substr(0, equals);
    const std::string to = equals == std::string::npos ? "" : entry.substr(equals + 1);
    if (from.find(':') == std::string::npos || to.find(':') == std::string::npos) {
      return InvalidArgument("\"", entry, "\" is not of the form host:port=host:port");
    }
    if (!map.emplace(from, to).second) return InvalidArgument(from, " is named twice");
  }
  Map() = std::move(map);
  return absl::OkStatus();
}

std::string MappedAddress(std::string_view address) {
  const auto found = Map().find(address);
  return found == Map().end() ? std::string(address) : found->second;
}

}  // namespace terrane::rpc
