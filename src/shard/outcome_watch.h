// Asks the metadata service what became of a switch, when nobody comes to tell: the coordinator may be gone for long.
//
// A fenced source opens its fence only on the record of the end of this very attempt, and releases the chunk only on
// the record of its commit. "Not found", "still fencing" and silence keep the fence closed, and no timer opens it
// (traps T07, T08, T64).
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "shard/core.h"
#include "shard/metadata_link.h"
#include "shard/ownership.h"
#include "terrane/v1/metadata.pb.h"

namespace terrane::shard {

// The entry that the record calls for, or nothing. Pure.
std::optional<terrane::v1::ShardEntry> EntryForOutcome(const OwnedChunk& chunk,
                                                       const terrane::v1::GetMigrationResponse& answer);

class OutcomeWatch {
 public:
  struct Options {
    std::chrono::milliseconds tick{500};
    // A switch lasts some milliseconds; one that has stood for so long may have lost its coordinator.
    std::chrono::milliseconds patience{500};
  };

  OutcomeWatch(const Core* core, MetadataLink* metadata, Options options);
  OutcomeWatch(const Core* core, MetadataLink* metadata) : OutcomeWatch(core, metadata, Options()) {}
  ~OutcomeWatch() { Stop(); }

  // Somebody has reason to believe that there is news: ask at once. Thread-safe, does not block.
  void Poke();
  // Cancels the metadata link's calls and joins. Idempotent.
  void Stop();

 private:
  void Run();
  void AskAll(bool poked);
  void Ask(const OwnedChunk& chunk);

  const Core* const core_;
  MetadataLink* const metadata_;
  const Options options_;
  // When each undecided chunk was first seen so; only Run().
  std::map<std::pair<MigrationId, CopyId>, MonotonicTime> undecided_since_;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool poked_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace terrane::shard
