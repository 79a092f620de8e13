// Drives the import of one copy on the leader of the target shard: segments, then the tail; verification and K between
// the batches of the tail. Everything that counts stands in the shard's log and state, so a new leader's driver goes on
// from the record.
//
//   copying: SegmentPipeline fetches and builds, this thread proposes IngestSegment
//   tailing: ImportTail, one batch in flight
//   tasks:   what others want to have done between two batches (verification, repairs, K)
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shard/import_host.h"
#include "shard/import_segments.h"
#include "shard/import_source.h"
#include "shard/import_tail.h"
#include "shard/verify_driver.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::shard {

// Thread-safe; the thread inside does the work.
class ImportDriver {
 public:
  struct Options {
    int64_t segment_bytes = 32 << 20;
    int64_t verify_range_bytes = 8 << 20;
    std::chrono::milliseconds poll_wait{500};
    // Ingestion waits for compaction above so many files at level 0 (trap T38).
    uint64_t level0_limit = 12;
    // How long segments and batches make way for the switch of another chunk of this shard. Bounded, because a fence
    // may stand for as long as the metadata service is away.
    std::chrono::milliseconds give_way{2000};
  };

  // `completing` is shared by the imports of a shard.
  ImportDriver(ImportHost host, std::unique_ptr<ImportSource> source, CopyId copy, const MoveRef& move,
               const Options& options, std::shared_ptr<std::atomic<int>> completing);
  // Waits for the entry under way.
  ~ImportDriver();

  // Never blocks: the thread ends soon.
  void BeginStop();
  // The same if it works for this attempt, or an older one, of this migration; else false.
  bool BeginStopOf(const MoveRef& move);
  // The thread has ended, so that the destructor does not wait.
  bool ended() const;

  // What the coordinator says now; a greater attempt goes on with the same copy.
  void Renew(const MoveRef& move, std::vector<std::string> endpoints);
  terrane::v1::ImportStatus Status() const;

  // Starts the verification if there is none of this attempt, or again with `restart`; says how it goes.
  terrane::v1::VerifyStatus Verify(bool restart);

  // Up to F, then K; blocks. Repeating is harmless.
  absl::StatusOr<EntryResult> Complete(const terrane::v1::CompleteStep& step, std::chrono::nanoseconds timeout);

 private:
  struct Task {
    std::function<absl::Status(ImportTail&)> run;
    std::function<void(absl::Status)> done;
  };

  void Run();
  absl::Status Step(const MoveRef& move);
  absl::Status Copy(const OwnedChunk& chunk);
  absl::Status IngestSegment(const ReadySegment& segment, const MoveRef& move);
  absl::Status WaitForCompaction();
  // From F to the commit of another chunk's switch nothing of this import goes into the log: K, or a refused write's
  // answer, would wait behind it.
  absl::Status GiveWay();
  // Runs what waits; true if there was anything.
  bool RunTasks();
  void FailTasks(const absl::Status& status);
  void Post(std::function<absl::Status(ImportTail&)> run, std::function<void(absl::Status)> done);
  // Until something is to be done or the time is over; false: stopping.
  bool Rest(std::chrono::milliseconds time);
  // Under mutex_.
  void SetError(const absl::Status& status);
  // Until another attempt than `move`, or a task; false: stopping.
  bool AwaitOther(const MoveRef& move);
  // Whether the record still asks for this import by this attempt.
  absl::Status Wanted(const MoveRef& move) const;
  MoveRef Move() const;

  const ImportHost host_;
  const std::unique_ptr<ImportSource> source_;
  const CopyId copy_;
  const Options options_;
  const std::shared_ptr<std::atomic<int>> completing_;  // calls of Complete in this shard

  // Thread only.
  ImportTail tail_;
  bool tail_valid_ = false;
  MoveRef tail_move_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  MoveRef move_;
  bool stopping_ = false;
  bool ended_ = false;
  std::deque<Task> tasks_;
  SegmentPipeline* pipeline_ = nullptr;  // while copying
  terrane::v1::ImportStatus status_;     // what the record does not say
  std::unique_ptr<VerifyRun> verify_;
  std::mutex verify_start_;  // one caller of Verify; taken before mutex_
  std::thread thread_;
};

}  // namespace terrane::shard
