#include "storage/keys.h"

namespace terrane::storage {
namespace {

constexpr char kFirstOrder = 0;
constexpr char kSecondOrder = 1;

void Append32(uint32_t value, std::string* out) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<char>(value >> shift));
}

void Append64(uint64_t value, std::string* out) {
  for (int shift = 56; shift >= 0; shift -= 8) out->push_back(static_cast<char>(value >> shift));
}

uint64_t Load(std::string_view bytes) {
  uint64_t value = 0;
  for (char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

// Takes things off both ends of a key.
class Taker {
 public:
  explicit Taker(std::string_view key) : rest_(key) {}
  std::string_view Front(size_t n) {
    if (n > rest_.size()) return Fail();
    std::string_view taken = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return taken;
  }
  std::string_view Back(size_t n) {
    if (n > rest_.size()) return Fail();
    std::string_view taken = rest_.substr(rest_.size() - n);
    rest_.remove_suffix(n);
    return taken;
  }
  uint64_t FrontNumber(size_t n) { return Load(Front(n)); }
  uint64_t BackNumber(size_t n) { return Load(Back(n)); }
  std::string_view rest() const { return rest_; }
  bool ok() const { return ok_; }

 private:
  std::string_view Fail() {
    ok_ = false;
    return {};
  }
  std::string_view rest_;
  bool ok_ = true;
};

RawRange Within(CopyId copy, std::string_view tag, const KeyRange& range) {
  RawRange raw;
  raw.min = CopyPrefix(copy);
  raw.min.append(tag);
  if (range.max) {
    raw.max = raw.min + *range.max;
  } else if (tag.empty()) {
    raw.max = CopyEnd(copy);
  } else {
    raw.max = CopyPrefix(copy);
    raw.max->push_back(static_cast<char>(tag[0] + 1));
  }
  raw.min.append(range.min);
  return raw;
}

}  // namespace

std::string CopyPrefix(CopyId copy) {
  std::string out;
  Append32(copy.value(), &out);
  return out;
}

std::optional<std::string> CopyEnd(CopyId copy) {
  if (copy.value() == UINT32_MAX) return std::nullopt;
  return CopyPrefix(CopyId(copy.value() + 1));
}

std::optional<CopyId> CopyOfKey(std::string_view key) {
  if (key.size() < 4) return std::nullopt;
  return CopyId(static_cast<uint32_t>(Load(key.substr(0, 4))));
}

RawRange CopyRange(CopyId copy) {
  return {CopyPrefix(copy), CopyEnd(copy)};
}

RawRange DocumentRange(CopyId copy, const KeyRange& range) {
  return Within(copy, {}, range);
}

RawRange RetryRange(CopyId copy, const KeyRange& range) {
  return Within(copy, {&kFirstOrder, 1}, range);
}

RawRange RetrySecondRange(CopyId copy) {
  return Within(copy, {&kSecondOrder, 1}, KeyRange{});
}

RawRange RetrySecondRange(CopyId copy, std::string_view session, int64_t statement) {
  RawRange raw;
  raw.min = CopyPrefix(copy);
  raw.min.push_back(kSecondOrder);
  raw.min.append(session);
  Append64(static_cast<uint64_t>(statement), &raw.min);
  // A prefix: the least string behind all that begin with it.
  raw.max = raw.min;
  while (static_cast<uint8_t>(raw.max->back()) == 0xFF) raw.max->pop_back();
  ++raw.max->back();
  return raw;
}

std::string DocumentKey(CopyId copy, std::string_view shard_key, std::string_view id) {
  std::string out;
  out.reserve(8 + shard_key.size() + id.size());
  Append32(copy.value(), &out);
  out.append(shard_key).append(id);
  Append32(static_cast<uint32_t>(shard_key.size()), &out);
  return out;
}

std::string RetryKey(CopyId copy, std::string_view shard_key, std::string_view id, std::string_view session,
                     int64_t statement) {
  std::string out;
  out.reserve(21 + shard_key.size() + id.size() + session.size());
  Append32(copy.value(), &out);
  out.push_back(kFirstOrder);
  out.append(shard_key).append(id).append(session);
  Append64(static_cast<uint64_t>(statement), &out);
  Append32(static_cast<uint32_t>(shard_key.size()), &out);
  Append32(static_cast<uint32_t>(session.size()), &out);
  return out;
}

std::string RetrySecondKey(CopyId copy, std::string_view shard_key, std::string_view id, std::string_view session,
                           int64_t statement) {
  std::string out;
  out.reserve(21 + shard_key.size() + id.size() + session.size());
  Append32(copy.value(), &out);
  out.push_back(kSecondOrder);
  out.append(session);
  Append64(static_cast<uint64_t>(statement), &out);
  out.append(shard_key).append(id);
  Append32(static_cast<uint32_t>(session.size()), &out);
  Append32(static_cast<uint32_t>(shard_key.size()), &out);
  return out;
}

std::string IndexKey(CopyId copy, uint32_t index, std::string_view values, std::string_view shard_key,
                     std::string_view id) {
  std::string out;
  out.reserve(16 + values.size() + shard_key.size() + id.size());
  Append32(copy.value(), &out);
  Append32(index, &out);
  out.append(values).append(shard_key).append(id);
  Append32(static_cast<uint32_t>(values.size()), &out);
  Append32(static_cast<uint32_t>(shard_key.size()), &out);
  return out;
}

std::string OplogKey(Position position) {
  std::string out;
  Append64(position.value(), &out);
  return out;
}

std::optional<DocumentKeyParts> ParseDocumentKey(std::string_view key) {
  Taker taker(key);
  DocumentKeyParts parts;
  parts.copy = CopyId(static_cast<uint32_t>(taker.FrontNumber(4)));
  size_t shard_key_size = taker.BackNumber(4);
  parts.shard_key = taker.Front(shard_key_size);
  parts.id = taker.rest();
  if (!taker.ok()) return std::nullopt;
  return parts;
}

std::optional<RetryKeyParts> ParseRetryKey(std::string_view key) {
  Taker taker(key);
  RetryKeyParts parts;
  parts.copy = CopyId(static_cast<uint32_t>(taker.FrontNumber(4)));
  uint64_t order = taker.FrontNumber(1);
  size_t session_size = taker.BackNumber(4);
  size_t shard_key_size = taker.BackNumber(4);
  parts.statement = static_cast<int64_t>(taker.BackNumber(8));
  parts.session = taker.Back(session_size);
  parts.shard_key = taker.Front(shard_key_size);
  parts.id = taker.rest();
  if (!taker.ok() || order != static_cast<uint64_t>(kFirstOrder)) return std::nullopt;
  return parts;
}

std::optional<RetryKeyParts> ParseRetrySecondKey(std::string_view key) {
  Taker taker(key);
  RetryKeyParts parts;
  parts.copy = CopyId(static_cast<uint32_t>(taker.FrontNumber(4)));
  uint64_t order = taker.FrontNumber(1);
  size_t shard_key_size = taker.BackNumber(4);
  size_t session_size = taker.BackNumber(4);
  parts.session = taker.Front(session_size);
  parts.statement = static_cast<int64_t>(taker.FrontNumber(8));
  parts.shard_key = taker.Front(shard_key_size);
  parts.id = taker.rest();
  if (!taker.ok() || order != static_cast<uint64_t>(kSecondOrder)) return std::nullopt;
  return parts;
}

std::optional<IndexKeyParts> ParseIndexKey(std::string_view key) {
  Taker taker(key);
  IndexKeyParts parts;
  parts.copy = CopyId(static_cast<uint32_t>(taker.FrontNumber(4)));
  parts.index = static_cast<uint32_t>(taker.FrontNumber(4));
  size_t shard_key_size = taker.BackNumber(4);
  size_t values_size = taker.BackNumber(4);
  parts.values = taker.Front(values_size);
  parts.shard_key = taker.Front(shard_key_size);
  parts.id = taker.rest();
  if (!taker.ok()) return std::nullopt;
  return parts;
}

std::optional<Position> ParseOplogKey(std::string_view key) {
  if (key.size() != 8) return std::nullopt;
  return Position(Load(key));
}

}  // namespace terrane::storage
