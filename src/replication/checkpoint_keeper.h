// The checkpoint that this replica has for its peers.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "common/clock.h"
#include "replication/transport.h"

namespace terrane::replication {

// Keeps the latest one while it is read, and for a while after, so that a stream that broke can go on with it. Its
// directory goes away with the last reference. Thread-safe.
class CheckpointKeeper : public std::enable_shared_from_this<CheckpointKeeper> {
 public:
  CheckpointKeeper(Clock* clock, std::chrono::milliseconds keep) : clock_(clock), keep_(keep) {}

  // From now on this one.
  void Keep(std::shared_ptr<const Checkpoint> checkpoint);
  // The one that is kept, if it is at `at_least` or later; to be read. nullptr: there is none.
  std::shared_ptr<const Checkpoint> Lend(Position at_least);
  // The same if it has this id.
  std::shared_ptr<const Checkpoint> Lend(Position at_least, const std::string& id);
  // Gives up the one that nobody has read for the while; to be let go where it may block on the disk. nullptr: none.
  std::shared_ptr<const Checkpoint> Expired();
  // Keeps nothing any more; the clock is not looked at from now on.
  void Close();

 private:
  struct Kept {
    std::shared_ptr<const Checkpoint> checkpoint;
    int readers = 0;
    MonotonicTime until{0};  // while there are no readers
  };
  void Returned(Kept* kept);

  Clock* const clock_;
  const std::chrono::milliseconds keep_;
  std::mutex mutex_;
  std::shared_ptr<Kept> kept_;
  bool closed_ = false;
};

}  // namespace terrane::replication
