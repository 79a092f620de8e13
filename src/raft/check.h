// A broken promise of our own code or of the host: the process ends before it does harm. Never for bad input.
#pragma once

namespace terrane::raft {

// Called with the sentence that does not hold, before the process aborts; the simulator prints its seed there.
using CheckFailureHook = void (*)(const char* sentence);
void SetCheckFailureHook(CheckFailureHook hook);

[[noreturn]] void CheckFailed(const char* file, int line, const char* sentence);

}  // namespace terrane::raft

// Ends the process with `sentence`, which says what should have been so.
#define TERRANE_RAFT_CHECK(condition, sentence) \
  ((condition) ? static_cast<void>(0) : ::terrane::raft::CheckFailed(__FILE__, __LINE__, sentence))
