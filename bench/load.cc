#include "load.h"

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "common/histogram.h"

namespace terrane::bench {
namespace {
using BenchClock = std::chrono::steady_clock;
}  // namespace

absl::StatusOr<LoadResult> RunLoad(int clients, std::chrono::milliseconds warm_up, std::chrono::milliseconds length,
                                   const LoadCall& call) {
  auto latencies = std::make_unique<Histogram>();  // microseconds
  std::mutex mutex;
  absl::Status failure;
  std::atomic<bool> failed{false};
  const auto begin = BenchClock::now() + warm_up;
  const auto end = begin + length;
  std::vector<std::thread> threads;
  for (int number = 0; number < clients; ++number) {
    threads.emplace_back([&, number] {
      for (int64_t sequence = 0; !failed; ++sequence) {
        const auto start = BenchClock::now();
        if (start >= end) return;
        if (const absl::Status status = call(number, sequence); !status.ok()) {
          std::lock_guard lock(mutex);
          failure.Update(status);
          failed = true;
          return;
        }
        const auto now = BenchClock::now();
        if (start < begin || now > end) continue;
        latencies->Record(
            static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now - start).count()));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (!failure.ok()) return failure;
  LoadResult result;
  result.calls = static_cast<int64_t>(latencies->Count());
  result.calls_per_second = static_cast<double>(result.calls) / std::chrono::duration<double>(length).count();
  result.p50_ms = static_cast<double>(latencies->Percentile(0.5)) / 1000;
  result.p99_ms = static_cast<double>(latencies->Percentile(0.99)) / 1000;
  result.max_ms = static_cast<double>(latencies->Max()) / 1000;
  return result;
}

}  // namespace terrane::bench
