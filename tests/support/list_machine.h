// A state machine that remembers the list of all entries, and a disk of its own that loses what was not made durable.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "replication/file_system.h"
#include "replication/state_machine.h"

namespace terrane::testing {

// Lives longer than the log: it is also its own disk. Readers may call from any thread.
class ListMachine : public replication::StateMachine {
 public:
  explicit ListMachine(replication::FileSystem* file_system) : file_system_(file_system) {}

  // The process ended: everything applied is in the operating system. REQUIRES: no log uses it.
  // The power went: an arbitrary prefix survives that holds all that was made durable.
  void PowerCut(std::mt19937_64* random);

  std::vector<std::string> Data() const;  // data of all entries that are not internal, in order
  Position Applied() const;
  std::optional<Term> Leads() const;  // between OnLeaderStart and OnLeaderStop
  int leader_starts() const;
  int installs() const;
  uint64_t batches() const;
  void FailApply(absl::Status status);  // the next Apply fails
  // An entry with this data cannot be applied here: Apply stops before it and asks for a checkpoint. Empty: none.
  void Lack(std::string data);
  // Blocks Apply while true.
  void Hold(bool hold);
  void SetApplied(Position position);  // planted: a disk that does not belong to the log

  Position AppliedPosition() override;
  absl::Status Apply(std::span<const replication::CommittedEntry> batch,
                     std::span<replication::ApplyResult> results) override;
  absl::StatusOr<Position> MakeDurable() override;
  absl::Status TakeCheckpoint(const std::filesystem::path& directory) override;
  absl::Status InstallCheckpoint(const std::filesystem::path& directory) override;
  void OnLeaderStart(Term term) override;
  void OnLeaderStop(Term term) override;

 private:
  struct Item {
    Term term;
    bool internal = false;
    std::string data;
  };
  replication::FileSystem* const file_system_;
  mutable std::mutex mutex_;
  std::condition_variable released_;
  std::vector<Item> items_;  // entry at position i + 1
  size_t durable_ = 0;       // of items_
  std::optional<Term> leads_;
  int leader_starts_ = 0;
  int installs_ = 0;
  uint64_t batches_ = 0;
  absl::Status fail_;
  std::string lacking_;
  bool hold_ = false;
};

}  // namespace terrane::testing
