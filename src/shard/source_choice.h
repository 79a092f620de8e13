// Which replica of the source of a move is asked.
//
// The leader only feels the fence: segments, hashes and the oplog come from a follower, the same one for as long as it
// answers. One that fails is left alone for a while; the leader is asked when no follower is left, and for the last
// entries up to F. Pure.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "common/clock.h"

namespace terrane::shard {

class SourceChoice {
 public:
  struct Choice {
    std::string endpoint;    // empty: none is known
    bool not_leader = true;  // it is to refuse if it leads by now
  };

  // The leader first, as far as known.
  void SetEndpoints(std::vector<std::string> endpoints);

  Choice ForBulk(MonotonicTime now);
  // For what only the leader has in time: the leader, then the others in turn.
  Choice ForFence() const;

  // What came of a call.
  void Worked(const std::string& endpoint, MonotonicTime now);
  void Failed(const std::string& endpoint, MonotonicTime now);
  // Its copy of the data is damaged: not soon again, whatever else it answers meanwhile.
  void Damaged(const std::string& endpoint, MonotonicTime now);
  void FenceFailed() { ++fence_turn_; }

  // Whether another replica may have what this one lacks: one that is not known to be damaged, whether it answers or
  // not.
  bool HasOthers(const std::string& endpoint) const;

 private:
  struct Penalty {
    MonotonicTime until{0};
    std::chrono::milliseconds last{0};
    bool damaged = false;  // then an answer changes nothing before `until`
  };
  bool Free(const std::string& endpoint, MonotonicTime now) const;

  std::vector<std::string> endpoints_;
  std::string follower_;  // asked last; empty: none
  std::map<std::string, Penalty> penalties_;
  size_t fence_turn_ = 0;
};

}  // namespace terrane::shard
