// A client of a power cut run: writes and reads documents of its own, and knows what must be there.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "power_mover.h"
#include "power_world.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::shard {

// What is in the owner's copy: (encoded shard key, encoded id) -> BSON.
using DocumentsOnDisk = std::map<std::pair<std::string, std::string>, std::string>;

// One thread; what is said to be for the one who checks, while this thread halts or has ended.
class PowerClient {
 public:
  PowerClient(int number, uint64_t seed, PowerWorld* world, PowerMover* mover);

  // Inserts the first documents; false: not all were acknowledged.
  bool Fill();
  // Writes and reads until the gate is closed for good.
  void Run();

  // ---- for the one who checks ----
  // Reports what was acknowledged and is not there, or is there and was not asked for. Takes its documents out.
  void Check(DocumentsOnDisk* there);
  uint64_t acknowledged() const { return acknowledged_; }
  uint64_t repeated() const { return repeated_; }  // answered from a retry record

 private:
  using Document = std::optional<std::string>;  // BSON; nullopt: none
  struct Operation {
    enum class Kind { kInsert, kUpdate, kDelete } kind = Kind::kInsert;
    int id = 0;
    std::string update;  // BSON
    Document before, after;
    std::optional<int64_t> statement;  // of a retryable write
    // Set while the outcome is not known; the check finds out whether it took effect.
    bool unknown = false;
    std::optional<bool> took_effect;
    bool must_repeat = false;  // it was acknowledged before
  };
  enum class Sent { kDone, kRefused, kUnknown };

  Operation Choose();
  void Execute(Operation operation);
  Sent Send(const Operation& operation, bool* repeated);
  Sent Insert(const Operation& operation, const PowerMover::Owner& owner, bool* repeated);
  Sent Modify(const Operation& operation, const PowerMover::Owner& owner, bool* repeated);
  Sent Classify(const absl::Status& status, const Operation& operation);
  void Acknowledged(const Operation& operation, bool repeated);
  void Read(int id);
  void Wrong(const Operation& operation, std::string_view what);

  std::string ShardKey(int id) const;
  std::string Name(int id) const;
  std::string MakeDocument(int id, int n, std::string_view payload) const;
  terrane::v1::RetryId Retry(int64_t statement) const;
  std::string Payload();

  const int number_;
  const std::string session_;
  PowerWorld* const world_;
  PowerMover* const mover_;
  std::mt19937_64 random_;
  std::map<int, std::string> documents_;  // as acknowledged
  std::vector<Operation> recent_;         // acknowledged retryable writes
  Operation pending_;
  bool is_pending_ = false;
  int64_t next_statement_ = 0;
  uint64_t acknowledged_ = 0;
  uint64_t repeated_ = 0;
};

}  // namespace terrane::shard
