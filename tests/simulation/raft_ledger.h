// Knows what every replica of a simulated group has ever appended, committed and led: the five properties of figure 3
// of the Raft paper, and what a client may expect.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "raft/core.h"

namespace terrane::raft {

// Each check returns the sentence that is broken, or nullptr.
class RaftLedger {
 public:
  // Election safety: at most one leader can be elected in a given term.
  // Leader completeness: an entry committed in a term is in the logs of the leaders of all later terms.
  const char* BecameLeader(const Core& core);
  // Log matching: entries with the same index and term are the same, and so are all before them.
  const char* Appended(Term previous, const Entry& entry);
  // State machine safety, already at commit: nobody commits another entry at an index.
  const char* Committed(const Core& core, Position from);
  // State machine safety: nobody applies another entry at an index.
  const char* Applied(const Entry& entry) const;

  Position committed() const { return Position(committed_.size()); }
  Term TermOf(Position index) const { return committed_[index.value() - 1].term; }
  uint64_t leaders() const { return leaders_.size(); }

 private:
  struct Version {
    Term term;
    Term previous;
    uint64_t hash;
  };
  struct Record {
    Term term;
    uint64_t hash;
    Term committed_in;  // term of the replica that committed it first: a leader's
  };
  std::vector<std::vector<Version>> versions_;      // by index - 1
  std::vector<Record> committed_;                   // by index - 1
  std::unordered_map<uint64_t, uint64_t> leaders_;  // term -> id
};

uint64_t HashOf(const Entry& entry);

}  // namespace terrane::raft
