#include "shard/background.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace terrane::shard {

void YieldToRequests() {
  constexpr int kNice = 5;
  thread_local bool lowered = false;
  if (lowered) return;
  lowered = true;
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kNice);
}

}  // namespace terrane::shard
