// `_id`s for documents that come without one.
#pragma once

#include <string>
#include <string_view>

namespace terrane::document {

// 12 new bytes, unique in practice over all processes: time, a random number of this process, a counter. Thread-safe.
std::string GenerateObjectId();

// The document with its `_id` as the first field: moved there if it was elsewhere, a new ObjectId if there was none.
// All other bytes stay as they are.
std::string WithId(std::string_view doc);

}  // namespace terrane::document
