// The gRPC face of status and check: terrane.v1.ShardAdmin.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "common/executor.h"
#include "shard/core.h"
#include "shard/statistics.h"
#include "terrane/v1/shard.pb.h"

namespace grpc {
class Service;
}

namespace terrane::shard {

// Hashes what is on disk and compares it with the running digest of the same moment: one view holds both. Also counts
// documents that lie under another key than their own. Blocks for a scan of the range; any replica.
//   kNotFound: the copy has no records that make up the range
absl::StatusOr<terrane::v1::AuditResponse> Audit(const Core& core, const CallState& call,
                                                 const terrane::v1::AuditRequest& request);

// Answered by every replica; audits and changes of the members, which may last, on `slow`, all else on `steps`. The
// arguments outlive the service.
// `exported`: what this replica has served to targets; may be null.
std::unique_ptr<grpc::Service> MakeAdminService(const Core* core, StatisticsCollector* statistics, Executor* steps,
                                                Executor* slow,
                                                std::function<terrane::v1::ExportCounters()> exported = nullptr);

}  // namespace terrane::shard
