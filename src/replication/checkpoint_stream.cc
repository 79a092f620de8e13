#include "replication/checkpoint_stream.h"

#include <utility>

#include "common/crc32c.h"
#include "common/status.h"

namespace terrane::replication {
namespace {

constexpr size_t kChunkBytes = 1 << 20;

absl::Status Gone() {
  return absl::CancelledError("the reader of the checkpoint went away");
}

}  // namespace

absl::Status ReadCheckpoint(FileSystem* file_system, const Checkpoint& checkpoint,
                            const std::function<bool(v1::CheckpointChunk)>& write) {
  v1::CheckpointChunk header;
  header.mutable_checkpoint()->set_position(checkpoint.point.position.value());
  header.mutable_checkpoint()->set_term(checkpoint.point.term.value());
  header.mutable_checkpoint()->set_configuration(checkpoint.configuration);
  if (!write(std::move(header))) return Gone();
  TERRANE_ASSIGN_OR_RETURN(std::vector<std::string> names, file_system->List(checkpoint.directory));
  uint32_t crc = 0;
  for (const std::string& name : names) {
    TERRANE_ASSIGN_OR_RETURN(auto file, file_system->Open(checkpoint.directory / name, OpenMode::kRead));
    TERRANE_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
    v1::CheckpointChunk begin;
    begin.mutable_file()->set_name(name);
    begin.mutable_file()->set_bytes(size);
    if (!write(std::move(begin))) return Gone();
    for (uint64_t at = 0; at < size;) {
      TERRANE_ASSIGN_OR_RETURN(std::string bytes, file->Read(at, std::min<uint64_t>(kChunkBytes, size - at)));
      if (bytes.empty()) return DataLoss("file ", name, " of a checkpoint became shorter while it was read");
      at += bytes.size();
      crc = Crc32c(bytes, crc);
      v1::CheckpointChunk data;
      data.set_data(std::move(bytes));
      if (!write(std::move(data))) return Gone();
    }
  }
  v1::CheckpointChunk end;
  end.mutable_end()->set_files(names.size());
  end.mutable_end()->set_crc32c(crc);
  return write(std::move(end)) ? absl::OkStatus() : Gone();
}

absl::Status CheckpointSink::Take(const v1::CheckpointChunk& chunk) {
  switch (chunk.part_case()) {
    case v1::CheckpointChunk::kCheckpoint:
      checkpoint_.point = {Position(chunk.checkpoint().position()), Term(chunk.checkpoint().term())};
      checkpoint_.configuration = chunk.checkpoint().configuration();
      checkpoint_.directory = directory_;
      begun_ = true;
      return absl::OkStatus();
    case v1::CheckpointChunk::kFile:
      return Begin(chunk.file());
    case v1::CheckpointChunk::kData:
      if (file_ == nullptr) return DataLoss("a checkpoint has data without a file");
      TERRANE_RETURN_IF_ERROR(file_->Write(written_, chunk.data()));
      written_ += chunk.data().size();
      crc_ = Crc32c(chunk.data(), crc_);
      return absl::OkStatus();
    case v1::CheckpointChunk::kEnd:
      TERRANE_RETURN_IF_ERROR(EndFile());
      ended_ = begun_ && chunk.end().files() == files_ && chunk.end().crc32c() == crc_;
      return ended_ ? absl::OkStatus() : DataLoss("a fetched checkpoint does not match its checksum");
    case v1::CheckpointChunk::PART_NOT_SET:
      break;
  }
  return DataLoss("a checkpoint has a part that this version does not know");
}

absl::Status CheckpointSink::Begin(const v1::CheckpointFile& file) {
  TERRANE_RETURN_IF_ERROR(EndFile());
  if (file.name().empty() || file.name().find('/') != std::string::npos || file.name() == "." || file.name() == "..") {
    return DataLoss("a checkpoint has a file with the name \"", file.name(), "\"");
  }
  TERRANE_ASSIGN_OR_RETURN(file_, file_system_->Open(directory_ / file.name(), OpenMode::kCreate));
  name_ = file.name();
  bytes_ = file.bytes();
  written_ = 0;
  ++files_;
  return absl::OkStatus();
}

absl::Status CheckpointSink::EndFile() {
  if (file_ == nullptr) return absl::OkStatus();
  if (written_ != bytes_) return DataLoss("file ", name_, " of a checkpoint has ", written_, " bytes of ", bytes_);
  TERRANE_RETURN_IF_ERROR(file_->Sync());
  file_.reset();
  return absl::OkStatus();
}

absl::StatusOr<Checkpoint> CheckpointSink::Finish() {
  if (!ended_) return Unavailable("the checkpoint ended early");
  TERRANE_RETURN_IF_ERROR(file_system_->SyncDirectory(directory_));
  return checkpoint_;
}

}  // namespace terrane::replication
