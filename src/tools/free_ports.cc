#include "tools/free_ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "common/status.h"

namespace terrane::tools {
namespace {

constexpr int kLowest = 10'000;

// First port of the kernel's own range.
int EphemeralLow() {
  std::ifstream in("/proc/sys/net/ipv4/ip_local_port_range");
  int low = 32'768;
  in >> low;
  return low;
}

bool IsFree(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const int on = 1;  // as servers do: what lingers of an ended connection is no obstacle
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool free = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && listen(fd, 1) == 0;
  close(fd);
  return free;
}

}  // namespace

absl::StatusOr<std::vector<uint16_t>> ChooseFreePorts(size_t n, Random& random) {
  int low = kLowest, high = EphemeralLow() - 1;
  if (high - low < 1000) {  // the kernel takes (almost) everything: share with it
    low = kLowest;
    high = 65'000;
  }
  std::vector<uint16_t> ports;
  for (int tries = 0; tries < 10'000 && ports.size() < n; ++tries) {
    const auto port = static_cast<uint16_t>(random.Between(low, high));
    if (std::find(ports.begin(), ports.end(), port) == ports.end() && IsFree(port)) ports.push_back(port);
  }
  if (ports.size() < n) return Unavailable("no ", n, " free ports between ", low, " and ", high, " on 127.0.0.1");
  return ports;
}

}  // namespace terrane::tools
