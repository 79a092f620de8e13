// Two-hop echo: a front that passes calls on to a back, each a process of its own, as proxy and shard are.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace terrane::bench {

// Main of the back: serves until standard input ends. Prints its endpoint. Appends to `file` for calls that want a
// sync; those that wait share one write and one fdatasync, each of which takes at least `sync_delay`.
int RunEchoBack(const std::string& file, std::chrono::milliseconds sync_delay);
// Main of the front.
int RunEchoFront(const std::string& back);

// Both processes of a two-hop echo; ends them when it goes.
class EchoPair {
 public:
  static absl::StatusOr<std::unique_ptr<EchoPair>> Start(const std::string& directory,
                                                         std::chrono::milliseconds sync_delay);
  virtual ~EchoPair() = default;
  virtual const std::string& endpoint() const = 0;  // of the front
};

// One client of an echo; not thread-safe.
class EchoClient {
 public:
  static std::unique_ptr<EchoClient> Connect(const std::string& endpoint);
  virtual ~EchoClient() = default;
  virtual absl::Status Call(const std::string& payload, bool sync) = 0;
};

}  // namespace terrane::bench
