#include "replication/file_system.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "common/status.h"

namespace terrane::replication {
namespace {

namespace fs = std::filesystem;

absl::Status FromErrno(int error, std::string_view what, const fs::path& path) {
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  if (error == ENOENT) code = absl::StatusCode::kNotFound;
  if (error == ENOSPC || error == EDQUOT) code = absl::StatusCode::kResourceExhausted;
  if (error == EACCES || error == EPERM || error == EROFS) code = absl::StatusCode::kFailedPrecondition;
  return MakeStatus(code, what, " ", path.string(), ": ", std::string(std::strerror(error)));
}

absl::Status FromErrorCode(const std::error_code& error, std::string_view what, const fs::path& path) {
  return error ? FromErrno(error.value(), what, path) : absl::OkStatus();
}

class PosixFile : public File {
 public:
  PosixFile(int fd, fs::path path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { ::close(fd_); }

  absl::Status Write(uint64_t offset, std::string_view bytes) override {
    while (!bytes.empty()) {
      ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FromErrno(errno, "cannot write", path_);
      bytes.remove_prefix(static_cast<size_t>(n));
      offset += static_cast<uint64_t>(n);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Read(uint64_t offset, size_t size) override {
    std::string out(size, '\0');
    size_t have = 0;
    while (have < size) {
      ssize_t n = ::pread(fd_, out.data() + have, size - have, static_cast<off_t>(offset + have));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FromErrno(errno, "cannot read", path_);
      if (n == 0) break;
      have += static_cast<size_t>(n);
    }
    out.resize(have);
    return out;
  }

  absl::StatusOr<uint64_t> Size() override {
    struct stat info;
    if (::fstat(fd_, &info) != 0) return FromErrno(errno, "cannot stat", path_);
    return static_cast<uint64_t>(info.st_size);
  }

  absl::Status Sync() override {
    // Not retried on any error: the kernel may have dropped the pages and would report success (trap T50).
    if (::fdatasync(fd_) != 0) return FromErrno(errno, "cannot sync", path_);
    return absl::OkStatus();
  }

 private:
  const int fd_;
  const fs::path path_;
};

class PosixLock : public FileLock {
 public:
  explicit PosixLock(int fd) : fd_(fd) {}
  ~PosixLock() override { ::close(fd_); }

 private:
  const int fd_;
};

class PosixFileSystem : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<File>> Open(const Path& path, OpenMode mode) override {
    int flags = O_CLOEXEC;
    if (mode == OpenMode::kRead) flags |= O_RDONLY;
    if (mode == OpenMode::kWrite) flags |= O_RDWR;
    if (mode == OpenMode::kCreate) flags |= O_RDWR | O_CREAT | O_TRUNC;
    int fd = ::open(path.c_str(), flags, 0644);
    if (fd < 0) return FromErrno(errno, "cannot open", path);
    return std::make_unique<PosixFile>(fd, path);
  }

  absl::Status CreateDirectories(const Path& path) override {
    std::error_code error;
    fs::create_directories(path, error);
    return FromErrorCode(error, "cannot make directory", path);
  }

  absl::StatusOr<std::vector<std::string>> List(const Path& directory) override {
    std::vector<std::string> names;
    std::error_code error;
    if (!fs::exists(directory, error)) return names;
    for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
      names.push_back(it->path().filename().string());
    }
    if (error) return FromErrorCode(error, "cannot list", directory);
    std::sort(names.begin(), names.end());
    return names;
  }

  bool Exists(const Path& path) override {
    std::error_code error;
    return fs::exists(path, error);
  }

  absl::Status Remove(const Path& path) override {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return FromErrno(errno, "cannot remove", path);
    return absl::OkStatus();
  }

  absl::Status RemoveAll(const Path& path) override {
    std::error_code error;
    fs::remove_all(path, error);
    return FromErrorCode(error, "cannot remove", path);
  }

  absl::Status Rename(const Path& from, const Path& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return FromErrno(errno, "cannot rename", from);
    return absl::OkStatus();
  }

  absl::Status SyncDirectory(const Path& directory) override {
    int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return FromErrno(errno, "cannot open", directory);
    int error = ::fsync(fd) != 0 ? errno : 0;
    ::close(fd);
    return error != 0 ? FromErrno(error, "cannot sync", directory) : absl::OkStatus();
  }

  absl::StatusOr<DiskSpace> Space(const Path& path) override {
    std::error_code error;
    const fs::space_info space = fs::space(path, error);
    if (error) return FromErrno(error.value(), "cannot ask for the free space of", path);
    return DiskSpace{space.capacity, space.available};
  }

  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const Path& path) override {
    int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return FromErrno(errno, "cannot open", path);
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      int error = errno;
      ::close(fd);
      if (error == EWOULDBLOCK) {
        return FailedPrecondition("directory ", path.parent_path().string(), " is in use by another process (",
                                  path.filename().string(), " is held); stop that process or name another directory");
      }
      return FromErrno(error, "cannot lock", path);
    }
    return std::make_unique<PosixLock>(fd);
  }
};

}  // namespace

FileSystem* FileSystem::System() {
  static PosixFileSystem* const system = new PosixFileSystem;
  return system;
}

absl::Status WriteFileAtomically(FileSystem* file_system, const fs::path& path, std::string_view content) {
  fs::path temporary = path;
  temporary += ".new";
  {
    TERRANE_ASSIGN_OR_RETURN(auto file, file_system->Open(temporary, OpenMode::kCreate));
    TERRANE_RETURN_IF_ERROR(file->Write(0, content));
    TERRANE_RETURN_IF_ERROR(file->Sync());
  }
  TERRANE_RETURN_IF_ERROR(file_system->Rename(temporary, path));
  return file_system->SyncDirectory(path.parent_path());
}

absl::StatusOr<std::string> ReadFile(FileSystem* file_system, const fs::path& path) {
  TERRANE_ASSIGN_OR_RETURN(auto file, file_system->Open(path, OpenMode::kRead));
  TERRANE_ASSIGN_OR_RETURN(uint64_t size, file->Size());
  return file->Read(0, size);
}

}  // namespace terrane::replication
