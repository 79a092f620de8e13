#define XXH_INLINE_ALL
#include "replication/file_sum.h"

#include <xxhash.h>

namespace terrane::replication {

struct FileSum::State {
  XXH3_state_t hash;
};

FileSum::FileSum() : state_(std::make_unique<State>()) {
  XXH3_INITSTATE(&state_->hash);
  XXH3_64bits_reset(&state_->hash);
}
FileSum::~FileSum() = default;
FileSum::FileSum(FileSum&& other) noexcept = default;
FileSum& FileSum::operator=(FileSum&& other) noexcept = default;

void FileSum::Add(std::string_view bytes) {
  XXH3_64bits_update(&state_->hash, bytes.data(), bytes.size());
}

uint64_t FileSum::value() const {
  return XXH3_64bits_digest(&state_->hash);
}

}  // namespace terrane::replication
