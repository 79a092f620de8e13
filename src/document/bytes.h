// Internal: little-endian numbers in BSON bytes, big-endian ones in keys, and writing of elements.
#pragma once

#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace terrane::document {

static_assert(std::endian::native == std::endian::little, "BSON is read in place");

// Ends the process: a caller of this library broke a promise that its header names.
inline void Require(bool condition, const char* promise) {
  if (condition) return;
  std::fprintf(stderr, "terrane::document: broken promise: %s\n", promise);
  std::abort();
}

template <typename T>
T LoadLittle(std::string_view bytes, size_t offset = 0) {
  T value;
  if (bytes.size() < offset + sizeof(T)) return T{};
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

template <typename T>
void AppendLittle(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

template <typename T>
void AppendBig(T value, std::string* out) {
  for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>(static_cast<uint64_t>(value) >> shift));
  }
}

template <typename T>
T LoadBig(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return static_cast<T>(value);
}

// Opens a document: returns where it starts, for CloseDocument.
inline size_t OpenDocument(std::string* out) {
  out->append(4, '\0');
  return out->size() - 4;
}

inline void CloseDocument(size_t start, std::string* out) {
  out->push_back('\0');
  uint32_t size = static_cast<uint32_t>(out->size() - start);
  std::memcpy(out->data() + start, &size, 4);
}

// Type byte and name; the value's bytes follow.
inline void AppendElementHead(uint8_t type, std::string_view name, std::string* out) {
  out->push_back(static_cast<char>(type));
  out->append(name);
  out->push_back('\0');
}

}  // namespace terrane::document
