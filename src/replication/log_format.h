// The bytes of log/ (docs/data-layout.md): sectors, batches, records, segment headers. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/ids.h"

namespace terrane::replication {

// A place in the log.
struct LogPoint {
  Position position;
  Term term;  // of the entry there; 0 at position 0
  friend bool operator==(const LogPoint&, const LogPoint&) = default;
};

// What Raft must never forget.
struct LogHardState {
  Term term;
  ReplicaId vote;  // 0: none in this term
  friend bool operator==(const LogHardState&, const LogHardState&) = default;
};

// One entry. `kind` belongs to the host and is opaque here.
struct LogEntry {
  Position position;
  Term term;
  uint8_t kind = 0;
  std::string data;
  friend bool operator==(const LogEntry&, const LogEntry&) = default;
};
struct LogEntryView {
  Position position;
  Term term;
  uint8_t kind = 0;
  std::string_view data;
};

// What goes out with one write and one sync; takes effect in the order of the fields.
struct LogBatch {
  std::optional<LogHardState> hard_state;
  std::optional<LogPoint> truncate_to;    // drop every entry behind this point
  std::vector<LogEntryView> entries;      // follow directly on the last entry
  std::optional<uint64_t> first_segment;  // segments before this one are no longer needed
  std::optional<uint64_t> sealed_by;      // nothing follows in this segment; the log goes on in that one
};

inline constexpr size_t kSectorBytes = 512;
inline constexpr uint32_t kLogFormatVersion = 1;

// A batch as it lies in the file.
struct EncodedBatch {
  std::string bytes;   // whole sectors
  uint32_t chain = 0;  // goes into the next batch
};
// `number` is one more than that of the batch before, `chain` is what that batch left.
EncodedBatch EncodeBatch(const LogBatch& batch, uint64_t number, uint32_t chain);
// Bytes that EncodeBatch will make.
size_t EncodedBatchBytes(const LogBatch& batch);

// Reads the batch at the start of `bytes`.
enum class BatchState {
  kComplete,  // `sectors`, `chain`, `payload` are set
  kNone,      // not a byte of it was written
  kTorn,      // a sector of it was never written, and nothing else follows: an unsynced batch, to be cut off
  kDamaged,   // anything else; `problem` and `problem_offset` say what and where
};
struct DecodedBatch {
  BatchState state = BatchState::kNone;
  size_t sectors = 0;
  uint32_t chain = 0;
  std::string payload;
  std::string problem;
  size_t problem_offset = 0;  // from the start of `bytes`
};
// `bytes` reaches to the end of the segment, because what lies behind a torn batch decides whether it is one.
DecodedBatch DecodeBatch(std::string_view bytes, uint64_t number, uint32_t chain);

// The records in a payload, with owned data. `entries` instead of LogBatch's views.
struct BatchRecords {
  std::optional<LogHardState> hard_state;
  std::optional<LogPoint> truncate_to;
  std::vector<LogEntry> entries;
  std::optional<uint64_t> first_segment;
  std::optional<uint64_t> sealed_by;
};
// kDataLoss if the payload is not what EncodeBatch makes (its CRC was right, so this is our own mistake or malice).
absl::StatusOr<BatchRecords> DecodeRecords(std::string_view payload);

inline constexpr size_t kMaxConfigurationBytes = 400;

// The first sector of a segment: what stood when it was begun, so that it can be the first one left.
struct SegmentHeader {
  uint64_t segment = 0;
  uint64_t incarnation = 0;    // of the directory: a segment of another replica does not pass
  uint64_t first_segment = 0;  // the log begins there
  uint64_t next_number = 0;    // number of the first batch in it
  uint32_t chain = 0;          // what the last batch of the segment before leaves
  LogHardState hard_state;
  LogPoint last;               // last entry before it
  std::string configuration;   // members as of `last`; opaque here, at most kMaxConfigurationBytes
  uint64_t segment_bytes = 0;  // size of the file
  friend bool operator==(const SegmentHeader&, const SegmentHeader&) = default;
};
std::string EncodeSegmentHeader(const SegmentHeader& header);  // kSectorBytes
// kDataLoss: damaged; kFailedPrecondition: of a newer format version.
absl::StatusOr<SegmentHeader> DecodeSegmentHeader(std::string_view sector);

bool AllZero(std::string_view bytes);

}  // namespace terrane::replication
