#include "common/random.h"

#include <sys/random.h>

#include <cstdlib>
#include <cstring>

#include "absl/strings/escaping.h"
#include "common/strings.h"

namespace terrane {
namespace {

constexpr size_t kUniqueBytes = 16;

void Fill(void* bytes, size_t n) {
  if (getrandom(bytes, n, 0) != static_cast<ssize_t>(n)) abort();  // never fails for up to 256 bytes
}

}  // namespace

uint64_t Random::SystemSeed() {
  uint64_t seed;
  Fill(&seed, sizeof seed);
  return seed;
}

std::string Random::Bytes(size_t n) {
  std::string bytes(n, '\0');
  for (size_t i = 0; i < n; i += 8) {
    const uint64_t word = Next();
    memcpy(bytes.data() + i, &word, n - i < 8 ? n - i : 8);
  }
  return bytes;
}

std::string NewUniqueBytes(Random& random) {
  return random.Bytes(kUniqueBytes);
}
std::string NewUniqueId(Random& random) {
  return absl::BytesToHexString(ToAbsl(NewUniqueBytes(random)));
}

std::string NewUniqueBytes() {
  std::string bytes(kUniqueBytes, '\0');
  Fill(bytes.data(), bytes.size());
  return bytes;
}
std::string NewUniqueId() {
  return absl::BytesToHexString(ToAbsl(NewUniqueBytes()));
}

}  // namespace terrane
