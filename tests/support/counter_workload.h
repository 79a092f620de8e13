// Traffic with an invariant: counters that only ever grow by acknowledged increments, each exactly once.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "client/client.h"

namespace terrane::test {

struct CounterOptions {
  std::string proxy;
  std::string collection;  // made by Start with shard key {_id: "hashed"} and `chunks` chunks
  int chunks = 2;
  int counters = 200;
  int ballast = 2'000;  // more documents, so that a move has something to copy
  int clients = 4;
  // For each call. Long enough to bridge the restart of a process, so that no outcome stays unknown.
  std::chrono::milliseconds deadline{30'000};
};

// Clients raise random counters and read them back: a read never shows less than what was acknowledged before it began.
class CounterWorkload {
 public:
  // Creates and fills the collection and starts the clients.
  static absl::StatusOr<std::unique_ptr<CounterWorkload>> Start(CounterOptions options);
  ~CounterWorkload();

  int64_t acknowledged() const { return acknowledged_.load(); }
  // Blocks until `more` further increments were acknowledged. kDeadlineExceeded after a minute.
  absl::Status AwaitProgress(int64_t more);
  // Ends the clients, then reads every document: an error names the first violation (a call that failed, a counter that
  // is not the sum of its acknowledged increments, a document that is missing or there twice).
  absl::Status StopAndVerify();

 private:
  explicit CounterWorkload(CounterOptions options);
  absl::Status Fill();
  void Run(int number, client::Client* client);
  void Violation(const std::string& text);
  std::string Name(int64_t n) const;

  const CounterOptions options_;
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> acknowledged_{0};
  std::vector<std::atomic<int64_t>> sums_;  // by counter
  std::mutex mutex_;                        // guards violation_
  absl::Status violation_;
  std::vector<std::unique_ptr<client::Client>> clients_;
  std::vector<std::thread> threads_;
};

}  // namespace terrane::test
