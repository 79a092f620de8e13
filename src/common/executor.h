// A pool of worker threads behind one bounded queue: where work goes that must not run in a callback.
//
//   Executor executor("proxy", 4);
//   if (!executor.Post([..] { .. })) { /* overloaded or stopping */ }
//
// Thread-safe, but for Stop, which must not be called by a worker. Tasks start in the order of their posts.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace terrane {

class Executor {
 public:
  using Task = std::function<void()>;

  // `name` shows in the names of the threads (at most 10 characters of it).
  explicit Executor(std::string name, int threads, size_t max_queued = 65536);
  // Stops.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Never blocks. False if the queue is full or the pool is stopping: `task` will not run.
  [[nodiscard]] bool Post(Task task);

  // Runs what is queued, joins the threads; no Post succeeds from its beginning on. Blocks; idempotent.
  void Stop();

  size_t queued() const;

 private:
  void Work();

  const size_t max_queued_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace terrane
