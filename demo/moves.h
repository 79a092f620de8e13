// Moves of chunks while traffic runs, each watched by a probe that feels its pauses.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "client/client.h"
#include "common/key_range.h"
#include "document/shard_key.h"
#include "journal.h"
#include "latency.h"
#include "traffic.h"

namespace terrane::demo {

// A document in a chunk, written and read without a pause between operations: the longest of them bounds the pause that
// an application feels. Takes two threads.
class PauseProbe {
 public:
  struct Options {
    std::string proxy;
    std::string collection;
    std::string journal_path;
    KeyRange range;                       // of the chunk, encoded
    std::string name;                     // _id of the document
    document::ShardKeyPattern shard_key;  // over `customer`
  };
  static absl::StatusOr<std::unique_ptr<PauseProbe>> Start(Options options, TrafficProblems* problems);
  ~PauseProbe();
  // Ends both threads; no operation is added after.
  absl::Status Stop();

  const Latencies& writes() const { return writes_; }
  const Latencies& reads() const { return reads_; }

 private:
  PauseProbe(Options options, std::string customer, TrafficProblems* problems);
  void Write(client::Client* client);
  void Read(client::Client* client);

  Options options_;
  const std::string filter_;  // _id and customer
  TrafficProblems* const problems_;
  Journal journal_;
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> acknowledged_{0};  // value of the document
  Latencies writes_;
  Latencies reads_;
  std::unique_ptr<client::Client> write_client_;
  std::unique_ptr<client::Client> read_client_;
  std::thread write_thread_;
  std::thread read_thread_;
};

struct MoveOutcome {
  terrane::v1::Migration migration;  // as it ended
  double write_pause_ms = 0;         // longest write that the probe saw
  double read_pause_ms = 0;
  double probe_writes_per_s = 0;
};

// Moves the chunk to `target` and waits for the end. `progress` is called while it runs, with lines for people, from
// this thread. An error if the move did not end in DONE.
absl::StatusOr<MoveOutcome> RunMove(const std::string& proxy, const std::string& collection,
                                    const terrane::v1::Chunk& chunk, const std::string& target,
                                    const std::string& journal_path, TrafficProblems* problems,
                                    const std::atomic<bool>& cancelled,
                                    const std::function<void(const terrane::v1::ShowMigrationResponse&)>& progress);

}  // namespace terrane::demo
