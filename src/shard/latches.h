// Latches: one write at a time computes the new state of a document.
//
// A latch is taken before the document is read and held until the entry that changes it is applied, so the next one
// reads what this one has written. Who has to wait leaves a continuation, not a thread.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/executor.h"
#include "common/ids.h"

namespace terrane::shard {

// Names of latches. Deadlock cannot be: all of one Acquire are taken in ascending order, and of the others, which stand
// for the choice of a document that is not named yet, one is taken with nothing held.
std::string DocumentLatch(CopyId copy, std::string_view shard_key, std::string_view id);
std::string SelectionLatch(CopyId copy, std::string_view shard_key);
std::string StatementLatch(CopyId copy, std::string_view session, int64_t statement);

// Thread-safe.
class Latches {
 public:
  // `executor` runs those that had to wait; outlives it, and so do all holds' owners.
  explicit Latches(Executor* executor) : executor_(executor) {}

  // Releases when it is destroyed or assigned to; any thread, never blocks.
  class Hold {
   public:
    Hold() = default;
    Hold(Latches* latches, std::vector<std::string> names) : latches_(latches), names_(std::move(names)) {}
    Hold(Hold&& other) noexcept : latches_(other.latches_), names_(std::move(other.names_)) {
      other.latches_ = nullptr;
    }
    Hold& operator=(Hold&& other) noexcept;
    ~Hold() { Release(); }
    void Release();

   private:
    Latches* latches_ = nullptr;
    std::vector<std::string> names_;
  };

  // Calls `then` when all are held: at once, on this thread, if they are free; else on the executor, or, if that takes
  // nothing any more, on a thread that releases. Names may be in any order and repeat.
  void Acquire(std::vector<std::string> names, std::function<void(Hold)> then);

  // How many operations wait.
  size_t waiting() const;

 private:
  struct Request {
    std::vector<std::string> names;  // ascending
    size_t held = 0;
    std::function<void(Hold)> then;
  };
  struct Stripe {
    mutable std::mutex mutex;
    std::unordered_map<std::string, std::deque<std::shared_ptr<Request>>> held;  // and who waits for it
  };

  Stripe& StripeOf(const std::string& name) { return stripes_[std::hash<std::string>()(name) % stripes_.size()]; }
  void Advance(const std::shared_ptr<Request>& request);
  void Release(const std::vector<std::string>& names);
  // Goes on with one that had to wait, on this thread.
  void AdvanceHere(std::shared_ptr<Request> request);

  Executor* const executor_;
  std::array<Stripe, 16> stripes_;
};

}  // namespace terrane::shard
