// Traffic whose history is judged: several clients on few documents, registers, counters and lists mixed. Every
// operation is recorded with its invocation and return; what timed out counts as an unknown outcome.
//
//   auto workload = HistoryWorkload::Start({.proxies = ..., .collection = "test.histories"});
//   (*workload)->MarkFault("kill s1-a");  // ... kill it ...
//   auto result = (*workload)->Stop();    // an error: the cluster broke a promise; the message shows where
//   result->gaps                          // the longest time without any success, for each fault
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "client/client.h"
#include "support/history.h"

namespace terrane::testing {

struct HistoryOptions {
  std::vector<std::string> proxies;
  std::string collection;  // made by Start, with one chunk
  int registers = 2;
  int counters = 2;
  int lists = 2;
  int clients = 8;  // each uses all documents
  // More clients, through proxies of their own, which always give up soon: each second one only reads the registers,
  // the others also compare them with what was acknowledged last.
  int guests = 0;
  std::vector<std::string> guest_proxies;
  int64_t longest_list = 100;  // then another document takes its place
  std::chrono::milliseconds deadline{5'000};
  // One in so many operations gives up soon, so that a fault leaves unknown outcomes behind.
  uint64_t impatient = 10;
  std::chrono::milliseconds short_deadline{300};
};

// What a fault did to the clients.
struct Gap {
  std::string fault;
  std::chrono::milliseconds without_success{0};  // the longest time from its begin on, until the next one
  std::chrono::milliseconds without_write{0};    // the same of successful writes
  bool write_in_flight = false;                  // when it began
};

struct HistoryResult {
  std::vector<DocumentHistory> histories;
  std::vector<Gap> gaps;
  int64_t operations = 0;
  int64_t unknown = 0;         // of the operations: changes without an answer
  int64_t reads_given_up = 0;  // of the operations
  double seconds = 0;
  std::string Summary() const;  // for people: rates, and p50, p99 and maximum of the gaps and of the writes'
};

class HistoryWorkload {
 public:
  // Returns when the collection and its documents are there and all clients are on their way.
  static absl::StatusOr<std::unique_ptr<HistoryWorkload>> Start(HistoryOptions options);
  ~HistoryWorkload();

  // Changes that were acknowledged so far, of all clients.
  int64_t acknowledged_writes() const { return acknowledged_writes_; }
  // A fault begins now.
  void MarkFault(std::string name);
  // Blocks until `more` further operations have succeeded. kDeadlineExceeded: not within the limit; an error of the
  // workload: a client saw something that must not be.
  absl::Status AwaitProgress(int64_t more, std::chrono::milliseconds limit = std::chrono::seconds(30));

  // Ends the clients, reads every document once more (the cluster must serve by now) and judges the histories.
  // kDataLoss: a history is not linearizable; kResourceExhausted: not decided; else what a client could not explain.
  absl::StatusOr<HistoryResult> Stop();

 private:
  using Moment = std::chrono::steady_clock::time_point;
  // A document of which histories are kept; never removed.
  struct Document {
    std::string id;
    Model model;
    std::atomic<int64_t> pushed{0};
    std::atomic<int64_t> acknowledged{0};  // of a register: the value of some write that was so lately
    std::mutex renewing;                   // held by whoever puts another list in its place
  };
  class ClientLoop;

  explicit HistoryWorkload(HistoryOptions options);
  absl::Status AddDocument(client::Client* client, Model model, size_t place);
  Document* DocumentAt(size_t place) const;
  std::vector<Document*> AllDocuments() const;
  void Fail(const absl::Status& status);
  absl::Status Failure() const;
  void StopClients();
  std::vector<Gap> Gaps(const std::vector<DocumentHistory>& histories) const;

  const HistoryOptions options_;
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> succeeded_{0};
  std::atomic<int64_t> acknowledged_writes_{0};  // of these
  std::atomic<int64_t> last_value_{0};
  const Moment start_ = std::chrono::steady_clock::now();
  std::unique_ptr<client::Client> admin_;
  mutable std::mutex mutex_;  // guards the next four
  absl::Status failure_;
  std::vector<std::unique_ptr<Document>> documents_;
  std::vector<Document*> places_;  // the documents in use
  std::vector<std::pair<std::string, std::chrono::nanoseconds>> faults_;
  std::vector<std::unique_ptr<ClientLoop>> loops_;
  std::vector<std::thread> threads_;
};

}  // namespace terrane::testing
