// Writes: leader -> ownership gate -> latch -> read, filter, compute the after-image -> propose -> applied -> answer.
//
// A write of one document is one worker's task and one callback of the log; no thread waits in between. Retries are
// answered from the record of the first time (`repeated`). What matched nothing leaves no entry.
#pragma once

#include "shard/core.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::shard {

// Thread-safe. Call on a worker: writes read from the disk. Request and response live until `done` is called, on any
// thread, perhaps inside of the call.
//
// Errors besides those of the gate: kInvalidArgument with BAD_FILTER, BAD_UPDATE, SHARD_KEY_CHANGED;
// kResourceExhausted with DISK_RESERVE; kUnavailable with OUTCOME_UNKNOWN (may have been applied).
class WritePath {
 public:
  explicit WritePath(const Core* core) : core_(core) {}

  void Insert(CallState call, const terrane::v1::ShardInsertRequest* request,
              terrane::v1::ShardInsertResponse* response, DoneCallback done);
  void Modify(CallState call, const terrane::v1::ShardModifyRequest* request,
              terrane::v1::ShardModifyResponse* response, DoneCallback done);
  void ModifyMany(CallState call, const terrane::v1::ShardModifyManyRequest* request,
                  terrane::v1::ShardModifyManyResponse* response, DoneCallback done);

 private:
  const Core* const core_;
};

}  // namespace terrane::shard
