// The store's side of common/disk_faults.h.
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <utility>

#include "common/disk_faults.h"
#include "storage/fault_injection.h"

namespace terrane::storage {
namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;
using Faults = std::shared_ptr<DiskFaults>;

IOStatus Broken(const std::string& path) {
  return IOStatus::IOError("Input/output error (by a rule)", path);
}

// `data` of a read may lie in memory that is not ours to change.
void Damage(const DiskVerdict& verdict, Slice* data, char* scratch) {
  if (!verdict.flip || data->empty()) return;
  if (data->data() != scratch) std::copy(data->data(), data->data() + data->size(), scratch);
  FlipBit(scratch, data->size(), *verdict.flip);
  *data = Slice(scratch, data->size());
}

class SequentialFile : public rocksdb::FSSequentialFileOwnerWrapper {
 public:
  SequentialFile(std::unique_ptr<rocksdb::FSSequentialFile> target, std::string path, Faults faults)
      : FSSequentialFileOwnerWrapper(std::move(target)), path_(std::move(path)), faults_(std::move(faults)) {}

  IOStatus Read(size_t n, const IOOptions& options, Slice* result, char* scratch, IODebugContext* debug) override {
    return Judged(result, scratch,
                  [&] { return FSSequentialFileOwnerWrapper::Read(n, options, result, scratch, debug); });
  }
  IOStatus PositionedRead(uint64_t offset, size_t n, const IOOptions& options, Slice* result, char* scratch,
                          IODebugContext* debug) override {
    return Judged(result, scratch, [&] {
      return FSSequentialFileOwnerWrapper::PositionedRead(offset, n, options, result, scratch, debug);
    });
  }

 private:
  template <typename Fn>
  IOStatus Judged(Slice* result, char* scratch, const Fn& read) {
    const DiskVerdict verdict = faults_->Before(DiskOperation::kRead, path_);
    if (verdict.fail) return Broken(path_);
    IOStatus status = read();
    if (status.ok()) Damage(verdict, result, scratch);
    return status;
  }

  const std::string path_;
  const Faults faults_;
};

class RandomAccessFile : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  RandomAccessFile(std::unique_ptr<rocksdb::FSRandomAccessFile> target, std::string path, Faults faults)
      : FSRandomAccessFileOwnerWrapper(std::move(target)), path_(std::move(path)), faults_(std::move(faults)) {}

  IOStatus Read(uint64_t offset, size_t n, const IOOptions& options, Slice* result, char* scratch,
                IODebugContext* debug) const override {
    const DiskVerdict verdict = faults_->Before(DiskOperation::kRead, path_);
    if (verdict.fail) return Broken(path_);
    IOStatus status = FSRandomAccessFileOwnerWrapper::Read(offset, n, options, result, scratch, debug);
    if (status.ok()) Damage(verdict, result, scratch);
    return status;
  }
  IOStatus MultiRead(rocksdb::FSReadRequest* requests, size_t count, const IOOptions& options,
                     IODebugContext* debug) override {
    for (size_t i = 0; i < count; ++i) {
      rocksdb::FSReadRequest& request = requests[i];
      request.status = Read(request.offset, request.len, options, &request.result, request.scratch, debug);
    }
    return IOStatus::OK();
  }

 private:
  const std::string path_;
  const Faults faults_;
};

class WritableFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  WritableFile(std::unique_ptr<rocksdb::FSWritableFile> target, std::string path, Faults faults)
      : FSWritableFileOwnerWrapper(std::move(target)), path_(std::move(path)), faults_(std::move(faults)) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    const DiskVerdict verdict = faults_->Before(DiskOperation::kWrite, path_, data.size());
    if (verdict.fail) return Broken(path_);
    if (verdict.full) return Full(data, verdict, options, debug);
    return FSWritableFileOwnerWrapper::Append(data, options, debug);
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo& info,
                  IODebugContext* debug) override {
    const DiskVerdict verdict = faults_->Before(DiskOperation::kWrite, path_, data.size());
    if (verdict.fail) return Broken(path_);
    if (verdict.full) return Full(data, verdict, options, debug);
    return FSWritableFileOwnerWrapper::Append(data, options, info, debug);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    if (faults_->Before(DiskOperation::kSync, path_).fail) return Broken(path_);
    return FSWritableFileOwnerWrapper::Sync(options, debug);
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    if (faults_->Before(DiskOperation::kSync, path_).fail) return Broken(path_);
    return FSWritableFileOwnerWrapper::Fsync(options, debug);
  }

 private:
  // A short write.
  IOStatus Full(const Slice& data, const DiskVerdict& verdict, const IOOptions& options, IODebugContext* debug) {
    const IOStatus written = FSWritableFileOwnerWrapper::Append(Slice(data.data(), verdict.fits), options, debug);
    return written.ok() ? IOStatus::NoSpace("No space left on device (by a rule)", path_) : written;
  }

  const std::string path_;
  const Faults faults_;
};

class Directory : public rocksdb::FSDirectoryWrapper {
 public:
  Directory(std::unique_ptr<rocksdb::FSDirectory> target, std::string path, Faults faults)
      : FSDirectoryWrapper(std::move(target)), path_(std::move(path)), faults_(std::move(faults)) {}

  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    if (faults_->Before(DiskOperation::kSync, path_).fail) return Broken(path_);
    return FSDirectoryWrapper::Fsync(options, debug);
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug,
                               const rocksdb::DirFsyncOptions& directory) override {
    if (faults_->Before(DiskOperation::kSync, path_).fail) return Broken(path_);
    return FSDirectoryWrapper::FsyncWithDirOptions(options, debug, directory);
  }

 private:
  const std::string path_;
  const Faults faults_;
};

class DiskFaultFileSystem : public rocksdb::FileSystemWrapper {
 public:
  explicit DiskFaultFileSystem(Faults faults)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), faults_(std::move(faults)) {}
  const char* Name() const override { return "TerraneDiskFaults"; }

  IOStatus NewSequentialFile(const std::string& path, const FileOptions& options,
                             std::unique_ptr<rocksdb::FSSequentialFile>* result, IODebugContext* debug) override {
    return Wrap<SequentialFile>(path, result, FileSystemWrapper::NewSequentialFile(path, options, result, debug));
  }
  IOStatus NewRandomAccessFile(const std::string& path, const FileOptions& options,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* result, IODebugContext* debug) override {
    return Wrap<RandomAccessFile>(path, result, FileSystemWrapper::NewRandomAccessFile(path, options, result, debug));
  }
  IOStatus NewWritableFile(const std::string& path, const FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* result, IODebugContext* debug) override {
    return Wrap<WritableFile>(path, result, FileSystemWrapper::NewWritableFile(path, options, result, debug));
  }
  IOStatus ReopenWritableFile(const std::string& path, const FileOptions& options,
                              std::unique_ptr<rocksdb::FSWritableFile>* result, IODebugContext* debug) override {
    return Wrap<WritableFile>(path, result, FileSystemWrapper::ReopenWritableFile(path, options, result, debug));
  }
  IOStatus ReuseWritableFile(const std::string& path, const std::string& old, const FileOptions& options,
                             std::unique_ptr<rocksdb::FSWritableFile>* result, IODebugContext* debug) override {
    return Wrap<WritableFile>(path, result, FileSystemWrapper::ReuseWritableFile(path, old, options, result, debug));
  }
  IOStatus NewDirectory(const std::string& path, const IOOptions& options,
                        std::unique_ptr<rocksdb::FSDirectory>* result, IODebugContext* debug) override {
    return Wrap<Directory>(path, result, FileSystemWrapper::NewDirectory(path, options, result, debug));
  }

 private:
  template <typename Wrapper, typename File>
  IOStatus Wrap(const std::string& path, std::unique_ptr<File>* result, IOStatus status) {
    if (status.ok()) *result = std::make_unique<Wrapper>(std::move(*result), path, faults_);
    return status;
  }

  const Faults faults_;
};

class DiskFaultStoreDisk final : public StoreDisk {
 public:
  explicit DiskFaultStoreDisk(Faults faults)
      : faults_(std::move(faults)), env_(rocksdb::NewCompositeEnv(std::make_shared<DiskFaultFileSystem>(faults_))) {}
  rocksdb::Env* env() override { return env_.get(); }
  std::optional<uint64_t> Room() override { return faults_->Room(); }

 private:
  const Faults faults_;
  const std::unique_ptr<rocksdb::Env> env_;
};

}  // namespace

std::shared_ptr<StoreDisk> MakeDiskFaultStoreDisk(std::shared_ptr<DiskFaults> faults) {
  return std::make_shared<DiskFaultStoreDisk>(std::move(faults));
}

}  // namespace terrane::storage
