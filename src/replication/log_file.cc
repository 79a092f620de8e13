#include "replication/log_file.h"

#include <algorithm>

#include "common/status.h"
#include "replication/segment_allocator.h"

namespace terrane::replication {
namespace {

namespace fs = std::filesystem;

uint64_t WholeSectors(uint64_t bytes) {
  return (bytes + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
}

}  // namespace

LogFile::LogFile(FileSystem* file_system, fs::path directory, Options options)
    : file_system_(file_system),
      directory_(std::move(directory)),
      options_(options),
      allocator_(std::make_unique<SegmentAllocator>(file_system, directory_)) {}

LogFile::~LogFile() = default;

absl::StatusOr<std::unique_ptr<LogFile>> LogFile::Create(FileSystem* file_system, fs::path directory, Options options,
                                                         LogHardState hard_state,
                                                         const std::vector<LogEntryView>& entries) {
  TERRANE_RETURN_IF_ERROR(file_system->RemoveAll(directory));
  TERRANE_RETURN_IF_ERROR(file_system->CreateDirectories(directory));
  TERRANE_RETURN_IF_ERROR(file_system->SyncDirectory(directory.parent_path()));
  std::unique_ptr<LogFile> log(new LogFile(file_system, std::move(directory), options));
  SegmentHeader header;
  header.first_segment = 1;
  header.next_number = 1;
  TERRANE_RETURN_IF_ERROR(log->Begin(1, 0, header));
  LogBatch batch;
  batch.hard_state = hard_state;
  batch.entries = entries;
  TERRANE_RETURN_IF_ERROR(log->Append(std::move(batch)));
  return log;
}

absl::StatusOr<std::unique_ptr<LogFile>> LogFile::Open(FileSystem* file_system, fs::path directory, Options options,
                                                       RecoveredLog* recovered) {
  TERRANE_ASSIGN_OR_RETURN(*recovered, RecoverLog(file_system, directory, options.incarnation));
  std::unique_ptr<LogFile> log(new LogFile(file_system, directory, options));
  for (const std::string& name : recovered->leftovers) {
    TERRANE_RETURN_IF_ERROR(file_system->Remove(directory / name));
  }
  log->segments_ = recovered->segments;
  log->next_number_ = recovered->next_number;
  log->chain_ = recovered->chain;
  log->offset_ = recovered->offset;
  log->hard_state_ = recovered->hard_state;
  log->last_ = recovered->last();
  if (recovered->unbegun) {
    TERRANE_RETURN_IF_ERROR(file_system->Remove(directory / SegmentFileName(*recovered->unbegun)));
  }
  if (recovered->unbegun || !recovered->leftovers.empty()) {
    TERRANE_RETURN_IF_ERROR(file_system->SyncDirectory(directory));
  }
  TERRANE_ASSIGN_OR_RETURN(log->file_,
                           file_system->Open(directory / SegmentFileName(log->segments_.back().id), OpenMode::kWrite));
  if (recovered->torn_bytes > 0) {
    TERRANE_RETURN_IF_ERROR(log->file_->Write(log->offset_, std::string(recovered->torn_bytes, '\0')));
    TERRANE_RETURN_IF_ERROR(log->file_->Sync());
  }
  log->configuration_ = recovered->base_configuration;
  return log;
}

uint64_t LogFile::bytes() const {
  uint64_t bytes = 0;
  for (const LogSegment& segment : segments_) bytes += segment.bytes;
  return bytes;
}

absl::Status LogFile::Guard(absl::Status status) {
  if (!status.ok() && broken_.ok()) broken_ = status;
  return status;
}

absl::Status LogFile::Append(LogBatch batch) {
  if (!broken_.ok()) return broken_;
  return Guard(AppendBatch(std::move(batch)));
}

absl::Status LogFile::AppendBatch(LogBatch batch) {
  const uint64_t bytes = EncodedBatchBytes(batch);
  if (offset_ + bytes + kSectorBytes > segments_.back().bytes) {
    TERRANE_RETURN_IF_ERROR(Roll(bytes, segments_.front().id, last_));
  }
  TERRANE_RETURN_IF_ERROR(WriteBatch(EncodeBatch(batch, next_number_, chain_)));
  if (batch.hard_state) hard_state_ = *batch.hard_state;
  if (batch.truncate_to) {
    last_ = *batch.truncate_to;
    MarkUndercut(&segments_, last_);
  }
  if (!batch.entries.empty()) last_ = LogPoint{batch.entries.back().position, batch.entries.back().term};
  if (offset_ > segments_.back().bytes / 2) {
    allocator_->Prepare(segments_.back().id + 1, WholeSectors(options_.segment_bytes));
  }
  return absl::OkStatus();
}

absl::Status LogFile::WriteBatch(const EncodedBatch& encoded) {
  TERRANE_RETURN_IF_ERROR(file_->Write(offset_, encoded.bytes));
  TERRANE_RETURN_IF_ERROR(file_->Sync());
  offset_ += encoded.bytes.size();
  bytes_written_ += encoded.bytes.size();
  chain_ = encoded.chain;
  ++next_number_;
  return absl::OkStatus();
}

absl::Status LogFile::Roll(uint64_t bytes, uint64_t first_segment, LogPoint last) {
  // The new header is there before the old segment leads to it: so a segment that is led to and is not there, or is
  // empty, is damage and never a power cut.
  const uint64_t next = segments_.back().id + 1;
  LogBatch seal;
  seal.sealed_by = next;
  EncodedBatch encoded = EncodeBatch(seal, next_number_, chain_);

  std::unique_ptr<File> old = std::move(file_);
  const uint64_t old_offset = offset_;
  SegmentHeader header;
  header.first_segment = first_segment;
  header.next_number = next_number_ + 1;
  header.chain = encoded.chain;
  header.hard_state = hard_state_;
  header.last = last;
  header.configuration = configuration_;
  TERRANE_RETURN_IF_ERROR(Begin(next, bytes, std::move(header)));
  TERRANE_RETURN_IF_ERROR(old->Write(old_offset, encoded.bytes));
  TERRANE_RETURN_IF_ERROR(old->Sync());
  chain_ = encoded.chain;
  ++next_number_;
  return absl::OkStatus();
}

absl::Status LogFile::Begin(uint64_t id, uint64_t bytes, SegmentHeader header) {
  if (header.configuration.size() > kMaxConfigurationBytes) {
    return Internal("a configuration of ", header.configuration.size(), " bytes does not fit into a segment header");
  }
  const uint64_t needed = std::max(WholeSectors(options_.segment_bytes), WholeSectors(bytes) + 2 * kSectorBytes);
  TERRANE_ASSIGN_OR_RETURN(header.segment_bytes, allocator_->Take(id, needed));
  header.segment = id;
  header.incarnation = options_.incarnation;
  TERRANE_ASSIGN_OR_RETURN(file_, file_system_->Open(directory_ / SegmentFileName(id), OpenMode::kWrite));
  TERRANE_RETURN_IF_ERROR(file_->Write(0, EncodeSegmentHeader(header)));
  TERRANE_RETURN_IF_ERROR(file_->Sync());
  bytes_written_ += header.segment_bytes + kSectorBytes;
  segments_.push_back({id, header.last, header.segment_bytes});
  offset_ = kSectorBytes;
  return absl::OkStatus();
}

absl::StatusOr<LogPoint> LogFile::Cut(Position durable, uint64_t keep_bytes) {
  if (!broken_.ok()) return broken_;
  size_t keep = segments_.size();  // segments from this one on are kept
  uint64_t kept = 0;
  while (keep > 0 && kept < keep_bytes) kept += segments_[--keep].bytes;
  if (keep == segments_.size() && keep > 0) --keep;
  while (keep > 0 && (segments_[keep].begins_after.position > durable || segments_[keep].undercut)) --keep;
  if (keep == 0) return base();
  const uint64_t first = segments_[keep].id;
  LogBatch batch;
  batch.first_segment = first;
  TERRANE_RETURN_IF_ERROR(Append(std::move(batch)));
  TERRANE_RETURN_IF_ERROR(Guard(RemoveBefore(first)));
  return base();
}

absl::Status LogFile::RemoveBefore(uint64_t first_segment) {
  auto keep = std::find_if(segments_.begin(), segments_.end(), [&](auto& s) { return s.id >= first_segment; });
  // Backwards: what is left if the power goes in between is behind a gap, and recovery begins after that. Forwards, it
  // would begin with the first that is left, where perhaps no reading can begin (undercut).
  for (auto it = keep; it != segments_.begin();) {
    TERRANE_RETURN_IF_ERROR(file_system_->Remove(directory_ / SegmentFileName((--it)->id)));
  }
  segments_.erase(segments_.begin(), keep);
  return file_system_->SyncDirectory(directory_);
}

absl::Status LogFile::Reset(LogPoint base, std::string configuration) {
  if (!broken_.ok()) return broken_;
  configuration_ = std::move(configuration);
  const uint64_t first = segments_.back().id + 1;
  TERRANE_RETURN_IF_ERROR(Guard(Roll(0, first, base)));
  last_ = base;
  return Guard(RemoveBefore(first));
}

}  // namespace terrane::replication
