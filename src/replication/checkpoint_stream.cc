#include "replication/checkpoint_stream.h"

#include <algorithm>
#include <utility>

#include "common/crc32c.h"
#include "common/logging.h"
#include "common/status.h"

namespace terrane::replication {
namespace {

constexpr size_t kChunkBytes = 256 << 10;
constexpr int kMismatches = 3;  // of one file, until the checkpoint is given up

absl::Status Gone() {
  return absl::CancelledError("the reader of the checkpoint went away");
}

// Of the whole file; read once for a checkpoint.
absl::StatusOr<uint64_t> SumOf(File* file, const std::string& name, uint64_t size, FileSums* sums) {
  if (std::optional<uint64_t> known = sums->Find(name)) return *known;
  FileSum sum;
  for (uint64_t at = 0; at < size;) {
    TERRANE_ASSIGN_OR_RETURN(std::string bytes, file->Read(at, std::min<uint64_t>(kChunkBytes, size - at)));
    if (bytes.empty()) return DataLoss("file ", name, " of a checkpoint became shorter while it was read");
    at += bytes.size();
    sum.Add(bytes);
  }
  sums->Note(name, sum.value());
  return sum.value();
}

}  // namespace

absl::Status SendCheckpoint(FileSystem* file_system, const Checkpoint& checkpoint, const CheckpointPlace& from,
                            const std::function<absl::Status(uint64_t)>& pace,
                            const std::function<bool(v1::CheckpointChunk)>& write) {
  TERRANE_ASSIGN_OR_RETURN(std::vector<std::string> names, file_system->List(checkpoint.directory));
  std::vector<uint64_t> sizes;
  uint64_t total = 0;
  for (const std::string& name : names) {
    TERRANE_ASSIGN_OR_RETURN(auto file, file_system->Open(checkpoint.directory / name, OpenMode::kRead));
    TERRANE_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
    total += size;
    sizes.push_back(size);
  }
  size_t first = 0;
  uint64_t offset = 0;
  if (!from.id.empty() && from.id == checkpoint.id && !from.file.empty()) {
    first = static_cast<size_t>(std::find(names.begin(), names.end(), from.file) - names.begin());
    if (first == names.size() || from.offset > sizes[first]) {
      return InvalidArgument("checkpoint ", from.id, " has no byte ", from.offset, " of a file ", from.file);
    }
    offset = from.offset;
  }
  v1::CheckpointChunk header;
  header.mutable_checkpoint()->set_position(checkpoint.point.position.value());
  header.mutable_checkpoint()->set_term(checkpoint.point.term.value());
  header.mutable_checkpoint()->set_configuration(checkpoint.configuration);
  header.mutable_checkpoint()->set_id(checkpoint.id);
  header.mutable_checkpoint()->set_bytes(total);
  if (!write(std::move(header))) return Gone();
  uint32_t crc = 0;
  for (size_t i = first; i < names.size(); ++i) {
    const uint64_t size = sizes[i];
    TERRANE_ASSIGN_OR_RETURN(auto file, file_system->Open(checkpoint.directory / names[i], OpenMode::kRead));
    v1::CheckpointChunk begin;
    begin.mutable_file()->set_name(names[i]);
    begin.mutable_file()->set_bytes(size);
    TERRANE_ASSIGN_OR_RETURN(const uint64_t sum, SumOf(file.get(), names[i], size, checkpoint.sums.get()));
    begin.mutable_file()->set_checksum(sum);
    if (!write(std::move(begin))) return Gone();
    for (uint64_t at = std::exchange(offset, 0); at < size;) {
      const uint64_t wanted = std::min<uint64_t>(kChunkBytes, size - at);
      if (pace) TERRANE_RETURN_IF_ERROR(pace(wanted));
      TERRANE_ASSIGN_OR_RETURN(std::string bytes, file->Read(at, wanted));
      if (bytes.empty()) return DataLoss("file ", names[i], " of a checkpoint became shorter while it was read");
      at += bytes.size();
      crc = Crc32c(bytes, crc);
      v1::CheckpointChunk data;
      data.set_data(std::move(bytes));
      if (!write(std::move(data))) return Gone();
    }
  }
  v1::CheckpointChunk end;
  end.mutable_end()->set_files(names.size());
  end.mutable_end()->set_crc32c(crc);  // of this stream, for receivers that know no checksums of files
  return write(std::move(end)) ? absl::OkStatus() : Gone();
}

CheckpointPlace CheckpointSink::Place() const {
  if (checkpoint_.id.empty()) return {};
  return {checkpoint_.id, file_.name(), written_};
}

absl::Status CheckpointSink::Take(const v1::CheckpointChunk& chunk) {
  if (chunk.part_case() == v1::CheckpointChunk::kCheckpoint) return BeginCheckpoint(chunk.checkpoint());
  if (!in_stream_) return DataLoss("a checkpoint does not begin with what it is");
  switch (chunk.part_case()) {
    case v1::CheckpointChunk::kFile:
      return BeginFile(chunk.file());
    case v1::CheckpointChunk::kData:
      return TakeData(chunk.data());
    case v1::CheckpointChunk::kEnd:
      return End(chunk.end());
    default:
      return DataLoss("a checkpoint has a part that this version does not know");
  }
}

absl::Status CheckpointSink::BeginCheckpoint(const v1::CheckpointHeader& header) {
  in_stream_ = true;
  if (!header.id().empty() && header.id() == checkpoint_.id) return absl::OkStatus();
  checkpoint_ = Checkpoint();
  out_.reset();
  file_.Clear();
  written_ = files_ = 0;
  crc_ = 0;
  whole_ = ended_ = false;
  mismatches_.clear();
  TERRANE_RETURN_IF_ERROR(file_system_->RemoveAll(directory_));
  TERRANE_RETURN_IF_ERROR(file_system_->CreateDirectories(directory_));
  if (check_space_) TERRANE_RETURN_IF_ERROR(check_space_(header.bytes()));
  checkpoint_.id = header.id();
  checkpoint_.point = {Position(header.position()), Term(header.term())};
  checkpoint_.configuration = header.configuration();
  checkpoint_.directory = directory_;
  return absl::OkStatus();
}

absl::Status CheckpointSink::BeginFile(const v1::CheckpointFile& file) {
  const std::string& name = file.name();
  if (name.empty() || name.find('/') != std::string::npos || name == "." || name == "..") {
    return DataLoss("a checkpoint has a file with the name \"", name, "\"");
  }
  if (name != file_.name() && !file_.name().empty() && !whole_) {
    return DataLoss("file ", file_.name(), " of a checkpoint has ", written_, " bytes of ", file_.bytes());
  }
  if (name == file_.name() && (whole_ || written_ > 0)) return absl::OkStatus();  // goes on
  TERRANE_ASSIGN_OR_RETURN(out_, file_system_->Open(directory_ / name, OpenMode::kCreate));
  file_ = file;
  written_ = 0;
  whole_ = false;
  sum_ = FileSum();
  return EndFileIfWhole();
}

absl::Status CheckpointSink::TakeData(std::string_view data) {
  if (out_ == nullptr) return DataLoss("a checkpoint has data without a file");
  TERRANE_RETURN_IF_ERROR(out_->Write(written_, data));
  written_ += data.size();
  received_ += data.size();
  sum_.Add(data);
  crc_ = Crc32c(data, crc_);
  return EndFileIfWhole();
}

absl::Status CheckpointSink::EndFileIfWhole() {
  if (written_ < file_.bytes()) return absl::OkStatus();
  const bool too_long = written_ > file_.bytes();
  if (too_long || (!checkpoint_.id.empty() && sum_.value() != file_.checksum())) {
    out_.reset();
    written_ = 0;
    if (++mismatches_[file_.name()] >= kMismatches) checkpoint_.id.clear();
    return DataLoss("file ", file_.name(), " of a fetched checkpoint ",
                    too_long ? "is longer than was said" : "does not match its checksum");
  }
  TERRANE_RETURN_IF_ERROR(out_->Sync());
  out_.reset();
  whole_ = true;
  ++files_;
  return absl::OkStatus();
}

absl::Status CheckpointSink::End(const v1::CheckpointEnd& end) {
  if (!file_.name().empty() && !whole_) {
    return DataLoss("file ", file_.name(), " of a checkpoint has ", written_, " bytes of ", file_.bytes());
  }
  if (end.files() != files_ || (checkpoint_.id.empty() && end.crc32c() != crc_)) {
    checkpoint_.id.clear();
    return DataLoss("a fetched checkpoint does not match its checksum");
  }
  if (files_ == 0) {
    // Installing nothing would cost the receiver its own directory.
    checkpoint_.id.clear();
    return DataLoss("a fetched checkpoint has no files");
  }
  ended_ = true;
  return absl::OkStatus();
}

absl::StatusOr<Checkpoint> CheckpointSink::Finish() {
  if (!ended_) return Unavailable("the checkpoint ended early");
  TERRANE_RETURN_IF_ERROR(file_system_->SyncDirectory(directory_));
  return checkpoint_;
}

}  // namespace terrane::replication
