// Internal: well-formed UTF-8.
#pragma once

#include <string_view>

namespace terrane::document {

// Unicode's table 3-7: no surrogates, nothing beyond U+10FFFF, only the shortest form; NUL is a character. (libbson's
// check takes C0 80 for NUL when it is told to allow NUL.)
bool IsUtf8(std::string_view text);

}  // namespace terrane::document
