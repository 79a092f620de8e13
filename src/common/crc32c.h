// CRC-32C (Castagnoli), with the processor's instruction where it has one. Debian packages no C++ library for it.
#pragma once

#include <cstdint>
#include <string_view>

namespace terrane {

// The CRC of what `crc` was computed over, followed by `bytes`; start with 0. Crc32c("123456789") is 0xe3069283.
uint32_t Crc32c(std::string_view bytes, uint32_t crc = 0);

}  // namespace terrane
