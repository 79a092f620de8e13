// Writes that were answered before they are applied (Durability LEADER), and who must not overtake them.
//
// A client that has its answer expects to find what it wrote. Its document is latched until the entry is applied, so
// other writes wait by themselves; a read, or a write that looks for its documents, waits here.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>

namespace terrane::shard {

// Thread-safe; does not block.
class EarlyWrites {
 public:
  // A write is about to be answered early. Returns its ticket; they grow in the order of the log, if this is called in
  // that order.
  uint64_t Begin();
  // It is applied by now, or this replica cannot tell, because it does not lead any more.
  void End(uint64_t ticket);

  // Whether one is under way that was answered before this call. Cheap.
  bool Any() const { return open_count_.load(std::memory_order_acquire) > 0; }
  // Calls `then` once all have ended that began before this call: at once, or within the End of the last of them.
  void WhenEnded(std::function<void()> then);

 private:
  std::atomic<uint64_t> open_count_{0};
  std::mutex mutex_;
  uint64_t last_ = 0;
  std::set<uint64_t> open_;
  std::multimap<uint64_t, std::function<void()>> waiting_;  // by the last ticket that they wait for; it is open
};

}  // namespace terrane::shard
