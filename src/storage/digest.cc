#include "storage/digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>

#include "absl/strings/str_format.h"
#include "common/strings.h"
#include "terrane/v1/common.pb.h"

namespace terrane::storage {
namespace {

constexpr uint64_t kDocumentSeed = 0x7465727261446f63;  // "terraDoc"
constexpr uint64_t kRetrySeed = 0x7465727261526574;     // "terraRet"
// Records up to this size are hashed in one call from the stack: half of the time of the streaming interface.
constexpr size_t kInlineBytes = 1024;

void StoreLength(size_t length, char* out) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<char>(length >> (8 * i));
}

Sum128 Hash(uint64_t seed, std::string_view shard_key, std::string_view id, std::string_view value) {
  XXH128_hash_t hash;
  size_t total = 8 + shard_key.size() + id.size() + value.size();
  if (total <= kInlineBytes) {
    char buffer[kInlineBytes];
    char* out = buffer;
    StoreLength(shard_key.size(), out);
    out = static_cast<char*>(std::memcpy(out + 4, shard_key.data(), shard_key.size())) + shard_key.size();
    StoreLength(id.size(), out);
    out = static_cast<char*>(std::memcpy(out + 4, id.data(), id.size())) + id.size();
    std::memcpy(out, value.data(), value.size());
    hash = XXH3_128bits_withSeed(buffer, total, seed);
  } else {
    char length[4];
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_128bits_reset_withSeed(&state, seed);
    StoreLength(shard_key.size(), length);
    XXH3_128bits_update(&state, length, sizeof(length));
    XXH3_128bits_update(&state, shard_key.data(), shard_key.size());
    StoreLength(id.size(), length);
    XXH3_128bits_update(&state, length, sizeof(length));
    XXH3_128bits_update(&state, id.data(), id.size());
    XXH3_128bits_update(&state, value.data(), value.size());
    hash = XXH3_128bits_digest(&state);
  }
  return {hash.high64, hash.low64};
}

}  // namespace

Sum128& Sum128::operator+=(const Sum128& other) {
  low += other.low;
  high += other.high + (low < other.low ? 1 : 0);
  return *this;
}

Sum128& Sum128::operator-=(const Sum128& other) {
  uint64_t borrow = low < other.low ? 1 : 0;
  low -= other.low;
  high -= other.high + borrow;
  return *this;
}

Sum128 HashDocument(std::string_view shard_key, std::string_view id, std::string_view document) {
  return Hash(kDocumentSeed, shard_key, id, document);
}

Sum128 HashRetry(std::string_view shard_key, std::string_view id, std::string_view record) {
  return Hash(kRetrySeed, shard_key, id, record);
}

void Digest::Add(const Sum128& hash, size_t value_bytes) {
  sum += hash;
  ++count;
  bytes += static_cast<int64_t>(value_bytes);
}

void Digest::Subtract(const Sum128& hash, size_t value_bytes) {
  sum -= hash;
  --count;
  bytes -= static_cast<int64_t>(value_bytes);
}

Digest& Digest::operator+=(const Digest& other) {
  sum += other.sum;
  count += other.count;
  bytes += other.bytes;
  return *this;
}

Digest& Digest::operator-=(const Digest& other) {
  sum -= other.sum;
  count -= other.count;
  bytes -= other.bytes;
  return *this;
}

std::string Digest::ToString() const {
  return absl::StrFormat("%d records, %d bytes, %016x%016x", count, bytes, sum.high, sum.low);
}

void ChunkDigest::AddDocument(std::string_view shard_key, std::string_view id, std::string_view document) {
  documents.Add(HashDocument(shard_key, id, document), document.size());
}

void ChunkDigest::SubtractDocument(std::string_view shard_key, std::string_view id, std::string_view document) {
  documents.Subtract(HashDocument(shard_key, id, document), document.size());
}

void ChunkDigest::AddRetry(std::string_view shard_key, std::string_view id, std::string_view record) {
  retries.Add(HashRetry(shard_key, id, record), record.size());
}

void ChunkDigest::SubtractRetry(std::string_view shard_key, std::string_view id, std::string_view record) {
  retries.Subtract(HashRetry(shard_key, id, record), record.size());
}

ChunkDigest& ChunkDigest::operator+=(const ChunkDigest& other) {
  documents += other.documents;
  retries += other.retries;
  return *this;
}

ChunkDigest& ChunkDigest::operator-=(const ChunkDigest& other) {
  documents -= other.documents;
  retries -= other.retries;
  return *this;
}

std::string ChunkDigest::ToString() const {
  return StrCat("documents: ", documents.ToString(), "; retries: ", retries.ToString());
}

void ToProto(const Digest& digest, v1::Digest* out) {
  out->set_high(digest.sum.high);
  out->set_low(digest.sum.low);
  out->set_count(digest.count);
  out->set_bytes(digest.bytes);
}

void ToProto(const ChunkDigest& digest, v1::ChunkDigest* out) {
  ToProto(digest.documents, out->mutable_documents());
  ToProto(digest.retries, out->mutable_retries());
}

v1::ChunkDigest ToProto(const ChunkDigest& digest) {
  v1::ChunkDigest out;
  ToProto(digest, &out);
  return out;
}

Digest FromProto(const v1::Digest& digest) {
  return {{digest.high(), digest.low()}, digest.count(), digest.bytes()};
}

ChunkDigest FromProto(const v1::ChunkDigest& digest) {
  return {FromProto(digest.documents()), FromProto(digest.retries())};
}

}  // namespace terrane::storage
