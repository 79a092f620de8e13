// The ReplicatedLog: the Raft core, its threads and its peers put together.
//
//   proposers, loop, writer, apply   all call the core, one at a time, under mutex_: what it decides is handed out in
//                                    order by Drive(), before the mutex is released; no I/O happens under it
//   loop                             ticks, incoming batches, greetings
//   writer (log_writer.h)            one write and one sync at a time; then Persisted(), then the proposals that waited
//   apply (apply_thread.h)           the state machine and all callbacks
//   fetcher                          one checkpoint at a time, while a snapshot is wanted
//
// Proposals wait while a write is under way and go out together in the next one.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "raft/core.h"
#include "replication/apply_thread.h"
#include "replication/checkpoint_fetch.h"
#include "replication/checkpoint_keeper.h"
#include "replication/identity.h"
#include "replication/log_writer.h"
#include "replication/member.h"
#include "replication/replicated_log.h"
#include "replication/transport.h"

namespace terrane::replication {

// What Open found and made (recovery.cc).
struct Recovery {
  std::unique_ptr<ReplicaDirectory> directory;
  std::unique_ptr<LogFile> file;
  raft::RestoredState state;
};
absl::StatusOr<Recovery> Recover(const ReplicatedLog::Options& options, StateMachine* machine);

// A fetched checkpoint is about to replace the state: written before, removed after (recovery.cc).
absl::Status WriteInstallMarker(FileSystem* file_system, const ReplicaDirectory& directory,
                                const raft::SnapshotReference& snapshot);
absl::Status RemoveInstallMarker(FileSystem* file_system, const ReplicaDirectory& directory);
std::filesystem::path IncomingCheckpoint(const ReplicaDirectory& directory);

class Replica : public ReplicatedLog, private PeerReceiver {
 public:
  Replica(Options options, StateMachine* machine, Recovery recovery);
  ~Replica() override;
  void Start();

  using ReplicatedLog::Propose;
  void Propose(Term term, std::string data, std::function<void(ProposeResult)> done,
               std::function<void()> synced) override;
  LeaderState Leader() const override;
  void ReadIndex(std::function<void(absl::Status)> done) override;
  bool HasLease() const override;
  Position Applied() const override { return apply_.applied(); }
  Position Committed() const override { return Position(published_commit_.load()); }
  void CutLog(std::function<void(absl::Status)> done) override;
  absl::Status TransferLeadership(ReplicaId to) override;
  void ChangeMember(MemberChange change, ReplicaId replica, const std::string& address,
                    std::function<void(absl::Status)> done) override;
  std::vector<MemberStatus> Members() const override;
  Position ConfigurationPosition() const override;
  std::optional<MonotonicTime> LeaderContact() const override;
  LogStatistics Statistics() const override;
  void Stop() override;

 private:
  struct WaitingProposal {
    Term term;
    std::string data;
    std::function<void(ProposeResult)> done;
    std::function<void()> synced;
  };
  struct Joiner {
    StartId start;
    MonotonicTime greeted_at{0};
  };
  struct Fetched {
    std::optional<raft::Message> message;  // the InstallSnapshot that asked for it; without: the state machine did
    absl::StatusOr<Checkpoint> checkpoint;
  };

  MonotonicTime Now() const { return options_.clock->Now(); }

  // --- replica.cc; "Locked": under mutex_ ---
  void DriveLocked();
  void FeedProposalsLocked();
  void HandleReadyLocked(raft::Ready ready);
  void NoteRoleLocked(const raft::RoleChange& role);
  void FlushPendingLocked();
  void TellSyncedLocked();
  void RefuseLocked(std::function<void(ProposeResult)> done, Term term, absl::Status status);
  void FailEverythingLocked(const absl::Status& why);
  void NoteFreshnessLocked(MonotonicTime now);
  void PublishLocked();
  void WakeLoop();
  absl::Status NotLeaderLocked() const;
  void OnSynced(uint64_t sequence, std::vector<raft::Message> messages);
  void DiskAnswersLocked(MonotonicTime now);
  void OnApplied(Position position);
  void AnnounceLeader();
  void Cut(uint64_t keep_bytes, std::function<void(absl::Status)> done);
  // Damage, of the state or of a checkpoint that was fetched, is what peers can make good; all else is fatal.
  void FailState(const absl::Status& status, std::string_view context);
  void Fatal(absl::Status status);

  // --- replica_members.cc ---
  bool AloneLocked() const;
  bool JoiningLocked() const;
  std::string AddressLocked(ReplicaId id) const;
  std::vector<ReplicaId> OthersLocked() const;
  void AdoptConfigurationLocked();
  void AllowVotingLocked();
  enum class Sender {
    kMember,          // by all that the configuration says; ReplicaDirectory::Hear has the last word
    kJoining,         // with a directory that waits to be taken in; it says nothing else
    kOtherDirectory,  // not the one that the configuration names
  };
  Sender SenderLocked(const PeerBatch& batch) const;
  void RefuseLocked(const PeerBatch& batch, std::string_view why);
  void FollowOtherDirectoryLocked(PeerBatch batch);
  void MaintainMembersLocked(MonotonicTime now);
  bool TakeBackLocked(ReplicaId id, const StartId& start, MonotonicTime now);
  // A majority of `voters` has answered this leader of late. `or_may`: or may yet, for this leader has just been
  // elected.
  bool EnoughAnswerLocked(const std::vector<ReplicaId>& voters, MonotonicTime now, bool or_may = false) const;
  absl::Status CheckMemberChangeLocked(MemberChange change, ReplicaId replica, const std::string& address,
                                       raft::Configuration* next, MonotonicTime now) const;
  absl::Status ProposeMembersLocked(const raft::Configuration& next, MonotonicTime now, Position* position);
  void Rejoin(absl::Status why);

  // --- replica_peers.cc ---
  void OnBatch(PeerBatch batch) override;
  void Loop();
  MonotonicTime LoopDeadlineLocked(MonotonicTime now) const;
  void TakeBatches(std::deque<PeerBatch> batches);
  bool MustHold();
  void Hold(PeerBatch* batch);
  void TakeBatch(PeerBatch batch);
  bool CheckAcknowledged(const PeerBatch& batch);
  void StepLocked(raft::Message message, MonotonicTime now);
  void SendLocked(std::vector<raft::Message> messages);
  PeerBatch MakeBatchLocked(ReplicaId to);
  void SendBatchLocked(ReplicaId to, bool greeting, bool urgent, std::vector<raft::Message> messages);
  void GreetLocked(MonotonicTime now);
  void CheckDiskLocked(MonotonicTime now);

  // --- replica_checkpoints.cc ---
  void StepSnapshotLocked(raft::Message message, MonotonicTime now);
  std::vector<ReplicaId> FetchPeersLocked(ReplicaId leader) const;
  void FetchLocked(std::optional<raft::Message> message, Position at_least, ReplicaId leader);
  // Removes what was fetched for nothing, which may be as large as the store; fetching_ until it is gone.
  void DiscardFetchedLocked();
  bool TakeFetched(Fetched* fetched);
  void NoteFetch(const absl::Status& status);
  absl::Status Install(const raft::SnapshotReference& snapshot);
  absl::Status Installed(const raft::SnapshotReference& snapshot);
  void OnCheckpointWanted(Position at_least, const std::string& id,
                          std::function<void(absl::StatusOr<std::shared_ptr<const Checkpoint>>)> done) override;
  absl::StatusOr<std::shared_ptr<const Checkpoint>> TakeCheckpoint(Position applied);
  void LetCheckpointGo();
  Position NeededByFetchersLocked(Position limit) const;

  // --- replica_state.cc: a state machine that cannot go on without a checkpoint, while the log goes on ---
  void OnNeedsCheckpoint(Position position, const absl::Status& why);
  void DriveStateLocked(MonotonicTime now);
  void TakeStateLocked(absl::StatusOr<Checkpoint> checkpoint);
  void InstallState(const Checkpoint& checkpoint);

  const Options options_;
  StateMachine* const machine_;
  const std::unique_ptr<ReplicaDirectory> directory_;  // Hear: loop thread
  FileSystem* const file_system_;
  const StartId start_;

  mutable std::mutex mutex_;
  raft::Core core_;
  std::deque<WaitingProposal> waiting_;      // not given to the core yet: a write is under way
  std::atomic<uint64_t> pending_bytes_{0};   // of proposals that are not answered yet, those with apply_ included
  std::deque<PendingProposal> pending_;      // in the log of this leader, positions ascending, all of leading_term_
  std::optional<Term> leading_term_;         // while the core leads
  size_t want_synced_ = 0;                   // of pending_: with `synced`
  uint64_t handed_sequence_ = 0;             // last sequence given to the writer
  uint64_t persisted_sequence_ = 0;          // last one that came back; <= handed_sequence_
  raft::Configuration noted_configuration_;  // last one given to the writer, and adopted
  uint64_t next_read_ = 1;
  std::vector<std::function<void(absl::Status)>> new_reads_;  // since the last Drive: one question serves them all
  std::unordered_map<uint64_t, std::vector<std::function<void(absl::Status)>>> reads_;  // by context
  // The starts that this replica acknowledges: the greatest that were heard of, of the directories that the
  // configuration names.
  std::map<ReplicaId, StartId> heard_;
  // Peers that want to be taken in (again), with the directories that they come with; until the configuration names
  // them, or the directory that it names is heard. Who waits greets all the time: one that was silent for an election
  // timeout is not taken in, for it may be gone.
  std::map<ReplicaId, Joiner> joining_;
  bool disk_stalled_ = false;  // the core was told so
  bool heard_of_ = false;      // a peer has acknowledged this start
  // The last word of a leader by which everything that was committed then is applied here.
  std::optional<MonotonicTime> fresh_as_of_;
  // A later one that waits for it: so a replica that is always a little behind knows by how much.
  std::optional<raft::LeaderWord> unseen_;
  MonotonicTime next_greeting_{0};
  bool closed_ = false;            // Stop has begun: the core is called no more
  bool finished_ = false;          // Stop is done: answer on the calling thread
  std::atomic<bool> dead_{false};  // after Fatal

  // What other threads see without mutex_.
  mutable std::mutex published_mutex_;
  LeaderState published_;
  std::optional<Term> served_term_;           // OnLeaderStart was called for it; guarded by published_mutex_
  std::optional<MonotonicTime> lease_until_;  // guarded by published_mutex_
  std::atomic<uint64_t> published_commit_{0};
  std::atomic<uint64_t> published_first_{0}, published_last_{0}, published_entry_bytes_{0};
  std::atomic<uint64_t> leader_changes_{0}, snapshots_installed_{0};

  // The loop's inbox.
  std::mutex inbox_mutex_;
  std::condition_variable inbox_wake_;
  std::deque<PeerBatch> inbox_;
  uint64_t inbox_bytes_ = 0;
  std::optional<Fetched> fetched_;
  bool wake_loop_ = false;
  bool stop_loop_ = false;
  std::atomic<int64_t> loop_deadline_{0};
  // Appends that wait until the state machine has caught up, in order; loop thread. Those that come meanwhile, too.
  std::deque<PeerBatch> held_;
  std::atomic<uint64_t> held_bytes_{0};
  std::atomic<bool> holding_{false};

  bool fetching_ = false;  // under mutex_; until the checkpoint is installed or given up
  std::atomic<bool> cancel_fetch_{false};
  CheckpointFetch fetch_;                           // fetcher's thread
  const std::shared_ptr<CheckpointKeeper> keeper_;  // for peers
  uint64_t checkpoints_taken_ = 0;                  // apply thread

  // Under mutex_. Not set: the state machine goes on by itself.
  std::optional<Position> state_needed_;
  std::optional<Checkpoint> state_fetched_;  // waits until the own log has come to it; fetching_ is true
  bool state_installing_ = false;            // it is with the apply thread; fetching_ is true
  MonotonicTime next_state_fetch_{0};
  Position handed_to_apply_;  // last entry that the apply thread was given

  uint64_t snapshots_taken_ = 0;    // Readys with a snapshot; under mutex_
  bool cutting_ = false;            // under mutex_
  uint64_t next_cut_bytes_;         // under mutex_; cut when the log has grown to this
  std::set<ReplicaId> complained_;  // loop thread: peers refused with a log line already
  // The last fetch that failed with a log line, since one succeeded; loop thread.
  struct FetchComplaint {
    absl::StatusCode code;
    MonotonicTime at;
  };
  std::optional<FetchComplaint> fetch_complaint_;

  ApplyThread apply_;
  LogWriter writer_;
  std::thread fetcher_;
  std::thread cleaner_;  // removes the files of a checkpoint
  std::thread loop_;
};

}  // namespace terrane::replication
