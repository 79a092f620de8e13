#include <cerrno>
#include <cstring>
#include <utility>

#include "common/disk_faults.h"
#include "common/status.h"
#include "replication/file_system.h"

namespace terrane::replication {
namespace {

absl::Status Injected(absl::StatusCode code, int error, std::string_view what, const std::filesystem::path& path) {
  return MakeStatus(code, what, " ", path.string(), ": ", std::string(std::strerror(error)), " (by a rule)");
}

absl::Status Broken(std::string_view what, const std::filesystem::path& path) {
  return Injected(absl::StatusCode::kUnavailable, EIO, what, path);
}

class DiskFaultFile : public File {
 public:
  DiskFaultFile(std::unique_ptr<File> base, std::filesystem::path path, DiskFaults* faults)
      : base_(std::move(base)), path_(std::move(path)), faults_(faults) {}

  absl::Status Write(uint64_t offset, std::string_view bytes) override {
    TERRANE_ASSIGN_OR_RETURN(const uint64_t size, base_->Size());
    const uint64_t end = offset + bytes.size();
    const uint64_t grows = end > size ? end - size : 0;
    const DiskVerdict verdict = faults_->Before(DiskOperation::kWrite, path_.native(), grows);
    if (verdict.fail) return Broken("cannot write", path_);
    if (!verdict.full) return base_->Write(offset, bytes);
    bytes.remove_suffix(std::min<uint64_t>(bytes.size(), grows - verdict.fits));
    TERRANE_RETURN_IF_ERROR(base_->Write(offset, bytes));
    return Injected(absl::StatusCode::kResourceExhausted, ENOSPC, "cannot write", path_);
  }

  absl::StatusOr<std::string> Read(uint64_t offset, size_t size) override {
    const DiskVerdict verdict = faults_->Before(DiskOperation::kRead, path_.native());
    if (verdict.fail) return Broken("cannot read", path_);
    absl::StatusOr<std::string> bytes = base_->Read(offset, size);
    if (bytes.ok() && !bytes->empty() && verdict.flip) FlipBit(bytes->data(), bytes->size(), *verdict.flip);
    return bytes;
  }

  absl::StatusOr<uint64_t> Size() override { return base_->Size(); }

  absl::Status Sync() override {
    if (faults_->Before(DiskOperation::kSync, path_.native()).fail) return Broken("cannot sync", path_);
    return base_->Sync();
  }

 private:
  const std::unique_ptr<File> base_;
  const std::filesystem::path path_;
  DiskFaults* const faults_;
};

class DiskFaultFileSystem : public FileSystem {
 public:
  DiskFaultFileSystem(FileSystem* base, std::shared_ptr<DiskFaults> faults) : base_(base), faults_(std::move(faults)) {}

  absl::StatusOr<std::unique_ptr<File>> Open(const Path& path, OpenMode mode) override {
    TERRANE_ASSIGN_OR_RETURN(auto file, base_->Open(path, mode));
    return std::make_unique<DiskFaultFile>(std::move(file), path, faults_.get());
  }
  absl::Status CreateDirectories(const Path& path) override { return base_->CreateDirectories(path); }
  absl::StatusOr<std::vector<std::string>> List(const Path& directory) override { return base_->List(directory); }
  bool Exists(const Path& path) override { return base_->Exists(path); }
  absl::Status Remove(const Path& path) override { return base_->Remove(path); }
  absl::Status RemoveAll(const Path& path) override { return base_->RemoveAll(path); }
  absl::Status Rename(const Path& from, const Path& to) override { return base_->Rename(from, to); }
  absl::Status SyncDirectory(const Path& directory) override {
    if (faults_->Before(DiskOperation::kSync, directory.native()).fail) return Broken("cannot sync", directory);
    return base_->SyncDirectory(directory);
  }
  absl::StatusOr<DiskSpace> Space(const Path& path) override { return base_->Space(path); }
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const Path& path) override { return base_->Lock(path); }

 private:
  FileSystem* const base_;
  const std::shared_ptr<DiskFaults> faults_;
};

}  // namespace

std::unique_ptr<FileSystem> MakeDiskFaultFileSystem(FileSystem* base, std::shared_ptr<DiskFaults> faults) {
  return std::make_unique<DiskFaultFileSystem>(base, std::move(faults));
}

}  // namespace terrane::replication
