// What the mains of all processes share: signals, exit codes, the files `pid` and `endpoint`.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace terrane {

// docs/configuration.md lists them.
enum ExitCode : int {
  kExitOk = 0,
  kExitFailure = 1,         // could not
  kExitUsage = 2,           // a flag, setting or name that does not exist or is spelt wrong
  kExitAddressInUse = 3,    // the listening address cannot be had
  kExitWrongDirectory = 4,  // the directory is in use, somebody else's, or of a newer format
  kExitDamagedData = 5,     // the data is damaged; the message names file and place
  kExitFatal = 70,          // a failed write or sync, or a broken promise, while running
};

// kInvalidArgument and kNotFound: 2; kFailedPrecondition: 4; kDataLoss: 5; everything else: 1.
ExitCode ExitCodeFor(const absl::Status& status);

// Turns SIGTERM, SIGINT and SIGHUP into something to wait for, and ignores SIGPIPE. Make one at the start of main,
// before any thread: threads inherit the blocked signals. One per process; Wait is for one thread.
class StopSignal {
 public:
  StopSignal();
  // Blocks until a signal comes or RequestStop is called; returns the signal's number, SIGTERM for RequestStop.
  int Wait();
  // The same with a limit; 0 if nothing came.
  int WaitFor(std::chrono::milliseconds limit);
  // From any thread, also from before Wait.
  static void RequestStop();
};

// Writes `text` to `path` by way of a temporary file and a rename: readers see all or nothing. Not synced: what it says
// (a pid, an endpoint) does not outlive the machine's boot.
absl::Status WriteFileAtomically(const std::filesystem::path& path, std::string_view text);
// The whole file. kNotFound if there is none.
absl::StatusOr<std::string> ReadWholeFile(const std::filesystem::path& path);

}  // namespace terrane
