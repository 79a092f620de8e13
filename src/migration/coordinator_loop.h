// The coordinator without its thread: takes up moves, looks at them, performs what NextStep says. Private to
// src/migration and the simulator.
//
// Not thread-safe: all calls come from one thread, or one event loop, which the host gives it. It reads the time from
// `clock` and reaches the rest of the world through its gateways, whose answers it has brought to it by the host.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/ids.h"
#include "common/timer.h"
#include "migration/metadata_gateway.h"
#include "migration/move_task.h"
#include "migration/shard_gateway.h"
#include "terrane/v1/cluster.pb.h"

namespace terrane::migration {

inline constexpr int kDefaultMovesPerShard = 4;

// Where the loop runs. `fn` is called on its thread, never inside of the call.
class LoopHost {
 public:
  virtual ~LoopHost() = default;
  // From any thread; dropped when the host is stopping.
  virtual void Post(std::function<void()> fn) = 0;
  virtual Timer::Id After(std::chrono::nanoseconds delay, std::function<void()> fn) = 0;
  virtual void Cancel(Timer::Id id) = 0;
};

// Always owned by a shared_ptr: it lives as long as a callback may refer to it. Everything is as in coordinator.h.
class CoordinatorLoop : public std::enable_shared_from_this<CoordinatorLoop> {
 public:
  // Clock and gateways outlive it.
  CoordinatorLoop(Clock* clock, MetadataGateway* metadata, ShardGateway* shards, std::shared_ptr<LoopHost> host)
      : clock_(clock), metadata_(metadata), shards_(shards), host_(std::move(host)) {}

  // On the loop's thread.
  void StartLeading(Term term);
  void StopLeading();
  void RecordsChanged(const std::vector<uint64_t>& ids);
  void SettingsChanged();

  // Thread-safe.
  std::optional<v1::MigrationProgress> Progress(MigrationId id) const;

  // Runs on the loop's thread, unless it is gone by then. From any thread.
  void Post(std::function<void(CoordinatorLoop&)> fn);

 private:
  void Reload();
  void LookAtAll();
  // Looks at the committed record and does what is next.
  void Look(uint64_t id);
  void Forget(uint64_t id, const std::optional<v1::Migration>& record);
  void AdmitMore();
  void Observe(MoveTask* task);
  void Admit(MoveTask* task);
  void Perform(uint64_t id, MoveTask* task, Plan plan);
  void OnAnswer(uint64_t id, uint64_t generation, StepKind kind, MonotonicTime sent, absl::StatusOr<StepAnswer> answer);
  void OnProposed(uint64_t id, uint64_t generation, Term term, MonotonicTime proposed,
                  const absl::StatusOr<v1::CommandResult>& result);

  Clock* const clock_;
  MetadataGateway* const metadata_;
  ShardGateway* const shards_;
  const std::shared_ptr<LoopHost> host_;

  // Of the loop's thread.
  bool leading_ = false;
  Term term_;
  uint64_t generations_ = 0;
  std::map<uint64_t, MoveTask> tasks_;
  std::optional<Milliseconds> last_commit_;
  MonotonicTime last_commit_at_{0};
  std::string pause_at_;
  int moves_per_shard_ = kDefaultMovesPerShard;

  mutable std::mutex progress_mutex_;
  std::map<uint64_t, v1::MigrationProgress> progress_;
};

}  // namespace terrane::migration
