#include "replication/log_recovery.h"

#include <algorithm>
#include <charconv>

#include "common/status.h"

namespace terrane::replication {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kPrefix = "segment-";
constexpr std::string_view kSuffix = ".log";

std::optional<uint64_t> ParseSegmentFileName(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  name = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
  uint64_t id = 0;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return id;
}

// Reads segments `from`..`to`, all of which exist.
class Reader {
 public:
  Reader(FileSystem* file_system, const fs::path& directory, uint64_t incarnation, uint64_t from, uint64_t to)
      : file_system_(file_system), directory_(directory), incarnation_(incarnation), from_(from), to_(to) {}

  absl::Status Read() {
    for (uint64_t id = from_; id <= to_ && !log_.unbegun; ++id) TERRANE_RETURN_IF_ERROR(ReadSegment(id));
    if (log_.segments.empty()) {
      const std::string before =
          from_ > 1 ? StrCat(", and ", (directory_ / SegmentFileName(from_ - 1)).string(), " is missing") : "";
      return DataLoss("log damaged: ", (directory_ / SegmentFileName(from_)).string(), " at offset 0: it is empty",
                      before);
    }
    if (sealed_) {
      return DataLoss("log damaged: ", (directory_ / SegmentFileName(to_ + 1)).string(),
                      " is missing: the log goes on in it");
    }
    return absl::OkStatus();
  }

  uint64_t first_segment() const { return first_segment_; }
  RecoveredLog& log() { return log_; }

 private:
  absl::Status Damage(uint64_t id, uint64_t offset, std::string_view problem) const {
    return DataLoss("log damaged: ", (directory_ / SegmentFileName(id)).string(), " at offset ", offset, ": ", problem);
  }

  absl::Status ReadSegment(uint64_t id) {
    TERRANE_ASSIGN_OR_RETURN(std::string bytes, ReadFile(file_system_, directory_ / SegmentFileName(id)));
    const bool first = id == from_;
    if (bytes.size() < kSectorBytes || bytes.size() % kSectorBytes != 0) {
      return Damage(id, bytes.size(), "the file was cut short");
    }
    std::string_view body = std::string_view(bytes).substr(kSectorBytes);
    std::string_view header_sector = std::string_view(bytes).substr(0, kSectorBytes);
    if (AllZero(header_sector)) {
      if (!first && sealed_) return Damage(id, 0, "the header is gone, yet the segment before leads here");
      if (!AllZero(body)) return Damage(id, 0, "the header is gone, yet there is something behind it");
      if (id != to_) return Damage(id, 0, "it is empty, yet there is a later segment");
      if (!first) log_.unbegun = id;
      return absl::OkStatus();
    }
    absl::StatusOr<SegmentHeader> header = DecodeSegmentHeader(header_sector);
    if (!header.ok()) {
      if (absl::IsFailedPrecondition(header.status())) {
        return Annotate(header.status(), (directory_ / SegmentFileName(id)).string());
      }
      return Damage(id, 0, MessageOf(header.status()));
    }
    TERRANE_RETURN_IF_ERROR(CheckHeader(id, *header, bytes.size()));
    if (!first && !sealed_) {
      // The power went while the log was about to go on here: the header is there, the way to it is not.
      if (!AllZero(body) || id != to_) return Damage(id, 0, "no way leads here from the segment before");
      log_.unbegun = id;
      return absl::OkStatus();
    }
    TERRANE_RETURN_IF_ERROR(Enter(id, *header));
    return ReadBatches(id, bytes);
  }

  absl::Status CheckHeader(uint64_t id, const SegmentHeader& header, uint64_t size) const {
    if (header.segment != id) return Damage(id, 0, StrCat("this is segment ", header.segment));
    if (header.segment_bytes != size) {
      return Damage(id, size, StrCat("the file has ", size, " bytes instead of ", header.segment_bytes));
    }
    if (header.incarnation != incarnation_) {
      return FailedPrecondition((directory_ / SegmentFileName(id)).string(),
                                " belongs to another directory (incarnation ", header.incarnation, ", here ",
                                incarnation_, "): the wrong disk, or a file copied by hand");
    }
    return absl::OkStatus();
  }

  // Begins segment `id`: takes over its header if it is the first one read, else compares.
  absl::Status Enter(uint64_t id, const SegmentHeader& header) {
    const bool restart = header.first_segment == id && id != from_;  // the log was replaced by a checkpoint
    if (id == from_ || (restart && header.last != log_.last())) {
      log_.base = header.last;
      log_.base_configuration = header.configuration;
      log_.entries.clear();
    }
    if (id == from_) {
      log_.hard_state = header.hard_state;
      log_.next_number = header.next_number;
      log_.chain = header.chain;
    }
    if (header.next_number != log_.next_number || header.chain != log_.chain || header.last != log_.last() ||
        header.hard_state != log_.hard_state) {
      return Damage(id, 0, "its header does not continue the segment before");
    }
    first_segment_ = std::max(first_segment_, header.first_segment);
    log_.segments.push_back({id, header.last, header.segment_bytes});
    sealed_ = false;
    return absl::OkStatus();
  }

  absl::Status ReadBatches(uint64_t id, std::string_view bytes) {
    uint64_t offset = kSectorBytes;
    while (true) {
      DecodedBatch batch = DecodeBatch(bytes.substr(offset), log_.next_number, log_.chain);
      if (batch.state == BatchState::kDamaged) return Damage(id, offset + batch.problem_offset, batch.problem);
      if (batch.state != BatchState::kComplete) {
        // A batch that was never synced was never answered; but only the last one can be such.
        log_.offset = offset;
        log_.torn_bytes = batch.state == BatchState::kTorn ? bytes.size() - offset : 0;
        if (sealed_ && log_.torn_bytes > 0) return Damage(id, offset, "something follows the end of the segment");
        return absl::OkStatus();
      }
      if (sealed_) return Damage(id, offset, "a batch follows the end of the segment");
      absl::StatusOr<BatchRecords> records = DecodeRecords(batch.payload);
      if (!records.ok()) return Damage(id, offset, MessageOf(records.status()));
      TERRANE_RETURN_IF_ERROR(Take(id, offset, *std::move(records)));
      log_.chain = batch.chain;
      ++log_.next_number;
      offset += batch.sectors * kSectorBytes;
    }
  }

  absl::Status Take(uint64_t id, uint64_t offset, BatchRecords records) {
    if (records.hard_state) log_.hard_state = *records.hard_state;
    if (records.truncate_to) TERRANE_RETURN_IF_ERROR(Truncate(id, offset, *records.truncate_to));
    for (LogEntry& entry : records.entries) {
      if (entry.position.value() != log_.last().position.value() + 1 || entry.term < log_.last().term) {
        return Damage(id, offset,
                      StrCat("entry ", entry.position.value(), " of term ", entry.term.value(), " follows entry ",
                             log_.last().position.value(), " of term ", log_.last().term.value()));
      }
      log_.entries.push_back(std::move(entry));
    }
    if (records.first_segment) first_segment_ = std::max(first_segment_, *records.first_segment);
    if (records.sealed_by) {
      if (*records.sealed_by != id + 1) return Damage(id, offset, "the segment ends towards a wrong one");
      sealed_ = true;
    }
    return absl::OkStatus();
  }

  absl::Status Truncate(uint64_t id, uint64_t offset, LogPoint point) {
    if (point.position > log_.last().position) return Damage(id, offset, "entries were taken back that are not there");
    while (!log_.entries.empty() && log_.entries.back().position > point.position) log_.entries.pop_back();
    MarkUndercut(&log_.segments, point);
    if (log_.last() != point) return Damage(id, offset, "entries were taken back to one of another term");
    return absl::OkStatus();
  }

  FileSystem* const file_system_;
  const fs::path directory_;
  const uint64_t incarnation_;
  const uint64_t from_;
  const uint64_t to_;
  bool sealed_ = false;  // the last segment read says that the log goes on in the next one
  uint64_t first_segment_ = 0;
  RecoveredLog log_;
};

}  // namespace

std::string SegmentFileName(uint64_t segment) {
  std::string digits = std::to_string(segment);
  return StrCat(kPrefix, std::string(digits.size() < 10 ? 10 - digits.size() : 0, '0'), digits, kSuffix);
}

void MarkUndercut(std::vector<LogSegment>* segments, LogPoint point) {
  for (LogSegment& segment : *segments) {
    if (segment.begins_after.position > point.position) segment.undercut = true;
  }
}

absl::StatusOr<RecoveredLog> RecoverLog(FileSystem* file_system, const fs::path& directory, uint64_t incarnation) {
  TERRANE_ASSIGN_OR_RETURN(std::vector<std::string> names, file_system->List(directory));
  std::vector<uint64_t> ids;
  std::vector<std::string> leftovers;
  for (const std::string& name : names) {
    if (std::optional<uint64_t> id = ParseSegmentFileName(name)) ids.push_back(*id);
    if (name.ends_with(".new")) leftovers.push_back(name);
  }
  if (ids.empty()) return DataLoss("log damaged: ", directory.string(), " holds no segment");
  std::sort(ids.begin(), ids.end());
  const uint64_t last = ids.back();
  size_t i = ids.size() - 1;
  while (i > 0 && ids[i - 1] + 1 == ids[i]) --i;

  // The newest word on where the log begins is in its last segments; older ones may be half removed.
  uint64_t from = ids[i];
  Reader reader(file_system, directory, incarnation, from, last);
  if (absl::Status status = reader.Read(); !status.ok()) {
    // What cannot be read here may only be what comes behind a file that is gone.
    if (!absl::IsDataLoss(status) || i == 0) return status;
    return DataLoss("log damaged: ", (directory / SegmentFileName(from - 1)).string(),
                    " is missing; behind it: ", MessageOf(status));
  }
  const uint64_t first = reader.first_segment();
  if (from > first) {
    return DataLoss("log damaged: ", (directory / SegmentFileName(from - 1)).string(),
                    " is missing: the log begins with segment ", first);
  }
  RecoveredLog log = std::move(reader.log());
  if (from < first) {
    Reader again(file_system, directory, incarnation, first, last);
    TERRANE_RETURN_IF_ERROR(again.Read());
    log = std::move(again.log());
  }
  for (uint64_t id : ids) {
    if (id < first) leftovers.push_back(SegmentFileName(id));
  }
  log.leftovers = std::move(leftovers);
  return log;
}

}  // namespace terrane::replication
