// What the kernel says of a process.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace terrane::bench {

struct ProcessUsage {
  double cpu_seconds = 0;  // user and system, since its start
  double resident_mb = 0;
  int64_t bytes_to_disk = 0;  // handed to the disk since its start (write_bytes of /proc/PID/io)
};

ProcessUsage UsageOf(pid_t pid);

}  // namespace terrane::bench
