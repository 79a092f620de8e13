#include "support/fault_network.h"

#include "common/status.h"

namespace terrane::testing {

absl::StatusOr<std::unique_ptr<FaultNetwork>> FaultNetwork::Start(uint64_t seed) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<FaultProxy> proxy, FaultProxy::Start(seed));
  return std::unique_ptr<FaultNetwork>(new FaultNetwork(std::move(proxy)));
}

std::string FaultNetwork::Route(std::string_view from, std::string_view to, const std::string& endpoint) {
  std::lock_guard lock(mutex_);
  const Pair pair(from, to);
  auto it = links_.find(pair);
  if (it == links_.end()) {
    const auto link = proxy_->AddLink(endpoint);
    if (!link.ok()) return "127.0.0.1:1";  // no more sockets: nobody is there
    it = links_.emplace(pair, *link).first;
  }
  return proxy_->Endpoint(it->second);
}

template <typename Fn>
void FaultNetwork::ForEach(std::string_view a, std::string_view b, Fn fn) const {
  if (auto it = links_.find(Pair(a, b)); it != links_.end()) fn(it->second, true);
  if (auto it = links_.find(Pair(b, a)); it != links_.end()) fn(it->second, false);
}

void FaultNetwork::SetDirection(std::string_view from, std::string_view to, const DirectionFaults& direction) {
  std::lock_guard lock(mutex_);
  ForEach(from, to, [&](FaultProxy::LinkId link, bool there) {
    LinkFaults faults = proxy_->Faults(link);
    (there ? faults.there : faults.back) = direction;
    proxy_->SetFaults(link, faults);
  });
}

void FaultNetwork::Isolate(std::string_view name, const std::set<std::string>& others) {
  for (const std::string& other : others) {
    Block(name, other);
    Block(other, name);
  }
}

void FaultNetwork::Cut(std::string_view a, std::string_view b) {
  std::lock_guard lock(mutex_);
  ForEach(a, b, [&](FaultProxy::LinkId link, bool) { proxy_->Cut(link); });
}

void FaultNetwork::SetConnections(std::string_view a, std::string_view b, const LinkFaults& connections) {
  std::lock_guard lock(mutex_);
  ForEach(a, b, [&](FaultProxy::LinkId link, bool) {
    LinkFaults faults = proxy_->Faults(link);
    faults.refuse = connections.refuse;
    faults.half_open = connections.half_open;
    faults.mean_life = connections.mean_life;
    proxy_->SetFaults(link, faults);
  });
}

void FaultNetwork::Heal() {
  std::lock_guard lock(mutex_);
  for (const auto& [pair, link] : links_) proxy_->SetFaults(link, {});
}

int64_t FaultNetwork::Passed(std::string_view from, std::string_view to) const {
  std::lock_guard lock(mutex_);
  int64_t bytes = 0;
  ForEach(from, to, [&](FaultProxy::LinkId link, bool there) {
    const LinkCounts counts = proxy_->Counts(link);
    bytes += there ? counts.bytes_there : counts.bytes_back;
  });
  return bytes;
}

}  // namespace terrane::testing
