// The metadata state as what a replicated log drives: applies committed commands, tells who listens, keeps a snapshot.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>

#include "common/clock.h"
#include "metadata/state.h"
#include "metadata/watch_hub.h"
#include "replication/state_machine.h"

namespace terrane::metadata {

// Told on the apply thread; must not block. Set before the log is opened.
class StateListener {
 public:
  virtual ~StateListener() = default;
  // Commands took effect; `applied` is in the order of the log.
  virtual void OnApplied(const std::vector<Applied>& applied) = 0;
  virtual void OnLeaderStart(Term term) = 0;
  virtual void OnLeaderStop(Term term) = 0;
};

// Reading is thread-safe; the methods of StateMachine are for the apply thread.
class MetadataStateMachine : public replication::StateMachine {
 public:
  // Reads the snapshot in `directory`, which is made if missing.
  // kDataLoss: it is damaged, or the state in it breaks an invariant. kFailedPrecondition: of a newer version.
  static absl::StatusOr<std::unique_ptr<MetadataStateMachine>> Open(std::filesystem::path directory);

  void SetListener(StateListener* listener) { listener_ = listener; }

  // ---- reading what is applied here: committed, perhaps not the newest; any thread ----
  // fn(const State&); short.
  template <typename Fn>
  auto Read(Fn fn) const {
    std::shared_lock lock(mutex_);
    return fn(state_);
  }
  // Waits until fn(const State&) is true. False: not before `deadline`, or Interrupt was called.
  bool WaitUntil(MonotonicTime deadline, const std::function<bool(const State&)>& fn) const;
  // Ends all waits, now and later.
  void Interrupt();

  // Routes behind revision `from`, as WatchHub::Subscribe; then who leads the shards now.
  std::unique_ptr<WatchHub::Subscription> Subscribe(Revision from, std::function<void()> wake);
  // To those who listen now: a change that belongs to no revision. The decorator has the last word on its shards.
  void PublishVolatile(v1::WatchEvent event);
  // Adds to routes, and to every event, what is not replicated (a shard's leader). Set before the log is opened.
  void SetDecorator(std::function<void(v1::WatchEvent*)> decorate) { decorate_ = std::move(decorate); }
  v1::WatchEvent Routes() const;

  // ---- replication::StateMachine ----
  Position AppliedPosition() override { return applied_; }
  absl::Status Apply(std::span<const replication::CommittedEntry> batch,
                     std::span<replication::ApplyResult> results) override;
  absl::StatusOr<Position> MakeDurable() override;
  absl::Status TakeCheckpoint(const std::filesystem::path& directory) override;
  absl::Status InstallCheckpoint(const std::filesystem::path& directory) override;
  void OnLeaderStart(Term term) override;
  void OnLeaderStop(Term term) override;

 private:
  explicit MetadataStateMachine(std::filesystem::path directory) : directory_(std::move(directory)) {}

  const std::filesystem::path directory_;
  StateListener* listener_ = nullptr;
  std::function<void(v1::WatchEvent*)> decorate_;
  WatchHub hub_;
  mutable std::shared_mutex mutex_;
  mutable std::condition_variable_any changed_;
  State state_;               // guarded by mutex_; written by the apply thread only
  bool interrupted_ = false;  // guarded by mutex_
  Position applied_;          // apply thread
};

}  // namespace terrane::metadata
