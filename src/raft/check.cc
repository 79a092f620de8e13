#include "raft/check.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace terrane::raft {
namespace {
std::atomic<CheckFailureHook> failure_hook{nullptr};
}  // namespace

void SetCheckFailureHook(CheckFailureHook hook) {
  failure_hook = hook;
}

void CheckFailed(const char* file, int line, const char* sentence) {
  std::fprintf(stderr, "%s:%d: broken promise: %s\n", file, line, sentence);
  if (CheckFailureHook hook = failure_hook) hook(sentence);
  std::abort();
}

}  // namespace terrane::raft
