// A function that runs again and again on a thread of its own, until it is stopped.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace terrane::shard {

// Stop() waits for the run under way. Poke() makes the next run begin at once.
class Periodic {
 public:
  Periodic(std::chrono::milliseconds interval, std::function<void()> run)
      : interval_(interval), run_(std::move(run)), thread_([this] { Loop(); }) {}
  ~Periodic() { Stop(); }

  void Poke() {
    std::lock_guard lock(mutex_);
    poked_ = true;
    wake_.notify_all();
  }

  void Stop() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      wake_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
  }

 private:
  void Loop() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      poked_ = false;
      lock.unlock();
      run_();
      lock.lock();
      wake_.wait_for(lock, interval_, [this] { return stopping_ || poked_; });
    }
  }

  const std::chrono::milliseconds interval_;
  const std::function<void()> run_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  bool poked_ = false;
  std::thread thread_;
};

}  // namespace terrane::shard
