#include "metadata/snapshot_file.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "common/status.h"

namespace terrane::metadata {
namespace {

constexpr std::string_view kMagic = "TERRMETA";
constexpr size_t kHeaderBytes = 8 + 4 + 8 + 8;
constexpr size_t kChecksumBytes = 8;

template <typename T>
void AppendNumber(T value, std::string* out) {
  for (size_t i = 0; i < sizeof(T); ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

template <typename T>
T NumberAt(std::string_view bytes, size_t at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  return value;
}

absl::Status IoError(std::string_view what, const std::filesystem::path& file) {
  return absl::InternalError(StrCat(what, " ", file.string(), ": ", strerror(errno)));
}

absl::Status WriteAndSync(const std::filesystem::path& file, std::string_view bytes) {
  int fd = open(file.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) return IoError("creating", file);
  absl::Status status;
  while (!bytes.empty() && status.ok()) {
    ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      status = IoError("writing", file);
    } else {
      bytes.remove_prefix(written);
    }
  }
  if (status.ok() && fsync(fd) != 0) status = IoError("syncing", file);
  if (close(fd) != 0 && status.ok()) status = IoError("closing", file);
  return status;
}

absl::Status SyncDirectory(const std::filesystem::path& directory) {
  int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return IoError("opening", directory);
  absl::Status status = fsync(fd) == 0 ? absl::OkStatus() : IoError("syncing", directory);
  close(fd);
  return status;
}

}  // namespace

absl::Status WriteSnapshotFile(const std::filesystem::path& file, const Snapshot& snapshot) {
  std::string payload;
  if (!snapshot.state.SerializeToString(&payload)) return Internal("the metadata state can not be serialized");
  std::string bytes(kMagic);
  bytes.reserve(kHeaderBytes + payload.size() + kChecksumBytes);
  AppendNumber<uint32_t>(kSnapshotVersion, &bytes);
  AppendNumber<uint64_t>(snapshot.applied.value(), &bytes);
  AppendNumber<uint64_t>(payload.size(), &bytes);
  bytes += payload;
  AppendNumber<uint64_t>(XXH3_64bits(bytes.data(), bytes.size()), &bytes);

  const std::filesystem::path beside = file.string() + ".tmp";
  TERRANE_RETURN_IF_ERROR(WriteAndSync(beside, bytes));
  if (rename(beside.c_str(), file.c_str()) != 0) return IoError("renaming", beside);
  return SyncDirectory(file.parent_path());
}

absl::StatusOr<Snapshot> ReadSnapshotFile(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return NotFound("no file ", file.string());
  std::ifstream in(file, std::ios::binary);
  std::ostringstream content;
  content << in.rdbuf();
  if (!in) return IoError("reading", file);
  const std::string bytes = std::move(content).str();

  if (bytes.size() < kHeaderBytes + kChecksumBytes || !std::string_view(bytes).starts_with(kMagic)) {
    return DataLoss(file.string(), " is not a metadata snapshot, or cut off at byte ", bytes.size());
  }
  if (const uint32_t version = NumberAt<uint32_t>(bytes, 8); version > kSnapshotVersion) {
    return FailedPrecondition(file.string(), " has format version ", version, "; this program reads up to ",
                              kSnapshotVersion);
  }
  const uint64_t length = NumberAt<uint64_t>(bytes, 20);
  if (length != bytes.size() - kHeaderBytes - kChecksumBytes) {
    return DataLoss(file.string(), " should hold ", length, " bytes of state, and holds ",
                    bytes.size() - kHeaderBytes - kChecksumBytes);
  }
  const size_t end = bytes.size() - kChecksumBytes;
  if (NumberAt<uint64_t>(bytes, end) != XXH3_64bits(bytes.data(), end)) {
    return DataLoss(file.string(), ": the checksum at byte ", end, " does not match");
  }
  Snapshot snapshot;
  snapshot.applied = Position(NumberAt<uint64_t>(bytes, 12));
  if (!snapshot.state.ParseFromArray(bytes.data() + kHeaderBytes, static_cast<int>(length))) {
    return DataLoss(file.string(), ": the state can not be read");
  }
  return snapshot;
}

}  // namespace terrane::metadata
