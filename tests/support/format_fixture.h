// tests/fixtures/format-1: the directory of a whole cluster as the first program with a format wrote it. See
// docs/data-layout.md, "Formats".
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "common/status.h"

namespace terrane::testing {

inline constexpr char kFormatFixture[] = TERRANE_SOURCE_DIR "/tests/fixtures/format-1";

// What the fixture holds. It was stopped in an orderly way while one move was held in `catching_up`.
inline constexpr char kTypesCollection[] = "format.types";     // a document for each type of BSON
inline constexpr char kOrdersCollection[] = "format.orders";   // by {k: 1}, in two chunks that have been moved about
inline constexpr char kFixtureSession[] = "format-1-session";  // of retryable writes to the orders
inline constexpr int kFixtureInserts = 10;                     // statements 0 to 9: inserts of retry-0 to retry-9
inline constexpr int kFixtureUpdate = 10;                      // statement: {$inc: {n: 1}} of retry-0
inline constexpr int kFixtureDelete = 11;                      // statement: delete of retry-9

// Unpacks the cluster into a new temporary directory and returns it; the caller removes it.
inline absl::StatusOr<std::filesystem::path> UnpackFormatFixture() {
  std::string directory = (std::filesystem::temp_directory_path() / "terrane-format-XXXXXX").native();
  if (mkdtemp(directory.data()) == nullptr) return Unavailable("cannot make ", directory);
  const std::string command = std::string("tar -xzf ") + kFormatFixture + "/cluster.tar.gz -C " + directory;
  if (system(command.c_str()) != 0) return Internal(command, " has failed");
  return std::filesystem::path(directory);
}

}  // namespace terrane::testing
