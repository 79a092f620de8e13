#include "storage/fault_injection.h"

#include <fcntl.h>
#include <rocksdb/file_system.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "common/status.h"
#include "storage/fault_env.h"

namespace terrane::storage {
namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

constexpr uint64_t kSector = 512;

// What has happened to the files of one store.
class Disk {
 public:
  struct File {
    uint64_t synced = 0;
    bool name_synced = false;  // the directory was synced since the file was made
  };

  void Created(const std::string& path) {
    std::lock_guard lock(mutex_);
    if (!cut_) files_[path] = File{};
  }
  void Synced(const std::string& path, uint64_t bytes) {
    ++syncs;
    if (auto delay = delay_us.load(); delay > 0) std::this_thread::sleep_for(std::chrono::microseconds(delay));
    std::lock_guard lock(mutex_);
    if (!cut_) files_[path].synced = bytes;
  }
  void DirectorySynced(const std::string& directory) {
    std::lock_guard lock(mutex_);
    if (cut_) return;
    for (auto& [path, file] : files_) {
      if (std::filesystem::path(path).parent_path() == directory) file.name_synced = true;
    }
  }
  // `to` is the same file under another name.
  void Linked(const std::string& from, const std::string& to) {
    std::lock_guard lock(mutex_);
    if (auto it = files_.find(from); !cut_ && it != files_.end()) files_[to] = File{it->second.synced, false};
  }
  void Removed(const std::string& path) {
    std::lock_guard lock(mutex_);
    if (!cut_) files_.erase(path);
  }
  void Renamed(const std::string& from, const std::string& to) {
    std::lock_guard lock(mutex_);
    if (cut_) return;
    std::map<std::string, File> moved;
    for (auto it = files_.begin(); it != files_.end();) {
      if (it->first == from || it->first.starts_with(from + "/")) {
        moved[to + it->first.substr(from.size())] = it->second;
        it = files_.erase(it);
      } else {
        ++it;
      }
    }
    for (auto& [path, file] : moved) files_[path] = file;
  }

  void Cut(uint64_t seed) {
    std::lock_guard lock(mutex_);
    cut_ = true;
    seed_ = seed;
  }
  bool cut() const {
    std::lock_guard lock(mutex_);
    return cut_;
  }

  absl::Status Restore() {
    std::lock_guard lock(mutex_);
    std::mt19937_64 random(seed_);
    for (const auto& [path, file] : files_) {
      struct stat info;
      if (stat(path.c_str(), &info) != 0) continue;
      auto size = static_cast<uint64_t>(info.st_size);
      if (!file.name_synced && file.synced == 0) {
        unlink(path.c_str());
      } else if (size > file.synced) {
        TERRANE_RETURN_IF_ERROR(Forget(path, file.synced, size, &random));
      }
    }
    files_.clear();
    cut_ = false;
    return absl::OkStatus();
  }

  std::atomic<int64_t> delay_us{0};
  std::atomic<bool> fail{false};
  std::atomic<uint64_t> syncs{0};
  std::atomic<uint64_t> bytes{0};

 private:
  absl::Status Forget(const std::string& path, uint64_t synced, uint64_t size, std::mt19937_64* random) const {
    uint64_t keep = synced;
    if (seed_ != 0) keep += (*random)() % (size - synced + 1);
    if (truncate(path.c_str(), static_cast<off_t>(keep)) != 0) return Internal("truncating ", path);
    if (keep == synced) return absl::OkStatus();
    int fd = open(path.c_str(), O_WRONLY);
    if (fd < 0) return Internal("opening ", path);
    const std::string zeros(kSector, '\0');
    for (uint64_t begin = synced; begin < keep;) {
      uint64_t end = std::min(keep, (begin / kSector + 1) * kSector);
      if ((*random)() % 2 == 0 && pwrite(fd, zeros.data(), end - begin, static_cast<off_t>(begin)) < 0) break;
      begin = end;
    }
    close(fd);
    return absl::OkStatus();
  }

  mutable std::mutex mutex_;
  std::map<std::string, File> files_;  // written by this process
  bool cut_ = false;
  uint64_t seed_ = 0;
};

class File : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  File(std::unique_ptr<rocksdb::FSWritableFile> target, std::string path, std::shared_ptr<Disk> disk, uint64_t size)
      : FSWritableFileOwnerWrapper(std::move(target)), path_(std::move(path)), disk_(std::move(disk)), size_(size) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    if (IOStatus status = Check(); !status.ok()) return status;
    size_ += data.size();
    disk_->bytes += data.size();
    return FSWritableFileOwnerWrapper::Append(data, options, debug);
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo& info,
                  IODebugContext* debug) override {
    if (IOStatus status = Check(); !status.ok()) return status;
    size_ += data.size();
    disk_->bytes += data.size();
    return FSWritableFileOwnerWrapper::Append(data, options, info, debug);
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    if (IOStatus status = Check(); !status.ok()) return status;
    size_ = size;
    return FSWritableFileOwnerWrapper::Truncate(size, options, debug);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return Synced([&] { return FSWritableFileOwnerWrapper::Sync(options, debug); });
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Synced([&] { return FSWritableFileOwnerWrapper::Fsync(options, debug); });
  }

 private:
  IOStatus Check() const {
    if (disk_->cut()) return IOStatus::IOError("power cut", path_);
    if (disk_->fail) return IOStatus::NoSpace("injected", path_);
    return IOStatus::OK();
  }
  template <typename Function>
  IOStatus Synced(const Function& sync) {
    if (IOStatus status = Check(); !status.ok()) return status;
    // What is appended while the sync runs is not in it.
    uint64_t size = size_;
    IOStatus status = sync();
    if (status.ok()) disk_->Synced(path_, size);
    return status;
  }

  std::string path_;
  std::shared_ptr<Disk> disk_;
  std::atomic<uint64_t> size_;
};

class Directory : public rocksdb::FSDirectoryWrapper {
 public:
  Directory(std::unique_ptr<rocksdb::FSDirectory> target, std::string path, std::shared_ptr<Disk> disk)
      : FSDirectoryWrapper(std::move(target)), path_(std::move(path)), disk_(std::move(disk)) {
    while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    IOStatus status = FSDirectoryWrapper::Fsync(options, debug);
    if (status.ok()) disk_->DirectorySynced(path_);
    return status;
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug,
                               const rocksdb::DirFsyncOptions& directory) override {
    IOStatus status = FSDirectoryWrapper::FsyncWithDirOptions(options, debug, directory);
    if (status.ok()) disk_->DirectorySynced(path_);
    return status;
  }

 private:
  std::string path_;
  std::shared_ptr<Disk> disk_;
};

class FaultyFileSystem : public rocksdb::FileSystemWrapper {
 public:
  explicit FaultyFileSystem(std::shared_ptr<Disk> disk)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), disk_(std::move(disk)) {}
  const char* Name() const override { return "TerraneFaults"; }

  IOStatus NewWritableFile(const std::string& path, const FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* result, IODebugContext* debug) override {
    if (disk_->cut()) return IOStatus::IOError("power cut", path);
    return Wrap(path, true, result, FileSystemWrapper::NewWritableFile(path, options, result, debug));
  }
  IOStatus ReopenWritableFile(const std::string& path, const FileOptions& options,
                              std::unique_ptr<rocksdb::FSWritableFile>* result, IODebugContext* debug) override {
    return Wrap(path, false, result, FileSystemWrapper::ReopenWritableFile(path, options, result, debug));
  }
  IOStatus ReuseWritableFile(const std::string& path, const std::string& old, const FileOptions& options,
                             std::unique_ptr<rocksdb::FSWritableFile>* result, IODebugContext* debug) override {
    disk_->Renamed(old, path);
    return Wrap(path, false, result, FileSystemWrapper::ReuseWritableFile(path, old, options, result, debug));
  }
  IOStatus NewDirectory(const std::string& path, const IOOptions& options,
                        std::unique_ptr<rocksdb::FSDirectory>* result, IODebugContext* debug) override {
    IOStatus status = FileSystemWrapper::NewDirectory(path, options, result, debug);
    if (status.ok()) *result = std::make_unique<Directory>(std::move(*result), path, disk_);
    return status;
  }
  IOStatus DeleteFile(const std::string& path, const IOOptions& options, IODebugContext* debug) override {
    if (disk_->cut()) return IOStatus::IOError("power cut", path);
    IOStatus status = FileSystemWrapper::DeleteFile(path, options, debug);
    if (status.ok()) disk_->Removed(path);
    return status;
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* debug) override {
    if (disk_->cut()) return IOStatus::IOError("power cut", from);
    IOStatus status = FileSystemWrapper::RenameFile(from, to, options, debug);
    if (status.ok()) disk_->Renamed(from, to);
    return status;
  }
  IOStatus LinkFile(const std::string& from, const std::string& to, const IOOptions& options,
                    IODebugContext* debug) override {
    if (disk_->cut()) return IOStatus::IOError("power cut", from);
    IOStatus status = FileSystemWrapper::LinkFile(from, to, options, debug);
    if (status.ok()) disk_->Linked(from, to);
    return status;
  }

 private:
  IOStatus Wrap(const std::string& path, bool created, std::unique_ptr<rocksdb::FSWritableFile>* result,
                IOStatus status) {
    if (!status.ok()) return status;
    if (created) disk_->Created(path);
    uint64_t size = 0;
    struct stat info;
    if (!created && stat(path.c_str(), &info) == 0) size = static_cast<uint64_t>(info.st_size);
    *result = std::make_unique<File>(std::move(*result), path, disk_, size);
    return status;
  }

  std::shared_ptr<Disk> disk_;
};

class FaultInjectionImpl : public FaultInjection {
 public:
  FaultInjectionImpl()
      : disk_(std::make_shared<Disk>()), env_(rocksdb::NewCompositeEnv(std::make_shared<FaultyFileSystem>(disk_))) {}

  rocksdb::Env* env() { return env_.get(); }
  void SetSyncDelay(std::chrono::microseconds delay) override { disk_->delay_us = delay.count(); }
  void FailWrites(bool fail) override { disk_->fail = fail; }
  void PowerCut(uint64_t seed) override { disk_->Cut(seed); }
  absl::Status Restore() override {
    disk_->fail = false;
    return disk_->Restore();
  }
  uint64_t Syncs() const override { return disk_->syncs; }
  uint64_t BytesWritten() const override { return disk_->bytes; }

 private:
  std::shared_ptr<Disk> disk_;
  std::unique_ptr<rocksdb::Env> env_;
};

}  // namespace

std::shared_ptr<FaultInjection> FaultInjection::Create() {
  return std::make_shared<FaultInjectionImpl>();
}

rocksdb::Env* EnvOf(const std::shared_ptr<FaultInjection>& faults) {
  if (faults == nullptr) return rocksdb::Env::Default();
  return static_cast<FaultInjectionImpl*>(faults.get())->env();
}

}  // namespace terrane::storage
