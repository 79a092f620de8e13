#include "common/timer.h"

#include <pthread.h>

namespace terrane {

Timer::Timer() : thread_([this] { Run(); }) {
  pthread_setname_np(thread_.native_handle(), "timer");
}

Timer::~Timer() {
  Stop();
}

Timer::Id Timer::After(std::chrono::nanoseconds delay, std::function<void()> fn) {
  std::unique_lock lock(mutex_);
  if (stopping_) {
    lock.unlock();
    fn();
    return 0;
  }
  const Id id = next_++;
  const auto due =
      std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(delay);
  const bool earliest = waiting_.empty() || due < waiting_.begin()->first.first;
  waiting_.emplace(std::pair(due, id), std::move(fn));
  due_.emplace(id, due);
  if (earliest) wake_.notify_one();
  return id;
}

bool Timer::Cancel(Id id) {
  std::function<void()> released;  // destroyed without the lock
  std::lock_guard lock(mutex_);
  auto due = due_.find(id);
  if (due == due_.end()) return false;
  auto entry = waiting_.find({due->second, id});
  released = std::move(entry->second);
  waiting_.erase(entry);
  due_.erase(due);
  return true;
}

void Timer::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Timer::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (waiting_.empty()) {
      if (stopping_) return;
      wake_.wait(lock);
      continue;
    }
    const auto due = waiting_.begin()->first.first;
    if (!stopping_ && std::chrono::steady_clock::now() < due) {
      wake_.wait_until(lock, due);
      continue;
    }
    auto entry = waiting_.extract(waiting_.begin());
    due_.erase(entry.key().second);
    lock.unlock();
    entry.mapped()();
    entry.mapped() = nullptr;
    lock.lock();
  }
}

}  // namespace terrane
