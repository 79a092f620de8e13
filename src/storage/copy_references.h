// Internal: who reads which copy, and which copies wait to be dropped.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include "absl/status/statusor.h"
#include "common/ids.h"
#include "storage/read_view.h"

namespace terrane::storage {

// Thread-safe.
class CopyReferenceTable : public std::enable_shared_from_this<CopyReferenceTable> {
 public:
  // `on_free` is called, without a lock, when the last reference to a closed copy is gone.
  explicit CopyReferenceTable(std::function<void()> on_free) : on_free_(std::move(on_free)) {}

  absl::StatusOr<CopyReferences> Take(std::span<const CopyId> copies);
  void Release(std::span<const CopyId> copies);

  // No new reference from now on.
  void Close(CopyId copy);
  void Reopen(CopyId copy);
  void ReopenAll();
  bool Free(CopyId copy) const;
  // No call of on_free is under way or will come.
  void Detach();

 private:
  // Held during a call of on_free; taken before mutex_.
  std::mutex notify_mutex_;
  std::function<void()> on_free_;

  mutable std::mutex mutex_;
  std::unordered_map<CopyId, size_t> counts_;
  std::unordered_set<CopyId> closed_;
};

}  // namespace terrane::storage
