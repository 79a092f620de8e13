// Keeps a RouteTable up to date: a Watch stream that is taken up again wherever the metadata leader is, and refreshes
// on demand. While the metadata service is away the table stays as it is and keeps the proxy working.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/timer.h"
#include "routing/route_table.h"
#include "rpc/leader_client.h"

namespace terrane::proxy {

// Thread-safe.
class MetadataWatcher {
 public:
  // Starts two threads. `client`, `table` and `timer` must outlive it.
  MetadataWatcher(rpc::LeaderClient* client, routing::RouteTable* table, Timer* timer);
  // Stops.
  ~MetadataWatcher();

  // Calls then(status) when the table is at least as new as the metadata service was at this call; so it never joins a
  // refresh that is under way, but all who come meanwhile share the next (trap T35). On an error the table is as it
  // was; kDeadlineExceeded: at `deadline` there was no answer yet. Exactly once, on a thread of the watcher or of the
  // timer: must not block.
  void Refresh(MonotonicTime deadline, std::function<void(absl::Status)> then);
  // The same, unless one is waiting or running.
  void RefreshIfIdle();

  // Answers all waiting refreshes with CANCELLED. Idempotent.
  void Stop();

 private:
  // Queues it for the next refresh.
  void Enqueue(std::function<void(absl::Status)> then);
  void WatchLoop();
  // One stream until it breaks.
  absl::Status WatchOnce(const std::string& endpoint);
  void RefreshLoop();
  absl::Status RefreshOnce();
  bool Pause(std::chrono::nanoseconds pause);

  rpc::LeaderClient* const client_;
  routing::RouteTable* const table_;
  Timer* const timer_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  bool refreshing_ = false;
  std::vector<std::function<void(absl::Status)>> waiting_;
  grpc::ClientContext* watch_context_ = nullptr;
  std::string watched_;  // endpoint of the stream
  std::thread watch_thread_;
  std::thread refresh_thread_;
};

}  // namespace terrane::proxy
