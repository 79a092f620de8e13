// Starting, watching and ending real processes by their pid. Blocking calls say so; everything is thread-safe.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace terrane::tools {

// A process for as long as it lives: the start time tells it from a later one that got the same pid.
struct ProcessId {
  pid_t pid = 0;         // 0: none
  uint64_t started = 0;  // field 22 of /proc/PID/stat
  friend bool operator==(const ProcessId&, const ProcessId&) = default;
};

enum class ProcessState { kRunning, kPaused, kStopped };
// "running", "paused", "stopped".
std::string_view ProcessStateName(ProcessState state);

struct SpawnOptions {
  std::vector<std::string> arguments;       // the first is the program's path
  std::filesystem::path output;             // standard output and error are appended to it
  std::filesystem::path working_directory;  // must exist
  // The child gets SIGKILL when the thread that calls Spawn ends, however it ends. Else it lives in a session of its
  // own and outlives everybody.
  bool tied_to_thread = false;
  // A network namespace to run in, as a file for setns(2); needs root. Empty: that of the caller.
  std::filesystem::path network_namespace;
};

// Starts the program and returns when it runs (it may still end at once: look at State). kNotFound: no such program or
// namespace; other errors: it cannot be run.
absl::StatusOr<ProcessId> Spawn(const SpawnOptions& options);

// A process that ended but that nobody has waited for counts as stopped; it is waited for here if it is our child.
ProcessState State(const ProcessId& process);

// How it ended: exit code, or 128 + signal. Only for children of this process whose end was seen by State or
// WaitForEnd.
std::optional<int> ExitCodeOf(const ProcessId& process);

// No effect on a process that is gone.
void Signal(const ProcessId& process, int signal);

// Blocks until the process has ended; false if it lives after `limit`.
bool WaitForEnd(const ProcessId& process, std::chrono::milliseconds limit);

}  // namespace terrane::tools
