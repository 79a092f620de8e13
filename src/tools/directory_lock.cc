#include "tools/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/status.h"

namespace terrane::tools {

absl::StatusOr<DirectoryLock> DirectoryLock::Take(const std::filesystem::path& directory) {
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) {
      return NotFound("no local cluster in ", directory.native(), ". Make one: terrane cluster start --dir ",
                      directory.native());
    }
    return absl::ErrnoToStatus(errno, ToAbsl(directory.native()));
  }
  while (flock(fd, LOCK_EX) != 0 && errno == EINTR) {
  }
  return DirectoryLock(fd);
}

void DirectoryLock::Release() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

}  // namespace terrane::tools
