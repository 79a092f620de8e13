// The words of the Raft core: entries, hard state, configurations, snapshots, messages. Plain values.
//
// Names follow the Raft paper ("In Search of an Understandable Consensus Algorithm", extended version) and Ongaro's
// thesis ("Consensus: Bridging Theory and Practice"); section numbers in src/raft refer to the thesis.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/ids.h"

namespace terrane::raft {

// One replica of one group; 0 is none.
using ReplicaId = StrongId<struct ReplicaIdTag>;

constexpr Position operator+(Position position, uint64_t count) {
  return Position(position.value() + count);
}
// REQUIRES: count <= position.
constexpr Position operator-(Position position, uint64_t count) {
  return Position(position.value() - count);
}

// Immutable bytes that are shared, not copied: an entry lies in the log view, in messages, in the log writer's batch
// and in the apply queue at the same time. Copying costs one atomic increment. Thread-safe as far as const access goes.
class Payload {
 public:
  Payload() = default;
  Payload(std::string bytes)  // NOLINT(google-explicit-constructor): an entry is written like a string
      : bytes_(bytes.empty() ? nullptr : std::make_shared<const std::string>(std::move(bytes))) {}
  Payload(const char* bytes) : Payload(std::string(bytes)) {}  // NOLINT(google-explicit-constructor)

  std::string_view view() const { return bytes_ ? std::string_view(*bytes_) : std::string_view(); }
  size_t size() const { return bytes_ ? bytes_->size() : 0; }
  bool empty() const { return bytes_ == nullptr; }
  friend bool operator==(const Payload& a, const Payload& b) { return a.bytes_ == b.bytes_ || a.view() == b.view(); }

 private:
  std::shared_ptr<const std::string> bytes_;  // null is empty
};

// Stored in the log file; numbers never change.
enum class EntryType : uint8_t {
  kNormal = 0,         // data belongs to the state machine
  kNoOp = 1,           // begins a term; data is empty
  kConfiguration = 2,  // data is an encoded Configuration
};

struct Entry {
  Term term;
  Position index;  // one more than that of the entry before
  EntryType type = EntryType::kNormal;
  Payload data;

  friend bool operator==(const Entry&, const Entry&) = default;
};

// What a replica must have on disk before it answers.
struct HardState {
  Term term;       // latest term that this replica has seen; never goes back
  ReplicaId vote;  // whom it voted for in `term`; 0 is nobody

  friend bool operator==(const HardState&, const HardState&) = default;
};

// Voters and learners together.
inline constexpr size_t kMembersMax = 64;

// Members of the group. Both lists are sorted and disjoint. It holds from the moment that its entry is appended.
struct Configuration {
  std::vector<ReplicaId> voters;
  std::vector<ReplicaId> learners;
  // What the host wants the whole group to know of a member (its address, the directory that its votes lie in); opaque
  // to the core, absent when empty. Members only. When it changes, a leader forgets what it knew of that member's log.
  std::map<ReplicaId, std::string> about;

  bool IsVoter(ReplicaId id) const;
  bool IsLearner(ReplicaId id) const;
  bool Contains(ReplicaId id) const { return IsVoter(id) || IsLearner(id); }
  bool empty() const { return voters.empty() && learners.empty(); }
  // At least one voter, sorted, disjoint, no id 0, at most 64 members, `about` of members only and never empty.
  bool IsValid() const;

  friend bool operator==(const Configuration&, const Configuration&) = default;
};

// Data of a kConfiguration entry. Decode returns nullopt for bytes that Encode cannot have made (unsorted, overlapping,
// without voters, too short or long).
std::string EncodeConfiguration(const Configuration& configuration);
std::optional<Configuration> DecodeConfiguration(std::string_view bytes);

// A reference to a state at a position. The core never holds the state itself.
struct SnapshotReference {
  Position index;               // last position whose effect the state contains
  Term term;                    // term of that entry
  Configuration configuration;  // the one that holds at `index`
  std::string address;          // where the host finds the data; opaque to the core, empty when the core made it

  friend bool operator==(const SnapshotReference&, const SnapshotReference&) = default;
};

// Numbers go over the wire between versions; they never change.
enum class MessageType : uint8_t {
  kPreVote = 1,
  kPreVoteAnswer = 2,
  kVote = 3,
  kVoteAnswer = 4,
  kAppend = 5,
  kAppendAnswer = 6,
  kHeartbeat = 7,
  kHeartbeatAnswer = 8,
  kInstallSnapshot = 9,
  kSnapshotAnswer = 10,
  kTimeoutNow = 11,
  kReadIndex = 12,
  kReadIndexAnswer = 13,
};
std::string_view ToString(MessageType type);

// One message from one replica to another. A field that the line of its type does not name is zero.
//
//   PreVote          index, log_term: end of the log of the candidate; campaign_term: the term that it would begin
//   PreVoteAnswer    campaign_term of the question; reject
//   Vote             index, log_term: end of the log of the candidate; transfer: its leader told it to (3.10)
//   VoteAnswer       reject
//   Append           index, log_term: the entry before entries (prev); entries; commit
//   AppendAnswer     reject = false: index is the last position that the follower knows to match, never more than prev
//   + n
//                    of the question and synced there; reject = true: index is the prev that did not match, hint_index
//                    and hint_term the last position of the follower that may match; or the question's term was old
//   Heartbeat        index, log_term: last position that the leader knows to match on the receiver; commit (<= index);
//                    context: the round; hint_index: whoever has applied up to there has all that was committed
//                    anywhere when it was sent, never 0 (the commit index of the leader, which the receiver may lack;
//                    before the first commit of its term, the entry that began it); echo: the receiver's own
//                    clock, from the last answer that had come when the newest round that a majority has answered was
//                    sent; 0: none had
//   HeartbeatAnswer  context of the question; commit: position up to which the receiver has applied; echo: its clock,
//   in
//                    nanoseconds, for it alone to make sense of
//   InstallSnapshot  snapshot
//   SnapshotAnswer   index, log_term: position and term of the state that is there now and synced; reject: not taken
//   TimeoutNow       -
//   ReadIndex        context
//   ReadIndexAnswer  context; index: what must be applied before the read; reject
struct Message {
  MessageType type = MessageType::kHeartbeat;
  ReplicaId from;
  ReplicaId to;
  Term term;  // of the sender
  Position index;
  Term log_term;
  Position commit;
  bool reject = false;
  bool transfer = false;
  Term campaign_term;
  Position hint_index;
  Term hint_term;
  uint64_t context = 0;
  uint64_t echo = 0;
  std::vector<Entry> entries;
  std::shared_ptr<const SnapshotReference> snapshot;  // never null in InstallSnapshot, null in all others

  // What only the leader of `term` sends, and what a follower's log and state come from.
  bool IsOfLeader() const {
    return type == MessageType::kAppend || type == MessageType::kHeartbeat || type == MessageType::kInstallSnapshot;
  }

  // Votes and heartbeats, which must not wait behind documents: the host gives them a connection of their own.
  bool IsUrgent() const { return type != MessageType::kAppend && type != MessageType::kInstallSnapshot; }
};

// For logs and scenario tests: "1->2 Append term 3 prev 4/2 commit 4 entries [5/3]".
std::string ToString(const Message& message);

}  // namespace terrane::raft
