#include "loader.h"

#include <mutex>
#include <thread>
#include <vector>

#include "client/client.h"

namespace terrane::demo {

absl::Status LoadDocuments(const LoadOptions& options, const std::function<bool(std::string*)>& next,
                           std::atomic<int64_t>* loaded, const std::atomic<bool>& cancelled) {
  std::mutex mutex;  // guards `next`, `end` and `failure`
  bool end = false;
  absl::Status failure;
  const auto take = [&] {
    std::vector<std::string> batch;
    std::lock_guard lock(mutex);
    std::string document;
    while (!end && failure.ok() && batch.size() < static_cast<size_t>(options.batch)) {
      if (!next(&document)) {
        end = true;
      } else {
        batch.push_back(std::move(document));
      }
    }
    return batch;
  };
  const auto fail = [&](const absl::Status& status) {
    std::lock_guard lock(mutex);
    failure.Update(status);
  };
  const auto run = [&] {
    // Loading is not the workload whose latency is looked at: let a batch take its time.
    auto client = client::Client::Connect({.proxies = {options.proxy}, .deadline = std::chrono::seconds(30)});
    if (!client.ok()) return fail(client.status());
    while (!cancelled.load()) {
      const std::vector<std::string> batch = take();
      if (batch.empty()) return;
      const auto result = (*client)->Insert(options.collection, batch);
      if (!result.ok()) return fail(result.status());
      if (!result->errors.empty()) return fail(Internal("document refused: ", result->errors[0].message()));
      loaded->fetch_add(static_cast<int64_t>(batch.size()));
    }
    fail(absl::CancelledError("interrupted"));
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < options.threads; ++i) threads.emplace_back(run);
  for (std::thread& thread : threads) thread.join();
  return failure;
}

}  // namespace terrane::demo
