// One direction of a connection under faults: bytes come in, and go out later, slower or not for now. Pure: time and
// randomness are passed in. In order, and complete: what a fault of a network may do to a TCP connection that lives.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/random.h"

namespace terrane::testing {

// Of one direction.
struct DirectionFaults {
  std::chrono::milliseconds delay{0};   // everything comes so much later,
  std::chrono::milliseconds jitter{0};  // and up to so much more, but in order
  int64_t bytes_per_second = 0;         // 0: no limit
  bool frozen = false;                  // nothing passes for now, not even the end of the connection
};

class FaultPipe {
 public:
  // Takes no more while so much waits: the sender feels it as a slow receiver.
  static constexpr size_t kCapacity = 1 << 20;

  bool HasRoom() const { return !ended_ && bytes_ < kCapacity; }
  void Put(std::string bytes, MonotonicTime now, const DirectionFaults& faults, Random* random);
  // The sender will send no more.
  void PutEnd(MonotonicTime now, const DirectionFaults& faults, Random* random);

  // What may go out now; empty: nothing.
  std::string_view Ready(MonotonicTime now, const DirectionFaults& faults);
  // So much of it went out.
  void Take(size_t bytes, const DirectionFaults& faults);
  // Everything went out, and the end may be told.
  bool EndReady(MonotonicTime now, const DirectionFaults& faults) const;
  // When to look again; nullopt: not before something changes.
  std::optional<MonotonicTime> NextAt(MonotonicTime now, const DirectionFaults& faults) const;

 private:
  struct Piece {
    std::string bytes;  // empty: the end
    MonotonicTime due;
  };
  void Append(std::string bytes, MonotonicTime now, const DirectionFaults& faults, Random* random);

  std::deque<Piece> pieces_;  // `due` never goes back
  size_t gone_ = 0;           // of the first piece
  size_t bytes_ = 0;          // of all pieces
  bool ended_ = false;
  double credit_ = 0;  // bytes that the limit allows, as of `credited_`
  std::optional<MonotonicTime> credited_;
};

}  // namespace terrane::testing
