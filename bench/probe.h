// A client that does one operation after the other, to see the longest one: what a pause looks like from outside.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <thread>

#include "absl/status/status.h"

namespace terrane::bench {

// The longest operation of one client between two calls of Take.
class Probe {
 public:
  using Operation = std::function<absl::Status(int64_t sequence)>;
  explicit Probe(Operation operation) : thread_([this, operation] { Run(operation); }) {}
  ~Probe() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  // Microseconds; begins anew.
  int64_t Take() { return longest_.exchange(0); }
  int64_t operations() const { return operations_.load(); }
  absl::Status status() const {
    std::lock_guard lock(mutex_);
    return status_;
  }

 private:
  void Run(const Operation& operation) {
    for (int64_t sequence = 0; !stop_; ++sequence) {
      const auto start = std::chrono::steady_clock::now();
      const absl::Status status = operation(sequence);
      const int64_t took =
          std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start).count();
      ++operations_;
      int64_t seen = longest_.load();
      while (took > seen && !longest_.compare_exchange_weak(seen, took)) {
      }
      if (!status.ok()) {
        std::lock_guard lock(mutex_);
        status_.Update(status);
        return;
      }
    }
  }
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> longest_{0};
  std::atomic<int64_t> operations_{0};
  mutable std::mutex mutex_;
  absl::Status status_;
  std::thread thread_;
};

}  // namespace terrane::bench
