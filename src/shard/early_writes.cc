#include "shard/early_writes.h"

#include <utility>
#include <vector>

namespace terrane::shard {

uint64_t EarlyWrites::Begin() {
  std::lock_guard lock(mutex_);
  open_.insert(++last_);
  open_count_.store(open_.size(), std::memory_order_release);
  return last_;
}

void EarlyWrites::End(uint64_t ticket) {
  std::vector<std::function<void()>> due;
  {
    std::lock_guard lock(mutex_);
    open_.erase(ticket);
    open_count_.store(open_.size(), std::memory_order_release);
    const auto end = open_.empty() ? waiting_.end() : waiting_.lower_bound(*open_.begin());
    for (auto it = waiting_.begin(); it != end; ++it) due.push_back(std::move(it->second));
    waiting_.erase(waiting_.begin(), end);
  }
  for (const auto& then : due) then();
}

void EarlyWrites::WhenEnded(std::function<void()> then) {
  {
    std::lock_guard lock(mutex_);
    if (!open_.empty()) {
      waiting_.emplace(*open_.rbegin(), std::move(then));
      return;
    }
  }
  then();
}

}  // namespace terrane::shard
