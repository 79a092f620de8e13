// How the coordinator and the metadata service reach shards. An interface, so that tests and the simulator bring their
// own; the real one is rpc_shard_gateway.h.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "migration/steps.h"

namespace terrane::migration {

// Thread-safe; calls return at once. `done` is called exactly once, on any thread, never from inside of the call.
//   kUnavailable       the shard was not reached, does not lead, or is not ready: ask again
//   kDeadlineExceeded  no answer in time: it may have happened, or happen later
//   others             the shard's refusal
class ShardGateway {
 public:
  virtual ~ShardGateway() = default;

  // One RPC of v1::ShardMove to the leader of `shard`. The alternative of the answer is that of the request.
  virtual void Send(const std::string& shard, const StepRequest& request, std::chrono::milliseconds timeout,
                    std::function<void(absl::StatusOr<StepAnswer>)> done) = 0;

  // ShardAdmin.Describe at the leader of `shard`.
  virtual void Describe(const std::string& shard, std::chrono::milliseconds timeout,
                        std::function<void(absl::StatusOr<v1::DescribeResponse>)> done) = 0;
  // ShardAdmin.Audit at the leader of `shard`: reads the whole range.
  virtual void Audit(const std::string& shard, const v1::AuditRequest& request, std::chrono::milliseconds timeout,
                     std::function<void(absl::StatusOr<v1::AuditResponse>)> done) = 0;

  // Calls end soon with kCancelled, those under way and later ones. Where they end by themselves nothing needs to be
  // done.
  virtual void Cancel() {}
};

}  // namespace terrane::migration
