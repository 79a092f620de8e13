// What proves that two chunks are equal: order-independent sums over their documents and over their retry records.
//
//   sum    modulo 2^128 of XXH3-128 over (length of the encoded shard key, encoded shard key, length of the encoded
//   _id,
//          encoded _id, value); lengths are 4 bytes, little endian; the seed differs for documents and retry records
//   count  of records
//   bytes  of the values: BSON, or serialized RetryRecord
//
// Nothing in it depends on the copy, so source and target of a move have the same digest when they hold the same
// records. Stored and sent: the definition never changes without a new format version.
//
// Plain values: copyable, not thread-safe, never block.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace terrane::v1 {
class Digest;
class ChunkDigest;
}  // namespace terrane::v1

namespace terrane::storage {

// A number modulo 2^128.
struct Sum128 {
  uint64_t high = 0;
  uint64_t low = 0;

  Sum128& operator+=(const Sum128& other);
  Sum128& operator-=(const Sum128& other);
  friend bool operator==(const Sum128&, const Sum128&) = default;
};

// XXH3-128 as defined above.
Sum128 HashDocument(std::string_view shard_key, std::string_view id, std::string_view document);
Sum128 HashRetry(std::string_view shard_key, std::string_view id, std::string_view record);

struct Digest {
  Sum128 sum;
  int64_t count = 0;
  int64_t bytes = 0;

  // A record that came in or went; `hash` of HashDocument or HashRetry, `value_bytes` the size of its value.
  void Add(const Sum128& hash, size_t value_bytes);
  void Subtract(const Sum128& hash, size_t value_bytes);

  Digest& operator+=(const Digest& other);
  Digest& operator-=(const Digest& other);  // count and bytes may become negative: a difference is a digest too
  friend Digest operator+(Digest a, const Digest& b) { return a += b; }
  friend Digest operator-(Digest a, const Digest& b) { return a -= b; }
  friend bool operator==(const Digest&, const Digest&) = default;

  // "1000 records, 52000 bytes, 0f1e..(32 hex digits)"
  std::string ToString() const;
};

// Of one chunk or of a part of it.
struct ChunkDigest {
  Digest documents;
  Digest retries;

  void AddDocument(std::string_view shard_key, std::string_view id, std::string_view document);
  void SubtractDocument(std::string_view shard_key, std::string_view id, std::string_view document);
  void AddRetry(std::string_view shard_key, std::string_view id, std::string_view record);
  void SubtractRetry(std::string_view shard_key, std::string_view id, std::string_view record);

  ChunkDigest& operator+=(const ChunkDigest& other);
  ChunkDigest& operator-=(const ChunkDigest& other);
  friend ChunkDigest operator+(ChunkDigest a, const ChunkDigest& b) { return a += b; }
  friend ChunkDigest operator-(ChunkDigest a, const ChunkDigest& b) { return a -= b; }
  friend bool operator==(const ChunkDigest&, const ChunkDigest&) = default;

  std::string ToString() const;
};

void ToProto(const Digest& digest, v1::Digest* out);
void ToProto(const ChunkDigest& digest, v1::ChunkDigest* out);
v1::ChunkDigest ToProto(const ChunkDigest& digest);
Digest FromProto(const v1::Digest& digest);
ChunkDigest FromProto(const v1::ChunkDigest& digest);

}  // namespace terrane::storage
