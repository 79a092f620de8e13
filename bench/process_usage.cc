#include "process_usage.h"

#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "common/strings.h"

namespace terrane::bench {

ProcessUsage UsageOf(pid_t pid) {
  ProcessUsage usage;
  const std::string directory = StrCat("/proc/", pid, "/");
  std::ifstream stat(directory + "stat");
  std::stringstream text;
  text << stat.rdbuf();
  // The name of the program, which may hold anything, is in parentheses; behind it the fields from the third on.
  const std::string line = text.str();
  const size_t close = line.rfind(')');
  if (close != std::string::npos) {
    std::istringstream fields(line.substr(close + 1));
    std::string skipped;
    for (int field = 3; field < 14; ++field) fields >> skipped;
    double user = 0, system = 0;
    fields >> user >> system;
    usage.cpu_seconds = (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  std::ifstream statm(directory + "statm");
  int64_t size = 0, resident = 0;
  statm >> size >> resident;
  usage.resident_mb = static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e6;
  std::ifstream io(directory + "io");
  for (std::string key; io >> key;) {
    int64_t value = 0;
    io >> value;
    if (key == "write_bytes:") usage.bytes_to_disk = value;
  }
  return usage;
}

}  // namespace terrane::bench
