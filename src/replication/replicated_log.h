// One replica of a Raft group: hosts the pure core of src/raft, keeps its log in a directory, talks to the peers, and
// drives a StateMachine. terrane-shard and terrane-meta each own one.
//
// Threads: a loop (the core), a log writer (one write and one sync at a time; everything that waits goes out in the
// next one), and the apply thread (StateMachine and all callbacks). Nothing is acknowledged or applied before it is
// synced in the log of this replica.
#pragma once

#include <any>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/ids.h"
#include "replication/state_machine.h"

namespace terrane::replication {

class FileSystem;
class Transport;

// Whose directory this is; written into it at the first start and compared at every later one.
struct Identity {
  std::string cluster;  // id of the cluster
  std::string group;    // name of the Raft group: the shard's name, or "meta"
  ReplicaId replica;    // from 1, unique in the group
};

struct Member {
  ReplicaId replica;
  std::string address;  // host:port of its RaftTransport service
};

struct Timeouts {
  std::chrono::milliseconds heartbeat{50};
  std::chrono::milliseconds election_min{300};
  std::chrono::milliseconds election_max{600};
  // A leader whose log write has been under way for longer stops its heartbeats and hands on.
  std::chrono::milliseconds slow_disk{300};
};

// What became of a proposal.
enum class ProposeOutcome {
  kApplied,   // in the log, applied here; `status` and `value` are the state machine's
  kNotInLog,  // never entered the log and never will: safe to send again (to `leader`, if known)
  kUnknown,   // it may or may not be applied some day: ask again before doing anything that depends on it
};

struct ProposeResult {
  ProposeOutcome outcome = ProposeOutcome::kNotInLog;
  // kApplied: the state machine's verdict. kNotInLog: kUnavailable (also: too much waits here already, send it again
  // after a while), or kInvalidArgument (entry too large).
  // kUnknown: kAborted.
  absl::Status status;
  std::any value;                   // kApplied only
  Position position;                // kApplied only
  Term term;                        // term of the proposal
  std::optional<ReplicaId> leader;  // who may lead now, as far as known
};

struct LeaderState {
  bool is_leader = false;           // elected; may accept proposals for `term`
  bool ready_to_serve = false;      // and the no-op of the own term is applied: may read, latch and propose (trap T47)
  Term term;                        // present term
  std::optional<ReplicaId> leader;  // last known leader of `term`, possibly this replica
};

// One change of the group's membership at a time (chapter 4 of Ongaro's thesis).
enum class MemberChange {
  kAdd,      // as a learner, which the leader makes a voter as soon as its data is close
  kPromote,  // a learner becomes a voter now
  kRemove,
};

// What is known of a member. Positions and silence: on a leader only.
struct MemberStatus {
  ReplicaId replica;
  std::string address;
  bool voter = false;
  bool leads = false;
  Position match;         // up to which its log is known to agree with the leader's
  Position applied;       // as it last said
  bool fetching = false;  // a checkpoint, because the log that it lacks is cut
  std::chrono::milliseconds silent{0};
};

struct LogStatistics {
  uint64_t batches = 0;         // log writes, each followed by one sync
  uint64_t entries = 0;         // entries in them
  uint64_t bytes_written = 0;   // padding included
  uint64_t leader_changes = 0;  // times this replica began to lead
  uint64_t snapshots_installed = 0;
  uint64_t segments = 0;
  uint64_t log_bytes = 0;     // size of the segments
  uint64_t incarnation = 0;   // of the directory
  uint64_t start_number = 0;  // of this start
  Position first;             // first position still in the log
  Position last;              // last position in the log, synced
  Position committed;
  Position applied;
  std::chrono::microseconds last_sync{0};
  uint64_t entry_bytes = 0;      // entries of the log in memory
  uint64_t pending_bytes = 0;    // proposals that are not answered yet
  uint64_t unapplied_bytes = 0;  // entries that wait for the state machine
  uint64_t held_bytes = 0;       // messages of the leader that wait for them
};

class ReplicatedLog {
 public:
  struct Options {
    std::filesystem::path directory;  // made if missing; holds LOCK, identity, log/, checkpoints/
    Identity identity;
    // The group as it is first made, this replica included. One member: leads at once, needs no transport.
    // Addresses that are given here at a later start are used instead of those that the group knows.
    std::vector<Member> members;
    // An empty directory is that of a replica that joins a group which exists: it has no vote and no log, and waits for
    // a leader that takes it in (ChangeMember; or the group has known it with another directory). No effect later.
    bool join = false;
    Timeouts timeouts;
    uint64_t segment_bytes = 8 << 20;
    // Log to keep before the state machine is asked to make itself durable and whole segments are cut.
    uint64_t keep_bytes = 32 << 20;
    uint64_t max_entry_bytes = 48 << 20;
    uint64_t max_batch_bytes = 4 << 20;  // a batch takes proposals until it holds this much
    // Bounds of memory, in bytes; each lets one item more through than it says.
    // Proposals here that are not answered yet, because disk, majority or state machine are slow: what exceeds it is
    // refused (kNotInLog).
    uint64_t max_pending_bytes = 64 << 20;
    // Entries that are committed and wait for the state machine: beyond it a follower takes no more from its leader,
    // which goes on with the others; it notices by the answers that do not come, and sends no more than its window.
    uint64_t max_unapplied_bytes = 64 << 20;
    // Messages of peers that wait; what exceeds it is dropped, which Raft repairs.
    uint64_t max_inbox_bytes = 64 << 20;
    // The log is kept, in memory too, for a peer that fetches a checkpoint, so that it can go on behind it; but not
    // beyond this size.
    uint64_t keep_for_fetch_bytes = 256 << 20;

    // A checkpoint that a peer has fetched, or in part, is kept for so long, so that it can go on with it. (It is made
    // of hard links: until then the disk keeps what the state machine has no more use for.)
    std::chrono::milliseconds keep_checkpoint{60'000};

    Clock* clock = Clock::System();
    FileSystem* file_system = nullptr;  // nullptr: the machine's
    Transport* transport = nullptr;     // required for more than one member; outlives the log
    // Called at most once, on any thread, at the first failed write or sync, broken state machine, or proof that this
    // is the wrong disk. Nothing is written, sent or acknowledged afterwards. nullptr: logs and ends the process at
    // once with exit code 70. If it returns (tests), the log is dead: every call answers kUnavailable.
    std::function<void(const absl::Status&)> on_fatal;
    // Called instead, in a group of several, when this directory cannot go on but its group can: it is empty while a
    // peer knows this replica with its data (trap T51), or what it holds turns out to be damaged. The owner sets it
    // aside and opens an empty one with `join`. Not set: on_fatal.
    std::function<void(const absl::Status&)> on_rejoin;
  };

  // Recovers the directory and starts the threads; returns before a leader is known.
  //   kFailedPrecondition  the directory belongs to somebody else, is in use, or was written by a newer version
  //   kDataLoss            damage that no power cut explains; the message names file and offset. Or the state machine
  //   is
  //                        ahead of or behind the log: the message names both sides
  //   other                I/O
  // `machine` outlives the log. Its methods may be called, OnLeaderStart among them, before Open returns; `opened`, if
  // given, is called with the log before any of that, so that they can use it.
  static absl::StatusOr<std::unique_ptr<ReplicatedLog>> Open(Options options, StateMachine* machine,
                                                             std::function<void(ReplicatedLog*)> opened = nullptr);

  // Stops as by Stop().
  virtual ~ReplicatedLog() = default;

  // Everything below is thread-safe, does not block, and may be called from callbacks.

  // Proposes `data` as the next entry. `term` is the term in which the caller took its latches (Leader().term at that
  // time, with ready_to_serve): in any other term the proposal is refused (trap T48). `done` is called exactly once,
  // on the apply thread, in the order of the log: after the entry is applied, or when it is certain that this replica
  // cannot tell (kUnknown), or at once (still on the apply thread) with kNotInLog.
  //
  // `synced`, if given, is called at most once, on the apply thread, before `done` and in the order of the log: the
  // entry is on the disk of this leader, and not known to be on those of a majority. It may still be lost with this
  // replica. Not called if the entry is committed by then.
  virtual void Propose(Term term, std::string data, std::function<void(ProposeResult)> done,
                       std::function<void()> synced) = 0;
  void Propose(Term term, std::string data, std::function<void(ProposeResult)> done) {
    Propose(term, std::move(data), std::move(done), nullptr);
  }

  virtual LeaderState Leader() const = 0;

  // Calls `done` on the apply thread with OK once everything that was acknowledged anywhere before this call is applied
  // here, and this replica was still the leader at some time after the call: a read that starts then is linearizable.
  // kUnavailable if it does not lead or is not ready. One round to the peers serves all that wait.
  virtual void ReadIndex(std::function<void(absl::Status)> done) = 0;

  // True if a read may be served right now without ReadIndex: this replica leads, is ready, and no other can lead,
  // because a majority has promised so a short time ago (leases, docs/raft.md). Cheap.
  virtual bool HasLease() const = 0;

  // Position of the last entry applied here / known to be committed here.
  virtual Position Applied() const = 0;
  virtual Position Committed() const = 0;

  // Asks the apply thread to make the state durable and to cut the log behind it now. `done` on the apply thread.
  virtual void CutLog(std::function<void(absl::Status)> done) = 0;

  // Hands leadership to `to`, or with 0 to the voter that is most up to date, if this replica leads; no effect
  // otherwise. Used before a planned stop. kFailedPrecondition: nobody that could take it answers.
  virtual absl::Status TransferLeadership(ReplicaId to = ReplicaId()) = 0;

  // Adds, promotes or removes a member, after the change that may be under way; `done` once, on the apply thread, when
  // the change is committed and applied here. Idempotent: OK if it is so already.
  //   kUnavailable         this replica does not lead (any more); the change may still come to be
  //   kFailedPrecondition  a learner's data is not close; too few voters would answer
  //   kNotFound            kPromote of somebody who is no member
  // `address` (kAdd): host:port of the new member's RaftTransport service.
  virtual void ChangeMember(MemberChange change, ReplicaId replica, const std::string& address,
                            std::function<void(absl::Status)> done) = 0;
  // The members as of the configuration that holds now.
  virtual std::vector<MemberStatus> Members() const = 0;
  // Position of the entry of the last configuration that is committed; grows with each change.
  virtual Position ConfigurationPosition() const = 0;
  // The last time at which this replica heard a leader (itself counts) and had applied all that was committed as far as
  // it was told: its state is at most about as stale as that. nullopt: never.
  virtual std::optional<MonotonicTime> LeaderContact() const = 0;

  virtual LogStatistics Statistics() const = 0;

  // Stops the threads: waits for the write under way, makes no new one. Proposals that wait get kUnknown or kNotInLog;
  // later calls get theirs at once, on the calling thread. Idempotent. Not from a callback.
  virtual void Stop() = 0;
};

}  // namespace terrane::replication
