// What must hold inside one core after every call, each as a sentence and its check. Used by tests and the simulation.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "raft/core.h"

namespace terrane::raft {

// Also checks what changed since it was asked last, so use one for each life of a core. Not thread-safe.
class InvariantChecker {
 public:
  // The first sentence that does not hold; nullptr if all do. Constant time but for the peers.
  const char* Check(const Core& core);

 private:
  const char* CheckNow(const Core& core) const;
  const char* CheckChange(const Core& core) const;
  const char* CheckMatches(const Core& core) const;
  void Note(const Core& core);

  struct Seen {
    HardState hard_state;
    RoleName role = RoleName::kFollower;
    Position commit;
    Position applied;
    Position handed_to_apply;
    Position last;
    uint64_t sequence = 0;
    Position configuration;                               // its index: of `matches`
    std::vector<std::pair<ReplicaId, Position>> matches;  // of a leader
  };
  bool noted_ = false;
  Seen seen_;  // as of the last call, if noted_
};

}  // namespace terrane::raft
