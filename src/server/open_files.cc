#include "server/open_files.h"

#include <sys/resource.h>

#include "common/logging.h"

namespace terrane::server {
namespace {
constexpr rlim_t kEnough = 4096;
}  // namespace

void RaiseOpenFileLimit(const std::string& program) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  if (limit.rlim_cur < limit.rlim_max) {
    rlimit raised = limit;
    raised.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  if (limit.rlim_cur < kEnough) {
    LogWarn(program, "this process may open few files: raise the limit (ulimit -n, LimitNOFILE=)",
            {{"allowed", static_cast<uint64_t>(limit.rlim_cur)}, {"enough", static_cast<uint64_t>(kEnough)}});
  }
}

}  // namespace terrane::server
