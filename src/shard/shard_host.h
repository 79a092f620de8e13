// One replica of a shard without its network: store, applier, log and the paths of reads and writes, wired together.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/executor.h"
#include "replication/replicated_log.h"
#include "shard/core.h"
#include "shard/read_path.h"
#include "shard/write_path.h"
#include "storage/store.h"

namespace terrane::shard {

// Thread-safe once the log is open.
class ShardHost {
 public:
  struct Options {
    std::string shard;
    storage::StoreOptions store;
    Clock* clock = Clock::System();
    int workers = 4;
    std::chrono::milliseconds retry_lifetime{std::chrono::minutes(30)};
    std::function<std::string()> leader_endpoint;  // for NOT_LEADER; may be null
    std::function<void(Term)> on_serving;          // on the apply thread; may be null
    std::function<void(Term)> on_leader_stop;      // the same
    // Applier::Options; may be null. Must not block any more when Stop is called.
    std::function<absl::Status(CopyId, std::span<const storage::SegmentFile>)> provide_files;
  };

  // Opens the store and loads the state. Errors as storage::Store::Open.
  static absl::StatusOr<std::unique_ptr<ShardHost>> Open(Options options);
  ~ShardHost();

  // Opens the log; from then on this replica may lead and serve. Until then requests are answered NOT_LEADER. Errors as
  // ReplicatedLog::Open.
  absl::Status OpenLog(replication::ReplicatedLog::Options options);

  // No request is served and no callback runs after the return; what waits is answered. Blocks; idempotent.
  void Stop();

  const Core& core() const { return core_; }
  Core* mutable_core() { return &core_; }  // before OpenLog
  ReadPath& reads() { return *reads_; }
  WritePath& writes() { return *writes_; }
  storage::Store& store() { return *store_; }
  Applier& applier() { return *applier_; }
  Proposer& proposer() { return *proposer_; }

 private:
  explicit ShardHost(Options options);

  const Options options_;
  HybridClock hybrid_;
  OperationCounts counts_;
  std::unique_ptr<storage::Store> store_;
  std::unique_ptr<Applier> applier_;
  std::unique_ptr<Proposer> proposer_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<Latches> latches_;
  EarlyWrites early_writes_;
  Core core_;
  std::unique_ptr<ReadPath> reads_;
  std::unique_ptr<WritePath> writes_;
  std::unique_ptr<replication::ReplicatedLog> log_;  // last in, first out: it calls all of the above
};

}  // namespace terrane::shard
