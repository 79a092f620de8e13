#include "replication/sealed_lines.h"

#include <charconv>

#include "common/crc32c.h"
#include "common/status.h"

namespace terrane::replication {
namespace {

constexpr std::string_view kChecksum = "checksum ";

}  // namespace

std::string SealLines(std::string lines) {
  const uint32_t crc = Crc32c(lines);
  StrAppend(&lines, kChecksum, crc, "\n");
  return lines;
}

absl::StatusOr<SealedLines> UnsealLines(std::string_view content, const std::filesystem::path& path) {
  SealedLines lines;
  size_t at = 0;
  while (at < content.size()) {
    const size_t end = content.find('\n', at);
    if (end == std::string_view::npos) break;
    std::string_view line = content.substr(at, end - at);
    if (line.starts_with(kChecksum)) {
      const bool right = line.substr(kChecksum.size()) == std::to_string(Crc32c(content.substr(0, at)));
      if (right && end + 1 == content.size()) return lines;
      break;
    }
    const size_t space = line.find(' ');
    if (space == std::string_view::npos) break;
    lines.emplace_back(line.substr(0, space), line.substr(space + 1));
    at = end + 1;
  }
  return DataLoss("file ", path.string(), " is damaged: its checksum does not match at offset ", at);
}

absl::StatusOr<uint64_t> LineNumber(std::string_view text, const std::filesystem::path& path) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return DataLoss("file ", path.string(), " is damaged: \"", text, "\" is not a number");
  }
  return value;
}

}  // namespace terrane::replication
