// What the threads of a power cut run share: a gate that halts them, the switch that cuts the power at the n-th
// operation, and a list of what is wrong.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "power_shard.h"

namespace terrane::shard {

// Findings. Thread-safe.
class Findings {
 public:
  void Add(std::string what);
  bool empty() const;
  std::vector<std::string> All() const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> all_;
};

// Halts a number of threads between two things that they do.
class Gate {
 public:
  explicit Gate(int threads) : threads_(threads) {}

  // ---- for the threads ----
  // Between two operations; blocks while the gate is closed. False: do no more.
  bool Pass();
  // Within an operation that has to be tried again, after a moment. False: give it up, the run is over.
  bool Again();
  // The thread touches nothing any more.
  void Leave();

  // ---- for the one who halts them ----
  void Close();
  // Until all have halted or left; false if that takes too long.
  bool AwaitHalt();
  void Open();
  void Finish();   // from now on Pass is false
  void Abandon();  // and Again, and nobody waits
  bool AwaitEnd();

 private:
  void WaitOpen(std::unique_lock<std::mutex>* lock);

  std::mutex mutex_;
  std::condition_variable changed_;
  int threads_;
  int halted_ = 0;
  bool closed_ = false;
  bool finish_ = false;
  bool abandoned_ = false;
};

// Where a move is.
enum class MoveStage {
  kPrepare,
  kCopy,
  kVerify,
  kFence,
  kComplete,
  kFenceReads,
  kCommitted,
  kClean,
  kEndAttempt,
  kAbort
};
inline constexpr int kMoveStages = 10;
std::string_view MoveStageName(MoveStage stage);

// Cuts the power of some shards before the n-th operation on any disk. Thread-safe.
class PowerSwitch {
 public:
  struct Plan {
    int operations = 1;
    std::optional<MoveStage> from;  // counted from the next time that a move gets there
    uint32_t victims = 1;           // bit i: shard i
    uint64_t seed = 0;
  };

  // The gate is closed before the power goes.
  void Connect(std::vector<PowerShard*> shards, Gate* gate) {
    shards_ = std::move(shards);
    gate_ = gate;
  }

  void Arm(const Plan& plan);
  // The rest of the plan is void. Returns the victims if the power was cut, else 0.
  uint32_t Disarm();
  // Until the power is cut or the time is over; the victims, or 0.
  uint32_t AwaitCut(std::chrono::milliseconds limit);

  void OnOperation();
  void EnterStage(MoveStage stage);
  MoveStage stage() const { return stage_; }

 private:
  void Cut();

  std::vector<PowerShard*> shards_;
  Gate* gate_ = nullptr;
  std::atomic<MoveStage> stage_{MoveStage::kPrepare};
  std::atomic<bool> counting_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  Plan plan_;
  bool armed_ = false;
  bool cutting_ = false;
  uint32_t cut_ = 0;
};

struct PowerWorld {
  explicit PowerWorld(int threads) : gate(threads) {}
  Findings findings;
  Gate gate;
  PowerSwitch power;
  std::vector<PowerShard*> shards;
};

}  // namespace terrane::shard
