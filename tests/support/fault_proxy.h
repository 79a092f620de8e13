// A bad network in user space: TCP links on 127.0.0.1 that stand between two processes and delay, slow down, hold up or
// cut what passes, in each direction on its own. Works where the kernel's traffic control is not there.
//
//   auto proxy = FaultProxy::Start();
//   auto link = (*proxy)->AddLink("127.0.0.1:4711");    // tell the caller (*proxy)->Endpoint(*link) instead
//   (*proxy)->SetFaults(*link, {.there = {.delay = 50ms}, .back = {.frozen = true}});
//   (*proxy)->SetFaults(*link, {});                     // heal
//
// Thread-safe; nothing blocks. A change holds for every byte that passes after the call has returned, also of
// connections that are there already.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "common/random.h"
#include "support/fault_pipe.h"

namespace terrane::testing {

struct LinkFaults {
  DirectionFaults there;  // from who connects to the target
  DirectionFaults back;
  // New connections are refused by the kernel, as if nobody listened. Those that are there stay.
  bool refuse = false;
  // Connections, old and new ones, are there, but whatever is sent is lost, and so is the news that one side has ended:
  // the other machine is gone without a word. A connection that was so once is cut when the fault ends. (A network that
  // comes back in time is `frozen`: then all arrives late.)
  bool half_open = false;
  // Connections are cut after a random time with this mean. 0: never.
  std::chrono::milliseconds mean_life{0};
};

struct LinkCounts {
  int64_t accepted = 0;  // connections
  int64_t open = 0;
  int64_t cut = 0;  // by Cut, mean_life or the end of half_open
  int64_t bytes_there = 0;
  int64_t bytes_back = 0;
};

class FaultProxy {
 public:
  using LinkId = int;

  static absl::StatusOr<std::unique_ptr<FaultProxy>> Start(uint64_t seed = 1);
  ~FaultProxy();

  // `target` is host:port with an address in numbers; nobody needs to listen there yet.
  absl::StatusOr<LinkId> AddLink(const std::string& target);
  std::string Endpoint(LinkId link) const;
  void SetFaults(LinkId link, const LinkFaults& faults);
  LinkFaults Faults(LinkId link) const;
  // Ends its connections by a reset on both sides. New ones are welcome.
  void Cut(LinkId link);
  LinkCounts Counts(LinkId link) const;

 private:
  class Connection;
  struct Link;

  explicit FaultProxy(uint64_t seed);
  void Run();
  // With mutex_ held:
  void Accept(LinkId id, Link* link);
  void MoveBytes(MonotonicTime now);
  void Close(Link* link, int64_t connection, bool cut);
  int WaitMillis(MonotonicTime now) const;
  void Wake();

  mutable std::mutex mutex_;  // guards what follows, but for the two descriptors
  Random random_;
  std::map<LinkId, std::unique_ptr<Link>> links_;
  int64_t next_connection_ = 0;
  bool stopping_ = false;
  int epoll_ = -1;
  int wake_ = -1;
  std::thread thread_;
};

}  // namespace terrane::testing
