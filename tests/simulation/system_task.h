// Work of one process that blocks: the body runs on a fiber, and what it waits for wakes it.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "common/status.h"
#include "simulation/system_fiber.h"
#include "simulation/system_world.h"

namespace terrane::simulation {

// Always owned by a shared_ptr. Stop() before it goes.
class BlockingTask : public std::enable_shared_from_this<BlockingTask> {
 public:
  explicit BlockingTask(Process* process) : process_(*process) {}
  virtual ~BlockingTask() = default;

  // Begins with the next event.
  void Begin() {
    fiber_.emplace([this] { Body(); });
    Wake();
  }
  bool ended() const { return !fiber_ || fiber_->ended(); }
  bool stopping() const { return stopping_; }
  // Whatever it waits for fails, now and in future; it ends before the return. Not from inside.
  void Stop() {
    stopping_ = true;
    while (!ended()) fiber_->Resume();
    fiber_.reset();
  }
  // Ends soon; also from inside.
  void BeginStop() {
    stopping_ = true;
    Wake();
  }

 protected:
  virtual void Body() = 0;

  Process& process() { return process_; }

  // What it waits for may have come.
  void Wake() {
    if (wake_scheduled_) return;
    wake_scheduled_ = true;
    process_.After(Time(0), [self = weak_from_this()] {
      auto task = self.lock();
      if (task == nullptr) return;
      task->wake_scheduled_ = false;
      if (!task->ended()) task->fiber_->Resume();
    });
  }
  std::function<void()> Waker() {
    return [self = weak_from_this()] {
      if (auto task = self.lock()) task->Wake();
    };
  }

  // From inside: until `ready`, the time is over, or it is to stop; what `ready` says then.
  bool Await(const std::function<bool()>& ready, Time timeout) {
    const Time end = process_.world().now() + timeout;
    bool timer = false;
    while (!ready()) {
      if (stopping_ || process_.world().now() >= end) return false;
      if (!std::exchange(timer, true)) process_.After(timeout, Waker());
      Fiber::Suspend();
    }
    return true;
  }

  // From inside: starts something whose answer comes as an event, and waits for it.
  template <typename R>
  absl::StatusOr<R> AwaitAnswer(const std::function<void(std::function<void(absl::StatusOr<R>)>)>& start,
                                Time timeout) {
    if (stopping_) return MakeStatus(absl::StatusCode::kCancelled, "stopping");
    auto answer = std::make_shared<std::optional<absl::StatusOr<R>>>();
    start([answer, wake = Waker()](absl::StatusOr<R> result) {
      *answer = std::move(result);
      wake();
    });
    if (!Await([answer] { return answer->has_value(); }, timeout)) {
      if (stopping_) return MakeStatus(absl::StatusCode::kCancelled, "stopping");
      return absl::DeadlineExceededError("no answer in time");
    }
    return **answer;
  }

 private:
  Process& process_;
  std::optional<Fiber> fiber_;
  bool stopping_ = false;
  bool wake_scheduled_ = false;
};

}  // namespace terrane::simulation
