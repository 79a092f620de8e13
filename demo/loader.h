// Loads many documents in batches from several threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace terrane::demo {

struct LoadOptions {
  std::string proxy;
  std::string collection;
  int threads = 3;
  int batch = 500;
};

// `next` makes the next document, or returns false at the end; it is called by one thread at a time. `loaded` counts up
// while it runs. An error of any document ends it.
absl::Status LoadDocuments(const LoadOptions& options, const std::function<bool(std::string* document)>& next,
                           std::atomic<int64_t>* loaded, const std::atomic<bool>& cancelled);

}  // namespace terrane::demo
