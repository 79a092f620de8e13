#include "tools/child_process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <mutex>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/process.h"
#include "common/status.h"

namespace terrane::tools {
namespace {

struct Stat {
  char state = 'X';
  uint64_t started = 0;
};

// nullopt: no such process.
std::optional<Stat> ReadStat(pid_t pid) {
  absl::StatusOr<std::string> text = ReadWholeFile(StrCat("/proc/", pid, "/stat"));
  if (!text.ok()) return std::nullopt;
  // pid (name) state ppid ...: the name may hold anything, so what follows is counted from the last parenthesis.
  const size_t end = text->rfind(')');
  if (end == std::string::npos) return std::nullopt;
  const std::vector<std::string> fields = absl::StrSplit(text->substr(end + 1), ' ', absl::SkipEmpty());
  Stat stat;
  if (fields.size() < 20 || !absl::SimpleAtoi(fields[19], &stat.started)) return std::nullopt;
  stat.state = fields[0][0];
  return stat;
}

std::mutex exit_mutex;
std::map<std::pair<pid_t, uint64_t>, int>& ExitCodes() {
  static auto* codes = new std::map<std::pair<pid_t, uint64_t>, int>();
  return *codes;
}

// Collects the child if it is ours and has ended.
void Reap(const ProcessId& process) {
  int status = 0;
  std::lock_guard lock(exit_mutex);
  if (waitpid(process.pid, &status, WNOHANG) != process.pid) return;
  ExitCodes()[{process.pid, process.started}] = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// After fork, in the child: only calls that are safe there. `network` is a namespace, or -1.
[[noreturn]] void RunChild(char* const* argv, int output, int null, int network, int report, const char* directory,
                           pid_t parent, bool tied) {
  const auto fail = [report] {
    const int error = errno;
    (void)!write(report, &error, sizeof error);
    _exit(127);
  };
  if (tied) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);  // it ended before that
  }
  setsid();  // a Ctrl-C on the terminal is for the parent, which stops its children in order
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  if (network >= 0 && setns(network, CLONE_NEWNET) != 0) fail();
  if (chdir(directory) != 0) fail();
  dup2(null, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);
  execv(argv[0], argv);
  fail();
  _exit(127);
}

}  // namespace

std::string_view ProcessStateName(ProcessState state) {
  switch (state) {
    case ProcessState::kRunning:
      return "running";
    case ProcessState::kPaused:
      return "paused";
    case ProcessState::kStopped:
      return "stopped";
  }
  return "unknown";
}

absl::StatusOr<ProcessId> Spawn(const SpawnOptions& options) {
  const std::string& program = options.arguments.at(0);
  if (access(program.c_str(), X_OK) != 0) return absl::ErrnoToStatus(errno, ToAbsl(program));
  int network = -1;
  if (!options.network_namespace.empty()) {
    network = open(options.network_namespace.c_str(), O_RDONLY | O_CLOEXEC);
    if (network < 0) return absl::ErrnoToStatus(errno, ToAbsl(options.network_namespace.native()));
  }
  const int output = open(options.output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (output < 0) {
    const int error = errno;
    if (network >= 0) close(network);
    return absl::ErrnoToStatus(error, ToAbsl(options.output.native()));
  }
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  std::vector<char*> argv;
  for (const std::string& argument : options.arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  // The end of this pipe tells that the program runs; before that the child may not yet be tied to this thread.
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) {
    const int error = errno;
    close(output);
    close(null);
    if (network >= 0) close(network);
    return absl::ErrnoToStatus(error, "pipe");
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    RunChild(argv.data(), output, null, network, report[1], options.working_directory.c_str(), parent,
             options.tied_to_thread);
  }
  const int error = errno;
  close(output);
  close(null);
  if (network >= 0) close(network);
  close(report[1]);
  int failed = 0;
  ssize_t n = 0;
  while (pid > 0 && (n = read(report[0], &failed, sizeof failed)) < 0 && errno == EINTR) {
  }
  close(report[0]);
  if (pid < 0) return absl::ErrnoToStatus(error, "fork");
  const std::optional<Stat> stat = ReadStat(pid);  // is there, as nobody has waited for it yet
  const ProcessId process{pid, stat ? stat->started : 0};
  if (n == sizeof failed) {
    WaitForEnd(process, std::chrono::seconds(10));
    return absl::ErrnoToStatus(failed, ToAbsl(program));
  }
  return process;
}

namespace {

// A killed process is a zombie as soon as its first thread has ended, while others may still hold its files and locks.
bool HasLiveThreads(pid_t pid) {
  std::error_code gone;
  size_t threads = 0;
  for (auto it = std::filesystem::directory_iterator(StrCat("/proc/", pid, "/task"), gone);
       !gone && it != std::filesystem::directory_iterator(); it.increment(gone)) {
    ++threads;
  }
  return threads > 1;
}

}  // namespace

ProcessState State(const ProcessId& process) {
  if (process.pid == 0) return ProcessState::kStopped;
  const std::optional<Stat> stat = ReadStat(process.pid);
  if (!stat || stat->started != process.started) return ProcessState::kStopped;
  if (stat->state == 'Z' || stat->state == 'X') {
    if (HasLiveThreads(process.pid)) return ProcessState::kRunning;
    Reap(process);
    return ProcessState::kStopped;
  }
  return stat->state == 'T' || stat->state == 't' ? ProcessState::kPaused : ProcessState::kRunning;
}

std::optional<int> ExitCodeOf(const ProcessId& process) {
  std::lock_guard lock(exit_mutex);
  const auto it = ExitCodes().find({process.pid, process.started});
  if (it == ExitCodes().end()) return std::nullopt;
  return it->second;
}

void Signal(const ProcessId& process, int signal) {
  if (State(process) != ProcessState::kStopped) kill(process.pid, signal);
}

bool WaitForEnd(const ProcessId& process, std::chrono::milliseconds limit) {
  if (State(process) == ProcessState::kStopped) return true;
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0));
  if (fd < 0) return State(process) == ProcessState::kStopped;
  // The descriptor may have been opened for a successor with the same pid.
  if (State(process) != ProcessState::kStopped) {
    pollfd wait = {fd, POLLIN, 0};
    const auto end = std::chrono::steady_clock::now() + limit;
    int left = static_cast<int>(limit.count());
    while (poll(&wait, 1, left) < 0 && errno == EINTR) {
      left = static_cast<int>(
          std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count());
      if (left < 0) left = 0;
    }
  }
  close(fd);
  return State(process) == ProcessState::kStopped;
}

}  // namespace terrane::tools
