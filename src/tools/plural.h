// "1 document", "2,000 documents".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/strings.h"
#include "common/units.h"

namespace terrane::tools {

inline std::string Plural(int64_t n, std::string_view noun) {
  return StrCat(FormatCount(n), " ", noun, n == 1 ? "" : "s");
}

}  // namespace terrane::tools
