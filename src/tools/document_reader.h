// Documents of a file, one after the other: NDJSON (extended JSON) or BSON.
#pragma once

#include <istream>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace terrane::tools {

struct SourceDocument {
  int64_t number = 0;                // line of NDJSON, or document of BSON, from 1
  std::string text;                  // the line as it stands; empty for BSON
  absl::StatusOr<std::string> bson;  // or why it is refused
};

enum class FileFormat { kNdjson, kBson };

// Not thread-safe.
class DocumentReader {
 public:
  // `in` must outlive it.
  static std::unique_ptr<DocumentReader> Make(FileFormat format, std::istream& in);
  virtual ~DocumentReader() = default;

  // nullopt at the end. Empty lines are passed over. An error ends the file: it cannot be read on from there
  // (kDataLoss, with the place).
  virtual absl::StatusOr<std::optional<SourceDocument>> Next() = 0;
  // Bytes read so far.
  int64_t position() const { return position_; }

 protected:
  int64_t position_ = 0;
};

}  // namespace terrane::tools
