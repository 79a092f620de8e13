#include "storage/copy_references.h"

#include <algorithm>

#include "common/status.h"

namespace terrane::storage {

CopyReferences::CopyReferences(std::shared_ptr<CopyReferenceTable> table, std::span<const CopyId> copies)
    : table_(std::move(table)), copies_(copies.begin(), copies.end()) {}

CopyReferences::CopyReferences(CopyReferences&& other) noexcept
    : table_(std::move(other.table_)), copies_(std::move(other.copies_)) {
  other.copies_.clear();
}

CopyReferences& CopyReferences::operator=(CopyReferences&& other) noexcept {
  if (this != &other) {
    Release();
    table_ = std::move(other.table_);
    copies_ = std::move(other.copies_);
    other.copies_.clear();
  }
  return *this;
}

CopyReferences::~CopyReferences() {
  Release();
}

void CopyReferences::Release() {
  if (table_ != nullptr && !copies_.empty()) table_->Release(copies_);
  copies_.clear();
  table_.reset();
}

bool CopyReferences::Holds(CopyId copy) const {
  return std::find(copies_.begin(), copies_.end(), copy) != copies_.end();
}

absl::StatusOr<CopyReferences> CopyReferenceTable::Take(std::span<const CopyId> copies) {
  std::lock_guard lock(mutex_);
  for (CopyId copy : copies) {
    if (closed_.contains(copy)) return NotFound("copy ", copy.value(), " is being dropped");
  }
  for (CopyId copy : copies) ++counts_[copy];
  return CopyReferences(shared_from_this(), copies);
}

void CopyReferenceTable::Release(std::span<const CopyId> copies) {
  bool freed = false;
  {
    std::lock_guard lock(mutex_);
    for (CopyId copy : copies) {
      auto it = counts_.find(copy);
      if (--it->second > 0) continue;
      counts_.erase(it);
      freed = freed || closed_.contains(copy);
    }
  }
  if (!freed) return;
  std::lock_guard lock(notify_mutex_);
  if (on_free_) on_free_();
}

void CopyReferenceTable::Close(CopyId copy) {
  std::lock_guard lock(mutex_);
  closed_.insert(copy);
}

void CopyReferenceTable::Reopen(CopyId copy) {
  std::lock_guard lock(mutex_);
  closed_.erase(copy);
}

void CopyReferenceTable::ReopenAll() {
  std::lock_guard lock(mutex_);
  closed_.clear();
}

bool CopyReferenceTable::Free(CopyId copy) const {
  std::lock_guard lock(mutex_);
  return !counts_.contains(copy);
}

void CopyReferenceTable::Detach() {
  std::lock_guard lock(notify_mutex_);
  on_free_ = nullptr;
}

}  // namespace terrane::storage
