// Reading PEM files; internal to src/rpc.
#pragma once

#include <fstream>
#include <sstream>
#include <string>

#include "absl/status/statusor.h"
#include "common/status.h"

namespace terrane::rpc {

// kInvalidArgument, naming the file. An empty path reads as empty.
inline absl::StatusOr<std::string> ReadPem(const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  if (!file || content.str().empty()) return InvalidArgument("can not read the PEM file ", path);
  return content.str();
}

}  // namespace terrane::rpc
