// Calls to a replicated service with several endpoints, of which only the leader answers (terrane-meta): follows
// NOT_LEADER hints, tries the others, pauses with jitter, gives up at the deadline. Includes gRPC: for .cc files.
//
//   absl::Status status = client.Call(deadline, [&](auto& channel, grpc::ClientContext* context) {
//     return v1::Metadata::NewStub(channel)->GetRoutes(context, request, &response);
//   });
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <functional>
#include <mutex>

#include "rpc/channel.h"
#include "rpc/leader_tracker.h"
#include "rpc/retry_policy.h"
#include "rpc/unary.h"

namespace terrane::rpc {

// Thread-safe. Blocks its callers: not for callbacks.
class LeaderClient {
 public:
  // `pool` must outlive it. `service` as in "the metadata service at host:port: no answer in time".
  LeaderClient(ChannelPool* pool, std::vector<std::string> endpoints, std::string service = "the metadata service")
      : pool_(pool), service_(std::move(service)), tracker_(std::move(endpoints)) {}

  using Attempt = std::function<grpc::Status(const std::shared_ptr<grpc::Channel>&, grpc::ClientContext*)>;

  // Repeats `attempt` while it fails with UNAVAILABLE, or does not answer within `attempt_timeout`; so it must be safe
  // to repeat (reads, or requests that bear an id). One that is not `repeatable` goes out again only where nothing was
  // done: after NOT_LEADER, and for some seconds when there was nobody to connect to. Every attempt gets a context with
  // its deadline. Other errors are returned at once; after the deadline the last error is.
  absl::Status Call(MonotonicTime deadline, const Attempt& attempt,
                    std::chrono::milliseconds attempt_timeout = std::chrono::seconds(1), bool repeatable = true);

  // Call returns soon, now and from now on: with an answer that is there; else with UNAVAILABLE, and OUTCOME_UNKNOWN if
  // something was sent that may have been done.
  void Cancel();

  LeaderTracker& tracker() { return tracker_; }
  ChannelPool* pool() { return pool_; }

 private:
  // False: cancelled.
  bool Pause(std::chrono::nanoseconds pause);

  ChannelPool* const pool_;
  const std::string service_;
  LeaderTracker tracker_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool cancelled_ = false;
  std::vector<grpc::ClientContext*> running_;
};

}  // namespace terrane::rpc
