#include "common/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "common/status.h"

namespace terrane {
namespace {

sigset_t StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  return set;
}

}  // namespace

ExitCode ExitCodeFor(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
      return kExitUsage;
    case absl::StatusCode::kFailedPrecondition:
      return kExitWrongDirectory;
    case absl::StatusCode::kDataLoss:
      return kExitDamagedData;
    default:
      return kExitFailure;
  }
}

StopSignal::StopSignal() {
  const sigset_t set = StopSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

int StopSignal::Wait() {
  const sigset_t set = StopSignals();
  int number = 0;
  while (sigwait(&set, &number) != 0) {
  }
  return number;
}

int StopSignal::WaitFor(std::chrono::milliseconds limit) {
  const sigset_t set = StopSignals();
  const auto end = std::chrono::steady_clock::now() + limit;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return 0;
    const timespec timeout = {left.count() / 1'000'000'000, left.count() % 1'000'000'000};
    const int number = sigtimedwait(&set, nullptr, &timeout);
    if (number > 0) return number;
    if (errno == EAGAIN) return 0;
  }
}

void StopSignal::RequestStop() {
  kill(getpid(), SIGTERM);
}

absl::Status WriteFileAtomically(const std::filesystem::path& path, std::string_view text) {
  const std::string temporary = path.string() + ".tmp";
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return absl::ErrnoToStatus(errno, ToAbsl(temporary));
  ssize_t written = 0;
  while (!text.empty() && (written = write(fd, text.data(), text.size())) > 0) text.remove_prefix(written);
  const int error = text.empty() ? 0 : errno;
  close(fd);
  if (error != 0) return absl::ErrnoToStatus(error, ToAbsl(temporary));
  if (rename(temporary.c_str(), path.c_str()) != 0) return absl::ErrnoToStatus(errno, ToAbsl(path.native()));
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadWholeFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::ErrnoToStatus(errno, ToAbsl(path.native()));
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

}  // namespace terrane
