#include "replication/segment_allocator.h"

#include <algorithm>
#include <string>

#include "common/status.h"
#include "replication/log_recovery.h"

namespace terrane::replication {

SegmentAllocator::SegmentAllocator(FileSystem* file_system, std::filesystem::path directory)
    : file_system_(file_system), directory_(std::move(directory)), thread_([this] { Run(); }) {}

SegmentAllocator::~SegmentAllocator() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void SegmentAllocator::Prepare(uint64_t id, uint64_t bytes) {
  {
    std::lock_guard lock(mutex_);
    if (spare_) return;
    spare_ = Spare{id, bytes};
  }
  changed_.notify_all();
}

void SegmentAllocator::Adopt(uint64_t id, uint64_t bytes) {
  std::lock_guard lock(mutex_);
  spare_ = Spare{id, bytes, true, absl::OkStatus()};
}

absl::StatusOr<uint64_t> SegmentAllocator::Take(uint64_t id, uint64_t bytes) {
  std::optional<Spare> spare;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !spare_ || spare_->ready; });
    spare.swap(spare_);
  }
  if (spare)
    TERRANE_RETURN_IF_ERROR(spare->status);  // also of a file that is not wanted: a disk that fails is left alone
  if (spare && spare->id == id && spare->bytes >= bytes) return spare->bytes;
  TERRANE_RETURN_IF_ERROR(Make(id, bytes));
  return bytes;
}

absl::Status SegmentAllocator::Make(uint64_t id, uint64_t bytes) {
  const std::filesystem::path path = directory_ / SegmentFileName(id);
  std::filesystem::path temporary = path;
  temporary += ".new";
  {
    TERRANE_ASSIGN_OR_RETURN(auto file, file_system_->Open(temporary, OpenMode::kCreate));
    const std::string zeros(std::min<uint64_t>(bytes, 1 << 20), '\0');
    for (uint64_t at = 0; at < bytes;) {
      const uint64_t n = std::min<uint64_t>(zeros.size(), bytes - at);
      TERRANE_RETURN_IF_ERROR(file->Write(at, std::string_view(zeros).substr(0, n)));
      at += n;
    }
    TERRANE_RETURN_IF_ERROR(file->Sync());
  }
  TERRANE_RETURN_IF_ERROR(file_system_->Rename(temporary, path));
  return file_system_->SyncDirectory(directory_);
}

void SegmentAllocator::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stop_ || (spare_ && !spare_->ready); });
    if (stop_) return;
    const uint64_t id = spare_->id;
    const uint64_t bytes = spare_->bytes;
    lock.unlock();
    absl::Status status = Make(id, bytes);
    lock.lock();
    spare_->status = status;
    spare_->ready = true;
    changed_.notify_all();
  }
}

}  // namespace terrane::replication
