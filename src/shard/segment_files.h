// The segment files of this replica: held for the leader before their entry is proposed, fetched when an entry names
// one that is missing, kept for peers, tidied away.
//
// An IngestSegment entry names files. Before it is proposed a majority of the voters holds them synced, so that whoever
// leads later can apply it (trap T60). A file goes when every replica has applied its entry, or when the entry is no
// longer in this replica's log: who may send the entry has its files. That a file is gone too early costs the replica
// that lacks it a checkpoint, never data.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/executor.h"
#include "shard/ownership.h"
#include "shard/peer_replicas.h"
#include "storage/store.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::shard {

// Thread-safe.
class SegmentFiles {
 public:
  struct Options {
    storage::Store* store = nullptr;                              // outlives it
    std::unique_ptr<PeerReplicas> peers;                          // null: a shard of one
    std::function<std::string()> endpoint;                        // own, where peers fetch from
    std::function<std::shared_ptr<const Ownership>()> ownership;  // as last published
    std::function<Position()> log_first;                          // first position in the own log
    // An entry cannot be applied here for now: if this replica was elected, it hands on. May be null.
    std::function<void()> hand_on;
    std::chrono::milliseconds hold_timeout{10000};  // for a majority
    // Peers that do not answer are waited for so long, while those that do have not got the file.
    std::chrono::milliseconds patience{3000};
    std::chrono::milliseconds pause{50};  // between two rounds
  };
  explicit SegmentFiles(Options options);
  ~SegmentFiles();  // Stop() first

  // On the leader, before an entry that names the files: returns when a majority of the voters, this one included,
  // holds them synced. The others go on meanwhile. Blocks. kUnavailable: no majority in time, kCancelled: by
  // `cancelled`, which is looked at now and then, or by Stop.
  absl::Status HoldOnMajority(const MoveRef& move, CopyId copy, std::span<const storage::SegmentFile> files,
                              const std::function<bool()>& cancelled);

  // On a follower, for the leader: fetches what is missing. Blocks. STALE_ATTEMPT for a move that has ended here,
  // kResourceExhausted below the disk's reserve.
  absl::StatusOr<terrane::v1::HoldSegmentResponse> Hold(const terrane::v1::HoldSegmentRequest& request);

  // On the apply thread, before the files of an entry are ingested: OK when all are here, or when there is nobody to
  // ask. Does not keep the disk's reserve: what is committed is applied. Blocks until then, or
  //   kCancelled   by Stop
  //   kNotFound    nobody who answers has them (any more): this replica needs a checkpoint
  absl::Status Provide(CopyId copy, std::span<const storage::SegmentFile> files);

  // Gives the bytes of a file from `offset` on to `emit`, until it returns false (kCancelled). kNotFound.
  absl::Status Read(CopyId copy, const std::string& name, int64_t offset,
                    const std::function<bool(std::string)>& emit) const;

  // Removes what nobody needs any more. Now and then, on a thread that may block on peers and the disk.
  void Tidy();

  // Ends what blocks, now and in future. Idempotent; does not wait for it.
  void Stop();

 private:
  struct Holding;  // of one HoldOnMajority

  void AskToHold(const std::shared_ptr<Holding>& holding, const PeerReplica& peer, size_t index);
  // Fetches one file if it is not here; kNotFound when each of the peers says so, else what went wrong last. Adds the
  // bytes that came.
  absl::Status Obtain(CopyId copy, const storage::SegmentFile& file, std::span<const PeerReplica> peers,
                      int64_t* fetched);
  absl::Status FetchFrom(std::span<const PeerReplica> peers, CopyId copy, const storage::SegmentFile& file);
  // The greatest position that every other replica has applied; 0 if one of them does not answer.
  Position AppliedByAll();
  bool Stopped() const;
  // False: stopped meanwhile.
  bool Rest(std::chrono::milliseconds time);

  const Options options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;
  std::set<std::string> fetching_;            // names; by one thread each
  std::multiset<std::string> asked_to_hold_;  // endpoints, one for each call under way
  std::unique_ptr<Executor> holders_;         // calls of HoldSegment; last, so that it ends first
};

// Whether a segment file that was never ingested is of no use any more, as this ownership knows: its copy is not being
// imported (any more), or its attempt has ended. What is unknown is kept: it may be ahead of this replica. Pure.
bool IsGarbage(const Ownership& ownership, std::string_view file_name);

}  // namespace terrane::shard
