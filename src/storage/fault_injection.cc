#include "storage/fault_injection.h"

#include <rocksdb/file_system.h>
#include <sys/stat.h>

#include <cerrno>
#include <thread>

#include "storage/fault_disk.h"
#include "storage/fault_env.h"

namespace terrane::storage {
namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

IOStatus Full(const std::string& path) {
  return IOStatus::NoSpace("injected", path);
}

uint64_t SizeOf(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

class File : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  File(std::unique_ptr<rocksdb::FSWritableFile> target, std::string path, std::shared_ptr<FaultDisk> disk,
       uint64_t size)
      : FSWritableFileOwnerWrapper(std::move(target)), path_(std::move(path)), disk_(std::move(disk)), size_(size) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    const FaultDisk::Operation operation = disk_->Begin();
    if (!operation) return Full(path_);
    Appended(data.size());
    return FSWritableFileOwnerWrapper::Append(data, options, debug);
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo& info,
                  IODebugContext* debug) override {
    const FaultDisk::Operation operation = disk_->Begin();
    if (!operation) return Full(path_);
    Appended(data.size());
    return FSWritableFileOwnerWrapper::Append(data, options, info, debug);
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    const FaultDisk::Operation operation = disk_->Begin();
    if (!operation) return Full(path_);
    size_ = size;
    return FSWritableFileOwnerWrapper::Truncate(size, options, debug);
  }
  // Space is not asked for in advance where speed is wanted.
  void PrepareWrite(size_t offset, size_t bytes, const IOOptions& options, IODebugContext* debug) override {
    if (disk_->real_syncs) FSWritableFileOwnerWrapper::PrepareWrite(offset, bytes, options, debug);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return Synced([&] { return FSWritableFileOwnerWrapper::Sync(options, debug); },
                  [&] { return FSWritableFileOwnerWrapper::Flush(options, debug); });
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Synced([&] { return FSWritableFileOwnerWrapper::Fsync(options, debug); },
                  [&] { return FSWritableFileOwnerWrapper::Flush(options, debug); });
  }

 private:
  void Appended(uint64_t bytes) {
    size_ += bytes;
    disk_->bytes += bytes;
  }
  template <typename Sync, typename Flush>
  IOStatus Synced(const Sync& sync, const Flush& flush) {
    const FaultDisk::Operation operation = disk_->Begin();
    if (!operation) return Full(path_);
    ++disk_->syncs;
    if (auto delay = disk_->delay_us.load(); delay > 0) std::this_thread::sleep_for(std::chrono::microseconds(delay));
    if (disk_->SkipsSync(path_)) return flush();
    // What is appended while the sync runs is not in it.
    const uint64_t size = size_;
    IOStatus status = disk_->real_syncs ? sync() : flush();
    if (status.ok()) disk_->Synced(path_, size);
    return status;
  }

  const std::string path_;
  const std::shared_ptr<FaultDisk> disk_;
  std::atomic<uint64_t> size_;
};

class Directory : public rocksdb::FSDirectoryWrapper {
 public:
  Directory(std::unique_ptr<rocksdb::FSDirectory> target, std::string path, std::shared_ptr<FaultDisk> disk)
      : FSDirectoryWrapper(std::move(target)), path_(std::move(path)), disk_(std::move(disk)) {
    while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Synced([&] { return FSDirectoryWrapper::Fsync(options, debug); });
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug,
                               const rocksdb::DirFsyncOptions& directory) override {
    return Synced([&] { return FSDirectoryWrapper::FsyncWithDirOptions(options, debug, directory); });
  }

 private:
  template <typename Sync>
  IOStatus Synced(const Sync& sync) {
    const FaultDisk::Operation operation = disk_->Begin();
    if (!operation) return Full(path_);
    IOStatus status = disk_->real_syncs ? sync() : IOStatus::OK();
    if (status.ok()) disk_->DirectorySynced(path_);
    return status;
  }

  std::string path_;
  const std::shared_ptr<FaultDisk> disk_;
};

class FaultyFileSystem : public rocksdb::FileSystemWrapper {
 public:
  explicit FaultyFileSystem(std::shared_ptr<FaultDisk> disk)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), disk_(std::move(disk)) {}
  const char* Name() const override { return "TerraneFaults"; }

  IOStatus NewWritableFile(const std::string& path, const FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* result, IODebugContext* debug) override {
    const FaultDisk::Operation operation = disk_->Begin();
    if (!operation) return Full(path);
    IOStatus status = FileSystemWrapper::NewWritableFile(path, options, result, debug);
    if (status.ok()) disk_->Created(path);
    return Wrap(path, 0, result, std::move(status));
  }
  IOStatus ReopenWritableFile(const std::string& path, const FileOptions& options,
                              std::unique_ptr<rocksdb::FSWritableFile>* result, IODebugContext* debug) override {
    const FaultDisk::Operation operation = disk_->Begin();
    if (!operation) return Full(path);
    IOStatus status = FileSystemWrapper::ReopenWritableFile(path, options, result, debug);
    const uint64_t size = SizeOf(path);
    if (status.ok()) disk_->Opened(path, size);
    return Wrap(path, size, result, std::move(status));
  }
  // A log file that is used again: as if it were new.
  IOStatus ReuseWritableFile(const std::string& path, const std::string& old, const FileOptions& options,
                             std::unique_ptr<rocksdb::FSWritableFile>* result, IODebugContext* debug) override {
    IOStatus status = DeleteFile(old, IOOptions(), debug);
    return status.ok() ? NewWritableFile(path, options, result, debug) : status;
  }
  IOStatus NewDirectory(const std::string& path, const IOOptions& options,
                        std::unique_ptr<rocksdb::FSDirectory>* result, IODebugContext* debug) override {
    IOStatus status = FileSystemWrapper::NewDirectory(path, options, result, debug);
    if (status.ok()) *result = std::make_unique<Directory>(std::move(*result), path, disk_);
    return status;
  }
  IOStatus DeleteFile(const std::string& path, const IOOptions&, IODebugContext*) override {
    const FaultDisk::Operation operation = disk_->Begin();
    if (!operation) return Full(path);
    return disk_->Remove(path) ? IOStatus::OK() : Failed("removing", path);
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions&, IODebugContext*) override {
    const FaultDisk::Operation operation = disk_->Begin();
    if (!operation) return Full(from);
    return disk_->Rename(from, to) ? IOStatus::OK() : Failed("renaming", from);
  }
  IOStatus LinkFile(const std::string& from, const std::string& to, const IOOptions& options,
                    IODebugContext* debug) override {
    const FaultDisk::Operation operation = disk_->Begin();
    if (!operation) return Full(from);
    IOStatus status = FileSystemWrapper::LinkFile(from, to, options, debug);
    if (status.ok()) disk_->Linked(from, to);
    return status;
  }

 private:
  static IOStatus Failed(const char* what, const std::string& path) {
    if (errno == ENOENT) return IOStatus::PathNotFound(what, path);
    return IOStatus::IOError(what, path);
  }
  IOStatus Wrap(const std::string& path, uint64_t size, std::unique_ptr<rocksdb::FSWritableFile>* result,
                IOStatus status) {
    if (status.ok()) *result = std::make_unique<File>(std::move(*result), path, disk_, size);
    return status;
  }

  const std::shared_ptr<FaultDisk> disk_;
};

class FaultInjectionImpl : public FaultInjection {
 public:
  FaultInjectionImpl()
      : disk_(std::make_shared<FaultDisk>()),
        env_(rocksdb::NewCompositeEnv(std::make_shared<FaultyFileSystem>(disk_))) {}

  rocksdb::Env* env() override { return env_.get(); }
  void SetSyncDelay(std::chrono::microseconds delay) override { disk_->delay_us = delay.count(); }
  void FailWrites(bool fail) override { disk_->fail = fail; }
  void PowerCut(uint64_t seed) override { disk_->Cut(seed); }
  absl::Status Restore() override { return disk_->Restore(); }
  void SetOperationHook(std::function<void()> hook) override { disk_->hook = std::move(hook); }
  void SetRealSyncs(bool real) override { disk_->real_syncs = real; }
  void IgnoreSyncsOf(std::string suffix) override { disk_->IgnoreSyncsOf(std::move(suffix)); }
  uint64_t Syncs() const override { return disk_->syncs; }
  uint64_t BytesWritten() const override { return disk_->bytes; }

 private:
  std::shared_ptr<FaultDisk> disk_;
  std::unique_ptr<rocksdb::Env> env_;
};

}  // namespace

std::shared_ptr<FaultInjection> FaultInjection::Create() {
  return std::make_shared<FaultInjectionImpl>();
}

rocksdb::Env* EnvOf(const std::shared_ptr<StoreDisk>& faults) {
  return faults == nullptr ? rocksdb::Env::Default() : faults->env();
}

}  // namespace terrane::storage
