// A bad network between processes, by name: one link of a FaultProxy for each of them that connects to each other one.
// A direction is that of packets: what it does to those from A to B holds on the connections that A made and on those
// that B made.
//
// Thread-safe; nothing blocks.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "support/fault_proxy.h"

namespace terrane::testing {

class FaultNetwork {
 public:
  static absl::StatusOr<std::unique_ptr<FaultNetwork>> Start(uint64_t seed = 1);

  // Where `from` is to connect to, to reach `to`, which listens at `endpoint`.
  std::string Route(std::string_view from, std::string_view to, const std::string& endpoint);

  // Packets from one process to another. Both must have been named to Route in one direction at least.
  void SetDirection(std::string_view from, std::string_view to, const DirectionFaults& faults);
  // None pass for now.
  void Block(std::string_view from, std::string_view to) { SetDirection(from, to, {.frozen = true}); }
  // None pass in both directions between `name` and each of `others`.
  void Isolate(std::string_view name, const std::set<std::string>& others);
  // All connections between the two are reset. New ones are welcome.
  void Cut(std::string_view a, std::string_view b);
  // Connections between the two, in both directions: refuse, half_open, mean_life of `faults`.
  void SetConnections(std::string_view a, std::string_view b, const LinkFaults& faults);
  // No faults any more.
  void Heal();
  // All that has passed from one process to another, in bytes.
  int64_t Passed(std::string_view from, std::string_view to) const;

 private:
  using Pair = std::pair<std::string, std::string>;  // who connects, to whom

  explicit FaultNetwork(std::unique_ptr<FaultProxy> proxy) : proxy_(std::move(proxy)) {}
  // Calls fn(link, whether it goes from a to b) for the links between the two. With mutex_ held.
  template <typename Fn>
  void ForEach(std::string_view a, std::string_view b, Fn fn) const;

  const std::unique_ptr<FaultProxy> proxy_;
  mutable std::mutex mutex_;  // guards links_, and a change of faults
  std::map<Pair, FaultProxy::LinkId> links_;
};

}  // namespace terrane::testing
