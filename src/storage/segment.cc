#include "storage/segment.h"

#include <fcntl.h>
#include <rocksdb/sst_file_writer.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <random>

#include "common/status.h"
#include "storage/fault_env.h"
#include "storage/views.h"
#include "terrane/v1/shard_log.pb.h"

namespace terrane::storage {
namespace {

std::string RandomName() {
  std::random_device device;
  uint64_t bits = static_cast<uint64_t>(device()) << 32 | device();
  return absl::StrCat(absl::Hex(bits, absl::kZeroPad16));
}

// Keys without values, sorted in memory up to a bound; each full load becomes a file of its own.
struct SortedKeys {
  Family family;
  std::vector<std::string> keys;
  size_t bytes = 0;
};

class SegmentWriterImpl : public SegmentWriter {
 public:
  SegmentWriterImpl(std::filesystem::path directory, CopyId copy, std::string_view label, const StoreOptions& options)
      : directory_(std::move(directory)),
        copy_(copy),
        stem_(StrCat(SegmentNamePrefix(copy), label, "-", RandomName())),
        options_(options),
        second_{Family::kRetries, {}, 0},
        entries_{Family::kIndexes, {}, 0} {}

  ~SegmentWriterImpl() override {
    documents_.reset();
    retries_.reset();
    if (finished_) return;
    for (const std::string& name : made_) {
      EnvOf(options_.faults)->DeleteFile((directory_ / name).string()).PermitUncheckedError();
    }
  }

  absl::Status AddDocument(std::string_view shard_key, std::string_view id, std::string_view document) override {
    TERRANE_RETURN_IF_ERROR(Put(&documents_, Family::kDocuments, DocumentKey(copy_, shard_key, id), document));
    built_.digest.AddDocument(shard_key, id, document);
    return absl::OkStatus();
  }

  absl::Status AddRetry(std::string_view shard_key, std::string_view id, std::string_view session, int64_t statement,
                        std::string_view record) override {
    TERRANE_RETURN_IF_ERROR(
        Put(&retries_, Family::kRetries, RetryKey(copy_, shard_key, id, session, statement), record));
    built_.digest.AddRetry(shard_key, id, record);
    return Collect(&second_, RetrySecondKey(copy_, shard_key, id, session, statement));
  }

  absl::Status AddIndexEntry(uint32_t index, std::string_view values, std::string_view shard_key,
                             std::string_view id) override {
    return Collect(&entries_, IndexKey(copy_, index, values, shard_key, id));
  }

  int64_t AddedBytes() const override { return built_.digest.documents.bytes + built_.digest.retries.bytes; }

  absl::StatusOr<BuiltSegment> Finish() override {
    TERRANE_RETURN_IF_ERROR(Close(&documents_));
    TERRANE_RETURN_IF_ERROR(Close(&retries_));
    TERRANE_RETURN_IF_ERROR(WriteSorted(&second_));
    TERRANE_RETURN_IF_ERROR(WriteSorted(&entries_));
    if (!built_.files.empty()) TERRANE_RETURN_IF_ERROR(SyncDirectory(options_.faults, directory_));
    finished_ = true;
    return built_;
  }

 private:
  struct OpenFile {
    std::unique_ptr<rocksdb::SstFileWriter> writer;
    std::string name;
    Family family;
  };

  absl::StatusOr<std::unique_ptr<OpenFile>> Start(Family family) {
    auto file = std::make_unique<OpenFile>();
    file->family = family;
    file->name = StrCat(stem_, "-", made_.size(), "-", FamilyName(family), ".sst");
    rocksdb::Options options(rocksdb::DBOptions(), FamilyOptions(family, options_, nullptr));
    options.env = EnvOf(options_.faults);
    file->writer = std::make_unique<rocksdb::SstFileWriter>(rocksdb::EnvOptions(), options);
    made_.push_back(file->name);
    std::string path = (directory_ / file->name).string();
    TERRANE_RETURN_IF_ERROR(FromRocks(file->writer->Open(path), StrCat("making ", path)));
    return file;
  }

  absl::Status Put(std::unique_ptr<OpenFile>* file, Family family, const std::string& key, std::string_view value) {
    if (*file == nullptr) {
      TERRANE_ASSIGN_OR_RETURN(*file, Start(family));
    }
    return FromRocks((*file)->writer->Put(key, ToSlice(value)), "segment");
  }

  absl::Status Close(std::unique_ptr<OpenFile>* file) {
    if (*file == nullptr) return absl::OkStatus();
    std::unique_ptr<OpenFile> open = std::move(*file);
    std::filesystem::path path = directory_ / open->name;
    TERRANE_RETURN_IF_ERROR(FromRocks(open->writer->Finish(), StrCat("finishing ", path.string())));
    TERRANE_ASSIGN_OR_RETURN(auto checksum, FileChecksum(path));
    built_.bytes += checksum.first;
    built_.files.push_back({open->name, FamilyName(open->family), checksum.first, checksum.second});
    return absl::OkStatus();
  }

  absl::Status Collect(SortedKeys* sorted, std::string key) {
    sorted->bytes += key.size();
    sorted->keys.push_back(std::move(key));
    return sorted->bytes < options_.segment_sort_bytes ? absl::OkStatus() : WriteSorted(sorted);
  }

  absl::Status WriteSorted(SortedKeys* sorted) {
    if (sorted->keys.empty()) return absl::OkStatus();
    std::sort(sorted->keys.begin(), sorted->keys.end());
    sorted->keys.erase(std::unique(sorted->keys.begin(), sorted->keys.end()), sorted->keys.end());
    std::unique_ptr<OpenFile> file;
    for (const std::string& key : sorted->keys) TERRANE_RETURN_IF_ERROR(Put(&file, sorted->family, key, {}));
    sorted->keys.clear();
    sorted->bytes = 0;
    return Close(&file);
  }

  std::filesystem::path directory_;
  CopyId copy_;
  std::string stem_;
  StoreOptions options_;
  std::unique_ptr<OpenFile> documents_;
  std::unique_ptr<OpenFile> retries_;
  SortedKeys second_;
  SortedKeys entries_;
  std::vector<std::string> made_;
  BuiltSegment built_;
  bool finished_ = false;
};

}  // namespace

void ToProto(const SegmentFile& file, v1::SegmentFile* out) {
  out->set_name(file.name);
  out->set_family(file.family);
  out->set_bytes(file.bytes);
  out->set_checksum(file.checksum);
}

SegmentFile FromProto(const v1::SegmentFile& file) {
  return {file.name(), file.family(), file.bytes(), file.checksum()};
}

std::string SegmentNamePrefix(CopyId copy) {
  return StrCat("c", copy.value(), "-");
}

std::unique_ptr<SegmentWriter> MakeSegmentWriter(std::filesystem::path directory, CopyId copy, std::string_view label,
                                                 const StoreOptions& options) {
  return std::make_unique<SegmentWriterImpl>(std::move(directory), copy, label, options);
}

absl::StatusOr<std::pair<int64_t, uint64_t>> FileChecksum(const std::filesystem::path& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NotFound(path.string(), ": ", strerror(errno));
  XXH3_state_t state;
  XXH3_INITSTATE(&state);
  XXH3_64bits_reset(&state);
  std::vector<char> buffer(1 << 20);
  int64_t bytes = 0;
  ssize_t n = 0;
  while ((n = read(fd, buffer.data(), buffer.size())) > 0) {
    XXH3_64bits_update(&state, buffer.data(), static_cast<size_t>(n));
    bytes += n;
  }
  int error = errno;
  close(fd);
  if (n < 0) return DataLoss("reading ", path.string(), ": ", strerror(error));
  return std::pair(bytes, static_cast<uint64_t>(XXH3_64bits_digest(&state)));
}

absl::Status SyncDirectory(const std::shared_ptr<StoreDisk>& faults, const std::filesystem::path& directory) {
  const std::string context = StrCat("syncing ", directory.string());
  std::unique_ptr<rocksdb::Directory> opened;
  TERRANE_RETURN_IF_ERROR(FromRocks(EnvOf(faults)->NewDirectory(directory.string(), &opened), context));
  return FromRocks(opened->Fsync(), context);
}

absl::Status SyncPath(const std::filesystem::path& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Internal("opening ", path.string(), ": ", strerror(errno));
  int result = fsync(fd);
  int error = errno;
  close(fd);
  if (result != 0) return Internal("syncing ", path.string(), ": ", strerror(error));
  return absl::OkStatus();
}

}  // namespace terrane::storage
