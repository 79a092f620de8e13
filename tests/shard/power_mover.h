// The coordinator of a power cut run: moves the only chunk to and fro between two shards. Its record, like the metadata
// service's, is not lost.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <random>

#include "power_world.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::shard {

inline constexpr CollectionId kMovedCollection(3);

// One thread runs it; owner() may be called by any.
class PowerMover {
 public:
  struct Owner {
    PowerShard* shard = nullptr;
    terrane::v1::Route route;
  };

  PowerMover(uint64_t seed, PowerWorld* world);

  // Makes the chunk on the first shard; false: it was refused.
  bool CreateChunk();
  // Moves until the gate is closed for good; a move that was begun is brought to its end.
  void Run();

  // By the record.
  Owner owner() const;

  int committed() const { return committed_; }
  int aborted() const { return aborted_; }
  int attempts_ended() const { return attempts_ended_; }

 private:
  // Each returns false when the run is over or something was found.
  bool Move();
  bool PinAndPrepare();
  bool Copy();
  bool Verify();
  bool Fence();
  bool Complete(bool* give_up);
  bool FenceReads();
  bool TellOwner();
  bool Clean();
  bool EndAttempt();
  bool Abort();

  // Repeats until it is answered; nullopt: the run is over, or it was refused.
  std::optional<EntryResult> Log(PowerShard* shard, const std::function<void(terrane::v1::ShardEntry*)>& fill);
  bool SendEndAttempt(bool abort);
  bool Drop(PowerShard* shard, CopyId copy);
  void Enter(MoveStage stage);
  bool Chance(int percent) { return random_() % 100 < static_cast<uint64_t>(percent); }
  PowerShard* source() const { return world_->shards[source_]; }
  PowerShard* target() const { return world_->shards[1 - source_]; }
  template <typename Entry>
  void SetMove(Entry* entry) const;
  template <typename Entry>
  void SetChunk(Entry* entry, CopyId copy) const;

  PowerWorld* const world_;
  std::mt19937_64 random_;

  // The record.
  mutable std::mutex mutex_;
  size_t owner_ = 0;  // index of the shard
  CopyId owner_copy_{10};
  Token token_{5};

  // The move that is under way.
  size_t source_ = 0;
  CopyId source_copy_{10};
  CopyId target_copy_{10};
  uint64_t migration_ = 0;
  uint32_t attempt_ = 1;
  Position pin_;
  std::optional<EntryResult> fence_;
  std::optional<EntryResult> complete_;

  std::atomic<int> committed_{0};
  std::atomic<int> aborted_{0};
  std::atomic<int> attempts_ended_{0};
};

}  // namespace terrane::shard
