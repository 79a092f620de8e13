// What a leader knows about one peer.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>

#include "common/clock.h"
#include "raft/types.h"

namespace terrane::raft {

//   probe ----success---> replicate      probe: one message at a time until an answer tells where the logs agree
//     ^ ^----rejected--------+           replicate: sends ahead, up to a window in bytes
//     |                                  snapshot: needs what is no longer in the log; heartbeats only
//   snapshot <--- next is before the log ---
enum class ProgressState : uint8_t { kProbe, kReplicate, kSnapshot };

struct Progress {
  ReplicaId id;
  std::string about;  // as the configuration says of it; another one is another log
  Position match;     // synced there and equal to our log up to here; never goes back within a term
  Position next;      // first position to send; match < next <= last + 1
  ProgressState state = ProgressState::kProbe;
  bool probe_sent = false;                           // probe: its message is out
  Position snapshot_index;                           // snapshot: the position that was sent
  MonotonicTime snapshot_sent_at{0};                 // snapshot: when
  std::deque<std::pair<Position, size_t>> inflight;  // replicate: (last position, bytes) of what is on its way
  size_t inflight_bytes = 0;                         // sum of it
  Position commit_sent;                              // greatest commit index that went with an Append
  Position applied;                                  // what it said to have applied
  MonotonicTime heard_at{0};  // when its last answer of this term came; none: since when it could
  bool heard = false;         // an answer of this term came
  MonotonicTime nudge_at{0};  // from then on, an answered heartbeat brings a question if appends are not answered
  uint64_t round = 0;         // greatest heartbeat round that it answered
  uint64_t clock = 0;         // the peer's own, from its latest answer
  // What `clock` was when each of the latest rounds was sent; the last is that of the leader's round.
  std::deque<uint64_t> clock_when_sent;

  void BecomeProbe();
  void BecomeReplicate();
  void BecomeSnapshot(Position index, MonotonicTime now);

  // True if match grew. A smaller index than before is an old answer and changes nothing.
  bool UpdateMatch(Position index);
  // The peer does not have `rejected` as prev; it may match at `hint`. False: an old answer.
  bool Rejected(Position rejected, Position hint);
  void AddInflight(Position last, size_t bytes);
};

}  // namespace terrane::raft
