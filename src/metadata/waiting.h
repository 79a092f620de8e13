// One answer from another thread, waited for with a deadline.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

#include "common/clock.h"

namespace terrane::metadata {

// Copies share the answer, so that whoever answers late finds something to write to. Thread-safe.
template <typename T>
class Waiting {
 public:
  void Set(T value) const {
    std::lock_guard lock(shared_->mutex);
    shared_->value = std::move(value);
    shared_->ready.notify_all();
  }
  // nullopt: not before the deadline.
  std::optional<T> Wait(MonotonicTime deadline) const {
    std::unique_lock lock(shared_->mutex);
    shared_->ready.wait_for(lock, deadline - Clock::System()->Now(), [this] { return shared_->value.has_value(); });
    return shared_->value;
  }

 private:
  struct Shared {
    std::mutex mutex;
    std::condition_variable ready;
    std::optional<T> value;
  };
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

}  // namespace terrane::metadata
