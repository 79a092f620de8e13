#include <thread>

#include "replication/file_system.h"

namespace terrane::replication {
namespace {

class SlowSyncFile : public File {
 public:
  SlowSyncFile(std::unique_ptr<File> base, std::chrono::microseconds delay) : base_(std::move(base)), delay_(delay) {}

  absl::Status Write(uint64_t offset, std::string_view bytes) override { return base_->Write(offset, bytes); }
  absl::StatusOr<std::string> Read(uint64_t offset, size_t size) override { return base_->Read(offset, size); }
  absl::StatusOr<uint64_t> Size() override { return base_->Size(); }
  absl::Status Sync() override {
    std::this_thread::sleep_for(delay_);  // the point of the class
    return base_->Sync();
  }

 private:
  const std::unique_ptr<File> base_;
  const std::chrono::microseconds delay_;
};

class SlowSyncFileSystem : public FileSystem {
 public:
  SlowSyncFileSystem(FileSystem* base, std::chrono::microseconds delay) : base_(base), delay_(delay) {}

  absl::StatusOr<std::unique_ptr<File>> Open(const Path& path, OpenMode mode) override {
    auto file = base_->Open(path, mode);
    if (!file.ok()) return file;
    return std::make_unique<SlowSyncFile>(*std::move(file), delay_);
  }
  absl::Status CreateDirectories(const Path& path) override { return base_->CreateDirectories(path); }
  absl::StatusOr<std::vector<std::string>> List(const Path& directory) override { return base_->List(directory); }
  bool Exists(const Path& path) override { return base_->Exists(path); }
  absl::Status Remove(const Path& path) override { return base_->Remove(path); }
  absl::Status RemoveAll(const Path& path) override { return base_->RemoveAll(path); }
  absl::Status Rename(const Path& from, const Path& to) override { return base_->Rename(from, to); }
  absl::Status SyncDirectory(const Path& directory) override { return base_->SyncDirectory(directory); }
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const Path& path) override { return base_->Lock(path); }

 private:
  FileSystem* const base_;
  const std::chrono::microseconds delay_;
};

}  // namespace

std::unique_ptr<FileSystem> MakeSlowSyncFileSystem(FileSystem* base, std::chrono::microseconds delay) {
  return std::make_unique<SlowSyncFileSystem>(base, delay);
}

}  // namespace terrane::replication
