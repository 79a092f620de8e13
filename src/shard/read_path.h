// Reads: one document, a page of a scan, a count.
//
// The order of a read: reference on the copy and ownership check, lease check, snapshot, answer. The reference comes
// first, or a read that was paused wakes up to a dropped copy (trap T34); the lease after the ownership, or a leader
// that was deposed serves an old value after the switch (trap T03).
#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shard/core.h"
#include "storage/read_view.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::shard {

// Thread-safe. Call on a worker: reads block on the disk. Request and response live until `done` is called, which may
// be inside of the call.
class ReadPath {
 public:
  explicit ReadPath(const Core* core) : core_(core) {}

  void Get(const CallState& call, const terrane::v1::ShardGetRequest* request, terrane::v1::ShardGetResponse* response,
           DoneCallback done);
  void Scan(const CallState& call, const terrane::v1::ShardScanRequest* request,
            terrane::v1::ShardScanResponse* response, DoneCallback done);
  void Count(const CallState& call, const terrane::v1::ShardCountRequest* request,
             terrane::v1::ShardCountResponse* response, DoneCallback done);

 private:
  using View = std::shared_ptr<const storage::ReadView>;

  // A view of the copy in which `range` is owned and linearizable. `then` is called here, or on a worker.
  absl::Status MayRead(const terrane::v1::ReadOptions& read) const;
  void Begin(const CallState& call, const terrane::v1::Route* route, KeyRange range,
             const terrane::v1::ReadOptions& read, std::function<void(absl::StatusOr<View>)> then);
  void Look(const CallState& call, const terrane::v1::Route* route, KeyRange range,
            const terrane::v1::ReadOptions& read, std::function<void(absl::StatusOr<View>)> then);

  absl::Status ReadOne(const View& view, const terrane::v1::ShardGetRequest& request,
                       terrane::v1::ShardGetResponse* response);
  absl::Status ScanPage(const CallState& call, const View& view, const KeyRange& range,
                        const terrane::v1::ShardScanRequest& request, terrane::v1::ShardScanResponse* response);
  absl::Status CountPage(const CallState& call, const View& view, const KeyRange& range,
                         const terrane::v1::ShardCountRequest& request, terrane::v1::ShardCountResponse* response);

  const Core* const core_;
};

}  // namespace terrane::shard
