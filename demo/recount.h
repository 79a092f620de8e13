// Starts the reader that shares no code with the clients (recount.py), and the program that spoils a document.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace terrane::demo {

struct Recount {
  int64_t documents = 0;
  int64_t acknowledged_writes = 0;
  int64_t lost = 0;
  int64_t duplicated = 0;
  int64_t wrong = 0;
  std::vector<std::string> examples;
};

absl::StatusOr<Recount> RunRecount(const std::filesystem::path& source, const std::string& proxy,
                                   const std::string& collection, int64_t generated,
                                   const std::filesystem::path& journals);

// Runs a program to its end and returns what it printed; an error if it could not be started or left with another code
// than those.
absl::StatusOr<std::string> RunProgram(const std::vector<std::string>& arguments, const std::vector<int>& good_codes);

}  // namespace terrane::demo
