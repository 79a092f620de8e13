#include "tools/network_namespaces.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/process.h"
#include "common/status.h"
#include "tools/child_process.h"

namespace terrane::tools {
namespace {

namespace fs = std::filesystem;

constexpr char kNames[] = "/var/run/netns";  // of iproute2
constexpr char kSwitch[] = "switch";         // in place of a process's name
constexpr char kCaller[] = "caller";         // the port of the switch at which the caller is
constexpr uint32_t kCallerNumber = 1;        // the last byte of its address
constexpr int kShortestRoute = 8;
constexpr std::chrono::seconds kIpLimit{10};

struct Prefix {
  uint32_t address = 0;
  int bits = 32;

  bool Overlaps(const Prefix& other) const {
    const int common = std::min(bits, other.bits);
    return common == 0 || (address ^ other.address) >> (32 - common) == 0;
  }
};

// "10.0.0.0/8", "10.1.2.3".
std::optional<Prefix> ParsePrefix(std::string_view text) {
  Prefix prefix;
  const size_t slash = text.find('/');
  if (slash != std::string_view::npos) {
    if (!absl::SimpleAtoi(ToAbsl(text.substr(slash + 1)), &prefix.bits) || prefix.bits < 0 || prefix.bits > 32) {
      return std::nullopt;
    }
  }
  in_addr address = {};
  if (inet_pton(AF_INET, std::string(text.substr(0, slash)).c_str(), &address) != 1) return std::nullopt;
  prefix.address = ntohl(address.s_addr);
  return prefix;
}

std::string Dotted(uint32_t address) {
  return StrCat(address >> 24, ".", address >> 16 & 255, ".", address >> 8 & 255, ".", address & 255);
}

struct Route {
  Prefix prefix;
  std::string line;
};

std::vector<Route> ParseRoutes(std::string_view text) {
  std::vector<Route> routes;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(ToAbsl(text), '\n'))) {
    // A type may stand in front: "unreachable 10.0.0.0/8".
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipWhitespace());
    for (size_t i = 0; i < std::min<size_t>(2, words.size()); ++i) {
      const std::optional<Prefix> prefix = ParsePrefix(words[i]);
      if (!prefix) continue;
      if (prefix->bits >= kShortestRoute) routes.push_back({*prefix, std::string(absl::StripAsciiWhitespace(line))});
      break;
    }
  }
  return routes;
}

const Route* Overlapping(const std::vector<Route>& routes, const Prefix& prefix) {
  const auto it =
      std::find_if(routes.begin(), routes.end(), [&](const Route& route) { return route.prefix.Overlaps(prefix); });
  return it == routes.end() ? nullptr : &*it;
}

// The n-th address of a subnet.
uint32_t AddressIn(std::string_view subnet, uint32_t n) {
  return ParsePrefix(subnet).value_or(Prefix()).address + n;
}

// Made of the address: who gets an address again has the hardware address that others may still remember for it.
std::string HardwareAddress(uint32_t address) {
  return absl::StrFormat("02:00:%02x:%02x:%02x:%02x", address >> 24, address >> 16 & 255, address >> 8 & 255,
                         address & 255);
}

// Empty: there is none.
std::string FindIp() {
  const char* path = getenv("PATH");
  // The path of whoever is not root often lacks where it is.
  for (const std::string& directory : std::vector<std::string>(
           absl::StrSplit(StrCat(path == nullptr ? "" : path, ":/usr/sbin:/sbin:/usr/bin:/bin"), ':'))) {
    const std::string program = directory + "/ip";
    if (directory.starts_with('/') && access(program.c_str(), X_OK) == 0) return program;
  }
  return "";
}

absl::Status NeedsMet() {
  if (FindIp().empty()) {
    return FailedPrecondition(
        "network namespaces need the program ip, which is not there. Install it: apt-get install iproute2");
  }
  if (geteuid() != 0) return FailedPrecondition("network namespaces need root");
  return absl::OkStatus();
}

// Runs `ip ARGUMENTS...`; returns what it printed. It is in a session of its own: a Ctrl-C does not end it half-way.
absl::StatusOr<std::string> Ip(const std::vector<std::string>& arguments) {
  const int output = memfd_create("ip", MFD_CLOEXEC);
  if (output < 0) return absl::ErrnoToStatus(errno, "memfd_create");
  SpawnOptions options;
  options.arguments = {FindIp()};
  options.arguments.insert(options.arguments.end(), arguments.begin(), arguments.end());
  options.output = StrCat("/proc/self/fd/", output);
  options.working_directory = "/";
  const absl::StatusOr<ProcessId> process = Spawn(options);
  bool ended = false;
  if (process.ok()) {
    ended = WaitForEnd(*process, kIpLimit);
    if (!ended) {
      Signal(*process, SIGKILL);
      WaitForEnd(*process, kIpLimit);
    }
  }
  const absl::StatusOr<std::string> said = ReadWholeFile(options.output);
  close(output);
  TERRANE_RETURN_IF_ERROR(process.status());
  TERRANE_RETURN_IF_ERROR(said.status());
  if (ended && ExitCodeOf(*process) == 0) return *said;
  const std::string why = absl::StrJoin(absl::StrSplit(*said, '\n', absl::SkipWhitespace()), "; ");
  return FailedPrecondition("ip ", absl::StrJoin(arguments, " "), ": ",
                            !ended ? StrCat("still running after ", kIpLimit.count(), " s") : why);
}

absl::Status IpOnly(const std::vector<std::string>& arguments) {
  return Ip(arguments).status();
}

absl::StatusOr<std::string> Routes() {
  return Ip({"-4", "route", "show", "table", "all"});
}

}  // namespace

absl::StatusOr<std::string> ChooseSubnet(std::string_view routes, Random& random) {
  const std::vector<Route> taken = ParseRoutes(routes);
  for (const Prefix& range : {Prefix{198u << 24 | 18u << 16, 15}, Prefix{10u << 24, 8}}) {
    const uint32_t count = 1u << (24 - range.bits);
    const auto first = static_cast<uint32_t>(random.Below(count));
    for (uint32_t i = 0; i < count; ++i) {
      const Prefix candidate{range.address + ((first + i) % count << 8), 24};
      if (Overlapping(taken, candidate) == nullptr) return Dotted(candidate.address) + "/24";
    }
  }
  return MakeStatus(absl::StatusCode::kResourceExhausted,
                    "this machine has routes for all of 198.18.0.0/15 and 10.0.0.0/8: no network is left");
}

std::string OverlappingRoute(std::string_view routes, std::string_view subnet) {
  const std::vector<Route> taken = ParseRoutes(routes);
  const std::optional<Prefix> prefix = ParsePrefix(subnet);
  const Route* route = prefix ? Overlapping(taken, *prefix) : nullptr;
  return route == nullptr ? "" : route->line;
}

absl::StatusOr<std::string> FreeAddress(std::string_view subnet, const std::vector<std::string>& endpoints) {
  std::set<std::string> taken;
  for (const std::string& endpoint : endpoints) taken.insert(endpoint.substr(0, endpoint.rfind(':')));
  for (uint32_t n = kCallerNumber + 1; n < 255; ++n) {
    const std::string address = Dotted(AddressIn(subnet, n));
    if (!taken.contains(address)) return address;
  }
  return MakeStatus(absl::StatusCode::kResourceExhausted, "the network ", subnet,
                    " of the cluster has no address left: it has room for 253 processes");
}

absl::Status NetworkNamespaces::Permitted() {
  TERRANE_RETURN_IF_ERROR(NeedsMet());
  TERRANE_ASSIGN_OR_RETURN(const std::string subnet, ChooseFreeSubnet());
  const NetworkNamespaces trial(NewUniqueId().substr(0, 6), subnet);
  absl::Status status = trial.Make({{"trial", Dotted(AddressIn(subnet, 2))}});
  if (absl::Status removed = trial.Remove(); status.ok()) status = removed;
  return Annotate(status, "this machine permits no network namespaces");
}

absl::StatusOr<std::string> NetworkNamespaces::ChooseFreeSubnet() {
  TERRANE_RETURN_IF_ERROR(NeedsMet());
  TERRANE_ASSIGN_OR_RETURN(const std::string routes, Routes());
  Random random(Random::SystemSeed());
  return ChooseSubnet(routes, random);
}

std::string NetworkNamespaces::NamespaceOf(std::string_view process) const {
  return StrCat("terrane-", name_, "-", process);
}
fs::path NetworkNamespaces::PathOf(std::string_view process) const {
  return fs::path(kNames) / NamespaceOf(process);
}
std::string NetworkNamespaces::CallersLink() const {
  return "tn" + name_;
}

absl::Status NetworkNamespaces::Make(const std::map<std::string, std::string>& processes) const {
  TERRANE_RETURN_IF_ERROR(NeedsMet());
  // Being a port of the bridge comes last of all that is done for one, so a port is complete.
  std::set<std::string> complete;
  std::error_code error;
  if (fs::exists(PathOf(kSwitch), error)) {
    const absl::StatusOr<std::string> ports =
        Ip({"-n", NamespaceOf(kSwitch), "-o", "link", "show", "master", "bridge"});
    if (ports.ok()) {
      for (const std::string& line : std::vector<std::string>(absl::StrSplit(*ports, '\n', absl::SkipWhitespace()))) {
        // 3: s1-a@if2: <BROADCAST,...
        const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
        if (words.size() > 1) complete.insert(words[1].substr(0, words[1].find_first_of("@:")));
      }
    }
  }
  if (!complete.contains(kCaller)) {
    TERRANE_RETURN_IF_ERROR(Remove());
    complete.clear();
    TERRANE_RETURN_IF_ERROR(MakeSwitch());
  }
  for (const auto& [process, address] : processes) {
    if (complete.contains(process)) continue;
    TERRANE_RETURN_IF_ERROR(RemoveProcess(process));
    TERRANE_RETURN_IF_ERROR(MakeProcess(process, address));
  }
  return absl::OkStatus();
}

absl::Status NetworkNamespaces::MakeSwitch() const {
  TERRANE_ASSIGN_OR_RETURN(const std::string routes, Routes());
  if (const std::string route = OverlappingRoute(routes, subnet_); !route.empty()) {
    return FailedPrecondition("the network ", subnet_, " of the cluster is in use on this machine by now (", route,
                              "). Take that away first");
  }
  const std::string space = NamespaceOf(kSwitch), link = CallersLink();
  const uint32_t address = AddressIn(subnet_, kCallerNumber);
  TERRANE_RETURN_IF_ERROR(IpOnly({"netns", "add", space}));
  TERRANE_RETURN_IF_ERROR(IpOnly({"-n", space, "link", "add", "bridge", "up", "type", "bridge"}));
  TERRANE_RETURN_IF_ERROR(IpOnly({"link", "add", link, "up", "address", HardwareAddress(address), "type", "veth",
                                  "peer", "name", kCaller, "netns", space}));
  TERRANE_RETURN_IF_ERROR(IpOnly({"address", "add", Dotted(address) + "/24", "dev", link}));
  return IpOnly({"-n", space, "link", "set", kCaller, "master", "bridge", "up"});
}

absl::Status NetworkNamespaces::MakeProcess(const std::string& process, const std::string& address) const {
  const std::string space = NamespaceOf(process), switch_space = NamespaceOf(kSwitch);
  TERRANE_RETURN_IF_ERROR(IpOnly({"netns", "add", space}));
  TERRANE_RETURN_IF_ERROR(IpOnly({"-n", space, "link", "set", "lo", "up"}));
  TERRANE_RETURN_IF_ERROR(
      IpOnly({"-n", space, "link", "add", "eth0", "up", "address", HardwareAddress(AddressIn(address, 0)), "type",
              "veth", "peer", "name", process, "netns", switch_space}));
  TERRANE_RETURN_IF_ERROR(IpOnly({"-n", space, "address", "add", address + "/24", "dev", "eth0"}));
  return IpOnly({"-n", switch_space, "link", "set", process, "master", "bridge", "up"});
}

absl::Status NetworkNamespaces::RemoveProcess(const std::string& process) const {
  std::error_code error;
  if (!fs::exists(PathOf(process), error)) return absl::OkStatus();
  // Takes its peer with it, now; the end of a namespace takes its interfaces some time later.
  (void)Ip({"-n", NamespaceOf(process), "link", "delete", "eth0"});
  return IpOnly({"netns", "delete", NamespaceOf(process)});
}

absl::Status NetworkNamespaces::Remove() const {
  absl::Status status;
  if (if_nametoindex(CallersLink().c_str()) != 0) status = IpOnly({"link", "delete", CallersLink()});
  std::vector<std::string> spaces;
  std::error_code error;
  for (auto it = fs::directory_iterator(kNames, error); !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string space = it->path().filename().native();
    if (space.starts_with(NamespaceOf(""))) spaces.push_back(space);
  }
  for (const std::string& space : spaces) {
    if (absl::Status removed = IpOnly({"netns", "delete", space}); status.ok()) status = removed;
  }
  return status;
}

absl::Status NetworkNamespaces::SetCable(const std::string& process, bool plugged) const {
  TERRANE_RETURN_IF_ERROR(NeedsMet());
  return IpOnly({"-n", NamespaceOf(kSwitch), "link", "set", process, plugged ? "up" : "down"});
}

}  // namespace terrane::tools
