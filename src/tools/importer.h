// Puts the documents of a file into a collection: several batches at a time, refused documents put aside.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "client/client.h"
#include "tools/document_reader.h"

namespace terrane::tools {

struct ImportOptions {
  std::string collection;
  int workers = 4;
  int64_t batch_documents = 500;
  int64_t batch_bytes = 1 << 20;
  std::chrono::milliseconds deadline{30'000};  // of one batch, all its attempts together
  std::function<bool()> interrupted = [] { return false; };
};

struct ImportProgress {
  int64_t documents = 0;  // that are in
  int64_t refused = 0;
  int64_t bytes_in = 0;    // BSON bytes that are in
  int64_t bytes_read = 0;  // of the file
};

struct RefusedDocument {
  int64_t number = 0;
  std::string why;
  std::string text;  // the line, or extended JSON of the document if it can be read
};

// Blocks until all is in. `progress` is called by the calling thread now and then; `refused` by one thread at a time.
// kCancelled: interrupted; what was under way has been waited for. An error of the cluster (no such collection, a batch
// beyond its deadline) or of the file ends the import: what was acknowledged until then stays in, and is in `last`.
absl::Status Import(client::Client& client, DocumentReader& reader, const ImportOptions& options,
                    const std::function<void(const ImportProgress&)>& progress,
                    const std::function<void(const RefusedDocument&)>& refused, ImportProgress* last);

}  // namespace terrane::tools
