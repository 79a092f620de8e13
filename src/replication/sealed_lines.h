// Small text files of "name value" lines, closed by their checksum.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace terrane::replication {

using SealedLines = std::vector<std::pair<std::string, std::string>>;

// `lines` ("name value\n" each) with the checksum line behind them.
std::string SealLines(std::string lines);
// kDataLoss naming `path` if the checksum does not match.
absl::StatusOr<SealedLines> UnsealLines(std::string_view content, const std::filesystem::path& path);
// kDataLoss naming `path` if `text` is not a decimal number.
absl::StatusOr<uint64_t> LineNumber(std::string_view text, const std::filesystem::path& path);

}  // namespace terrane::replication
