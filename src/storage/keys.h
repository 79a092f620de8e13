// Keys of the column families (docs/data-layout.md). Internal to this library and its tests.
//
//   documents  copy (4, big endian) . shard key . id . length of the shard key (4, big endian)
//   indexes    copy . index id (4, big endian) . values . shard key . id . length of the values (4) . of the shard key
//   (4) retries    copy . 0x00 . shard key . id . session . statement (8, big endian) . lengths of shard key (4),
//   session (4)
//              copy . 0x01 . session . statement . shard key . id . length of session (4), shard key (4)
//   oplog      position (8, big endian)
//
// The lengths at the end let a key be taken apart without its collection. They do not disturb the order: encoded shard
// keys and ids are prefix-free, so two keys differ before them. (Sessions are of equal length in practice; in the
// second order only equality of session and statement matters.)
//
// Pure, thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/ids.h"
#include "common/key_range.h"

namespace terrane::storage {

// Prefix of everything that belongs to a copy.
std::string CopyPrefix(CopyId copy);
// The least key behind the copy; nullopt for the greatest copy id.
std::optional<std::string> CopyEnd(CopyId copy);
std::optional<CopyId> CopyOfKey(std::string_view key);

// [min, max) in a family; max is nullopt for "to the end".
struct RawRange {
  std::string min;
  std::optional<std::string> max;
};
RawRange CopyRange(CopyId copy);
RawRange DocumentRange(CopyId copy, const KeyRange& range);
RawRange RetryRange(CopyId copy, const KeyRange& range);
RawRange RetrySecondRange(CopyId copy);
RawRange RetrySecondRange(CopyId copy, std::string_view session, int64_t statement);

std::string DocumentKey(CopyId copy, std::string_view shard_key, std::string_view id);
std::string RetryKey(CopyId copy, std::string_view shard_key, std::string_view id, std::string_view session,
                     int64_t statement);
std::string RetrySecondKey(CopyId copy, std::string_view shard_key, std::string_view id, std::string_view session,
                           int64_t statement);
std::string IndexKey(CopyId copy, uint32_t index, std::string_view values, std::string_view shard_key,
                     std::string_view id);
std::string OplogKey(Position position);

// Views into the key; nullopt if it is no key of the family.
struct DocumentKeyParts {
  CopyId copy;
  std::string_view shard_key;
  std::string_view id;
};
std::optional<DocumentKeyParts> ParseDocumentKey(std::string_view key);

struct RetryKeyParts {
  CopyId copy;
  std::string_view shard_key;
  std::string_view id;
  std::string_view session;
  int64_t statement = 0;
};
std::optional<RetryKeyParts> ParseRetryKey(std::string_view key);
std::optional<RetryKeyParts> ParseRetrySecondKey(std::string_view key);

struct IndexKeyParts {
  CopyId copy;
  uint32_t index = 0;
  std::string_view values;
  std::string_view shard_key;
  std::string_view id;
};
std::optional<IndexKeyParts> ParseIndexKey(std::string_view key);

std::optional<Position> ParseOplogKey(std::string_view key);

}  // namespace terrane::storage
