// Resume keys of paged shard calls: behind which document to go on. The same on every shard, because a range may move
// between two pages, and known to the proxy, because it may be split.
//
//   length of the encoded shard key (4 bytes, big endian) · encoded shard key · encoded _id
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace terrane::routing {

struct ResumeKey {
  std::string_view shard_key;
  std::string_view id;
};

inline std::string EncodeResume(std::string_view shard_key, std::string_view id) {
  std::string result;
  result.reserve(4 + shard_key.size() + id.size());
  for (int shift = 24; shift >= 0; shift -= 8) result.push_back(static_cast<char>(shard_key.size() >> shift));
  result.append(shard_key).append(id);
  return result;
}

// Views into `resume`; nullopt: it is none.
inline std::optional<ResumeKey> DecodeResume(std::string_view resume) {
  if (resume.size() < 4) return std::nullopt;
  size_t size = 0;
  for (int i = 0; i < 4; ++i) size = size << 8 | static_cast<unsigned char>(resume[i]);
  if (size > resume.size() - 4) return std::nullopt;
  return ResumeKey{resume.substr(4, size), resume.substr(4 + size)};
}

}  // namespace terrane::routing
