#include "replication/log_format.h"

#include <algorithm>
#include <cstring>

#include "common/crc32c.h"
#include "common/status.h"

namespace terrane::replication {
namespace {

// A batch:
//   first sector   tagged number (8) · payload length (4) · CRC of these twelve bytes (4) · CRC of the batch (4) ·
//   payload other sectors  tagged number (8) · payload
// The CRC of the batch continues the chain over all its sectors with its own field as zeros. The tag keeps a written
// sector from ever being all zeros.
constexpr uint64_t kSectorTag = 0xa7ull << 56;
constexpr size_t kNumberBytes = 8;
constexpr size_t kLengthAt = 8;
constexpr size_t kHeaderCrcAt = 12;
constexpr size_t kBatchCrcAt = 16;
constexpr size_t kFirstHeaderBytes = 20;
constexpr size_t kFirstPayload = kSectorBytes - kFirstHeaderBytes;
constexpr size_t kNextPayload = kSectorBytes - kNumberBytes;

constexpr std::string_view kSegmentMagic = "\x89TERLOG\n";

enum RecordType : uint8_t { kHardState = 1, kTruncate = 2, kEntry = 3, kFirstSegment = 4, kSeal = 5 };
constexpr size_t kPairRecordBytes = 1 + 16;
constexpr size_t kNumberRecordBytes = 1 + 8;
constexpr size_t kEntryHeaderBytes = 1 + 8 + 8 + 1 + 4;

template <typename T>
void Put(char* at, T value) {
  static_assert(std::endian::native == std::endian::little);
  std::memcpy(at, &value, sizeof(value));
}
template <typename T>
T Get(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

size_t SectorsFor(size_t payload) {
  return payload <= kFirstPayload ? 1 : 1 + (payload - kFirstPayload + kNextPayload - 1) / kNextPayload;
}

size_t PayloadBytes(const LogBatch& batch) {
  size_t size = 0;
  if (batch.hard_state) size += kPairRecordBytes;
  if (batch.truncate_to) size += kPairRecordBytes;
  for (const LogEntryView& entry : batch.entries) size += kEntryHeaderBytes + entry.data.size();
  if (batch.first_segment) size += kNumberRecordBytes;
  if (batch.sealed_by) size += kNumberRecordBytes;
  return size;
}

// Writes the payload into sectors, leaving room for each sector's beginning.
class SectorWriter {
 public:
  explicit SectorWriter(std::string* out) : out_(out) {}

  void Bytes(std::string_view bytes) {
    while (!bytes.empty()) {
      if (at_ % kSectorBytes == 0) at_ += kNumberBytes;
      size_t n = std::min(bytes.size(), kSectorBytes - at_ % kSectorBytes);
      std::memcpy(out_->data() + at_, bytes.data(), n);
      at_ += n;
      bytes.remove_prefix(n);
    }
  }
  template <typename T>
  void Number(T value) {
    char bytes[sizeof(T)];
    Put(bytes, value);
    Bytes({bytes, sizeof(T)});
  }
  void Pair(RecordType type, uint64_t a, uint64_t b) {
    Number<uint8_t>(type);
    Number(a);
    Number(b);
  }

 private:
  std::string* const out_;
  size_t at_ = kFirstHeaderBytes;
};

// Sectors with the CRC field of the first one as zeros.
uint32_t BatchCrc(std::string_view sectors, uint32_t chain) {
  uint32_t crc = Crc32c(sectors.substr(0, kBatchCrcAt), chain);
  crc = Crc32c(std::string_view("\0\0\0\0", 4), crc);
  return Crc32c(sectors.substr(kBatchCrcAt + 4), crc);
}

std::string_view Sector(std::string_view bytes, size_t i) {
  return bytes.substr(i * kSectorBytes, kSectorBytes);
}

DecodedBatch Damaged(std::string problem, size_t offset) {
  DecodedBatch batch;
  batch.state = BatchState::kDamaged;
  batch.problem = std::move(problem);
  batch.problem_offset = offset;
  return batch;
}

// What follows is not a complete batch `number`: decides between "never written", "torn" and damage by looking at every
// sector up to the end. A sector of the unsynced last batch holds what was written or what was there before, zeros.
DecodedBatch DecodeTail(std::string_view bytes, uint64_t number, size_t sectors_of_batch) {
  bool any = false;
  for (size_t i = 0; i < bytes.size() / kSectorBytes; ++i) {
    std::string_view sector = Sector(bytes, i);
    if (AllZero(sector)) continue;
    uint64_t tagged = Get<uint64_t>(sector.data());
    if (tagged != (kSectorTag | number)) {
      return Damaged(StrCat("batch ", number, " is not complete, yet something follows it"), i * kSectorBytes);
    }
    if (i >= sectors_of_batch)
      return Damaged(StrCat("batch ", number, " has sectors behind its end"), i * kSectorBytes);
    any = true;
  }
  DecodedBatch batch;
  batch.state = any ? BatchState::kTorn : BatchState::kNone;
  return batch;
}

}  // namespace

bool AllZero(std::string_view bytes) {
  return bytes.empty() || (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

size_t EncodedBatchBytes(const LogBatch& batch) {
  return SectorsFor(PayloadBytes(batch)) * kSectorBytes;
}

EncodedBatch EncodeBatch(const LogBatch& batch, uint64_t number, uint32_t chain) {
  const size_t payload = PayloadBytes(batch);
  const size_t sectors = SectorsFor(payload);
  EncodedBatch encoded;
  std::string& out = encoded.bytes;
  out.assign(sectors * kSectorBytes, '\0');
  for (size_t i = 0; i < sectors; ++i) Put<uint64_t>(out.data() + i * kSectorBytes, kSectorTag | number);

  SectorWriter writer(&out);
  if (batch.hard_state) writer.Pair(kHardState, batch.hard_state->term.value(), batch.hard_state->vote.value());
  if (batch.truncate_to) writer.Pair(kTruncate, batch.truncate_to->position.value(), batch.truncate_to->term.value());
  for (const LogEntryView& entry : batch.entries) {
    writer.Pair(kEntry, entry.position.value(), entry.term.value());
    writer.Number<uint8_t>(entry.kind);
    writer.Number<uint32_t>(static_cast<uint32_t>(entry.data.size()));
    writer.Bytes(entry.data);
  }
  if (batch.first_segment) {
    writer.Number<uint8_t>(kFirstSegment);
    writer.Number<uint64_t>(*batch.first_segment);
  }
  if (batch.sealed_by) {
    writer.Number<uint8_t>(kSeal);
    writer.Number<uint64_t>(*batch.sealed_by);
  }

  Put<uint32_t>(out.data() + kLengthAt, static_cast<uint32_t>(payload));
  Put<uint32_t>(out.data() + kHeaderCrcAt, Crc32c(std::string_view(out).substr(0, kHeaderCrcAt)));
  encoded.chain = BatchCrc(out, chain);
  Put<uint32_t>(out.data() + kBatchCrcAt, encoded.chain);
  return encoded;
}

DecodedBatch DecodeBatch(std::string_view bytes, uint64_t number, uint32_t chain) {
  const size_t available = bytes.size() / kSectorBytes;
  if (available == 0) return DecodedBatch();
  std::string_view first = Sector(bytes, 0);
  if (AllZero(first)) return DecodeTail(bytes, number, available);
  if (Get<uint32_t>(first.data() + kHeaderCrcAt) != Crc32c(first.substr(0, kHeaderCrcAt))) {
    return Damaged(StrCat("the beginning of batch ", number, " has a wrong checksum"), 0);
  }
  if (uint64_t tagged = Get<uint64_t>(first.data()); tagged != (kSectorTag | number)) {
    return Damaged(StrCat("batch ", tagged & ~kSectorTag, " stands where batch ", number, " should"), 0);
  }
  const uint32_t length = Get<uint32_t>(first.data() + kLengthAt);
  const size_t sectors = SectorsFor(length);
  if (sectors > available) return Damaged(StrCat("batch ", number, " is longer than its segment"), 0);
  for (size_t i = 1; i < sectors; ++i) {
    std::string_view sector = Sector(bytes, i);
    if (Get<uint64_t>(sector.data()) == (kSectorTag | number)) continue;
    if (AllZero(sector)) return DecodeTail(bytes, number, sectors);
    return Damaged(StrCat("a sector of batch ", number, " does not belong to it"), i * kSectorBytes);
  }
  DecodedBatch batch;
  std::string_view whole = bytes.substr(0, sectors * kSectorBytes);
  batch.chain = BatchCrc(whole, chain);
  if (batch.chain != Get<uint32_t>(first.data() + kBatchCrcAt)) {
    return Damaged(StrCat("batch ", number, " has a wrong checksum"), 0);
  }
  batch.state = BatchState::kComplete;
  batch.sectors = sectors;
  batch.payload.reserve(sectors * kSectorBytes);
  batch.payload.append(first.substr(kFirstHeaderBytes));
  for (size_t i = 1; i < sectors; ++i) batch.payload.append(Sector(whole, i).substr(kNumberBytes));
  batch.payload.resize(length);
  return batch;
}

absl::StatusOr<BatchRecords> DecodeRecords(std::string_view payload) {
  BatchRecords records;
  auto has = [&](size_t n) { return payload.size() >= n; };
  auto number = [&](size_t at) { return Get<uint64_t>(payload.data() + at); };
  while (!payload.empty()) {
    const uint8_t type = static_cast<uint8_t>(payload[0]);
    size_t used = 0;
    if (type == kHardState && has(kPairRecordBytes)) {
      records.hard_state = LogHardState{Term(number(1)), ReplicaId(number(9))};
      used = kPairRecordBytes;
    } else if (type == kTruncate && has(kPairRecordBytes)) {
      records.truncate_to = LogPoint{Position(number(1)), Term(number(9))};
      used = kPairRecordBytes;
    } else if (type == kEntry && has(kEntryHeaderBytes)) {
      const uint32_t length = Get<uint32_t>(payload.data() + 18);
      if (!has(kEntryHeaderBytes + length)) return DataLoss("an entry is cut short");
      records.entries.push_back({Position(number(1)), Term(number(9)), static_cast<uint8_t>(payload[17]),
                                 std::string(payload.substr(kEntryHeaderBytes, length))});
      used = kEntryHeaderBytes + length;
    } else if (type == kFirstSegment && has(kNumberRecordBytes)) {
      records.first_segment = number(1);
      used = kNumberRecordBytes;
    } else if (type == kSeal && has(kNumberRecordBytes)) {
      records.sealed_by = number(1);
      used = kNumberRecordBytes;
    } else {
      return DataLoss("a record of unknown type ", static_cast<int>(type), " or cut short");
    }
    payload.remove_prefix(used);
  }
  return records;
}

std::string EncodeSegmentHeader(const SegmentHeader& header) {
  std::string sector(kSectorBytes, '\0');
  char* at = sector.data();
  auto put = [&](auto value) {
    Put(at, value);
    at += sizeof(value);
  };
  std::memcpy(at, kSegmentMagic.data(), kSegmentMagic.size());
  at += kSegmentMagic.size();
  put(kLogFormatVersion);
  put(header.chain);
  for (uint64_t value :
       {header.segment, header.incarnation, header.first_segment, header.next_number, header.hard_state.term.value(),
        header.hard_state.vote.value(), header.last.position.value(), header.last.term.value(), header.segment_bytes}) {
    put(value);
  }
  put(static_cast<uint32_t>(header.configuration.size()));
  std::memcpy(at, header.configuration.data(), std::min(header.configuration.size(), kMaxConfigurationBytes));
  Put(sector.data() + kSectorBytes - 4, Crc32c(std::string_view(sector).substr(0, kSectorBytes - 4)));
  return sector;
}

absl::StatusOr<SegmentHeader> DecodeSegmentHeader(std::string_view sector) {
  if (sector.size() != kSectorBytes || sector.substr(0, kSegmentMagic.size()) != kSegmentMagic) {
    return DataLoss("this is not the header of a log segment");
  }
  if (Get<uint32_t>(sector.data() + kSectorBytes - 4) != Crc32c(sector.substr(0, kSectorBytes - 4))) {
    return DataLoss("the segment header has a wrong checksum");
  }
  const char* at = sector.data() + kSegmentMagic.size();
  const uint32_t version = Get<uint32_t>(at);
  if (version > kLogFormatVersion) {
    return FailedPrecondition("written in log format ", version, "; this program reads up to ", kLogFormatVersion,
                              ": start a newer version");
  }
  SegmentHeader header;
  header.chain = Get<uint32_t>(at + 4);
  at += 8;
  auto next = [&] {
    uint64_t value = Get<uint64_t>(at);
    at += 8;
    return value;
  };
  header.segment = next();
  header.incarnation = next();
  header.first_segment = next();
  header.next_number = next();
  header.hard_state.term = Term(next());
  header.hard_state.vote = ReplicaId(next());
  header.last.position = Position(next());
  header.last.term = Term(next());
  header.segment_bytes = next();
  const uint32_t configuration_bytes = Get<uint32_t>(at);
  if (configuration_bytes > kMaxConfigurationBytes) return DataLoss("the segment header is not valid");
  header.configuration.assign(at + 4, configuration_bytes);
  return header;
}

}  // namespace terrane::replication
