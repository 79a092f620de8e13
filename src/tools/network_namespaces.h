// A network for one local cluster, made of what the kernel has: each process in a network namespace of its own, all of
// them cabled to one switch, and so is the caller.
//
//   caller's namespace                terrane-3f9a1c-switch                terrane-3f9a1c-s1-a, ...-m1, ...-p1
//     tn3f9a1c 198.18.7.1  --------  caller    bridge    s1-a  --------  eth0 198.18.7.2
//                                                        m1    --------  eth0 198.18.7.3
//
// The bridge is not in the caller's namespace, so no firewall rules of the machine hold between the processes (Docker
// drops what is bridged), and nothing but one interface is seen there. No route leads out of it. `ip` (iproute2) does
// the work; what it says when it fails is part of the error.
//
// Nothing of this outlives a boot. Names in the file system of iproute2 (/var/run/netns) keep it until Remove.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/random.h"

namespace terrane::tools {

// The routes that overlap must not be: `routes` is what `ip -4 route show table all` prints. Routes for almost
// everything (shorter than /8) do not count. "198.18.7.0/24": of the networks for tests of networks (RFC 2544), which
// nobody reaches by a default route; if they are taken, of 10.0.0.0/8. kResourceExhausted: all are.
absl::StatusOr<std::string> ChooseSubnet(std::string_view routes, Random& random);
// The first line of `routes` that overlaps with the subnet; empty: none.
std::string OverlappingRoute(std::string_view routes, std::string_view subnet);
// An address of a /24 at which none of `endpoints` (host:port) is. The first, .1, is the caller's.
// kResourceExhausted: all are.
absl::StatusOr<std::string> FreeAddress(std::string_view subnet, const std::vector<std::string>& endpoints);

class NetworkNamespaces {
 public:
  // OK if this process may make such networks: it has made one and removed it again. kFailedPrecondition: what is
  // missing. Blocks for some 50 ms.
  static absl::Status Permitted();
  // A /24 that no present route covers.
  static absl::StatusOr<std::string> ChooseFreeSubnet();

  // `name` tells it from networks of other clusters: at most 6 letters or digits. Processes have at most 15.
  NetworkNamespaces(std::string name, std::string subnet) : name_(std::move(name)), subnet_(std::move(subnet)) {}

  // Makes what is missing of the network and of the namespaces of these processes (name -> address). What is there is
  // left as it is, a pulled cable too. kFailedPrecondition: what is missing, or who has the subnet by now; there may be
  // half a network then, which Remove removes and the next Make completes.
  absl::Status Make(const std::map<std::string, std::string>& processes) const;
  // Removes everything that bears the name. No effect if there is nothing. Processes that are still in it lose their
  // connections.
  absl::Status Remove() const;
  // The same for one process.
  absl::Status RemoveProcess(const std::string& process) const;
  // Pulls the cable of a process: nothing passes, nobody is told. Or plugs it in again.
  absl::Status SetCable(const std::string& process, bool plugged) const;

  // "terrane-3f9a1c-s1-a", as in `ip netns exec`; the part behind the last name may be empty.
  std::string NamespaceOf(std::string_view process) const;
  // What to open for setns().
  std::filesystem::path PathOf(std::string_view process) const;
  // The caller's interface: "tn3f9a1c".
  std::string CallersLink() const;

 private:
  absl::Status MakeSwitch() const;
  absl::Status MakeProcess(const std::string& process, const std::string& address) const;

  const std::string name_;
  const std::string subnet_;
};

}  // namespace terrane::tools
