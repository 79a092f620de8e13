// Live traffic: clients that insert, update, raise counters, delete and read, and check every answer against what they
// know.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "client/client.h"
#include "journal.h"
#include "latency.h"

namespace terrane::demo {

struct TrafficOptions {
  std::string proxy;
  std::string collection;
  std::string journal_directory;
  int clients = 4;
  int64_t generated = 0;  // orders that are there already, _id 0 ..
  uint64_t seed = 1;
};

// Where latencies go at the moment.
struct LatencySink {
  Latencies reads;
  Latencies writes;
};

// What went wrong as a client sees it; all zero at the end of a good demo, but for the retries.
struct TrafficProblems {
  std::atomic<int64_t> errors{0};       // statuses that the library handed up
  std::atomic<int64_t> wrong_reads{0};  // answers that contradict an acknowledged write
  std::atomic<int64_t> retries{0};      // no problem: what was sent again, so that no client had one
  void Error(const std::string& text) { Note(&errors, text); }
  void WrongRead(const std::string& text) { Note(&wrong_reads, text); }
  std::vector<std::string> Examples() const;

 private:
  void Note(std::atomic<int64_t>* counter, const std::string& text);
  mutable std::mutex mutex_;
  std::vector<std::string> examples_;  // the first ten
};

// Number of shared counters, and the _id (= customer) of one.
inline constexpr int kCounters = 64;
std::string CounterName(int counter);

class Traffic {
 public:
  Traffic(TrafficOptions options, TrafficProblems* problems);
  ~Traffic();  // stops

  // Inserts the counters. Once, before Start.
  absl::Status Prepare();
  void Start(LatencySink* sink);
  // From now on latencies of all clients go there.
  void SetSink(LatencySink* sink) { sink_.store(sink); }
  // Ends all clients and closes their journals.
  absl::Status Stop();

  int64_t reads() const { return reads_.load(); }
  int64_t writes() const { return writes_.load(); }

 private:
  class ClientLoop;

  TrafficOptions options_;
  TrafficProblems* const problems_;
  std::atomic<bool> stop_{false};
  std::atomic<LatencySink*> sink_{nullptr};
  std::atomic<int64_t> reads_{0};
  std::atomic<int64_t> writes_{0};
  std::vector<std::unique_ptr<ClientLoop>> loops_;
  std::vector<std::thread> threads_;
};

}  // namespace terrane::demo
